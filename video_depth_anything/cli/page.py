"""From the command line's words to the page's options."""

from __future__ import annotations

from argparse import Namespace

from ..options import made, options_of
from ..web.options import PageOptions
from .arguments import add_model_arguments, add_option, add_verbosity, values_of
from .parser import Parser


def page_parser(prog: str, description: str | None) -> Parser:
    """The parser of `vda app`. Encoder, metric and input size are what the page begins with."""
    parser = Parser(prog=prog, description=description)
    add_model_arguments(parser)
    parser.set_defaults(backend=PageOptions.model.backend)
    group = parser.add_argument_group("page")
    for option in options_of(PageOptions):
        add_option(group, option)
    add_verbosity(parser)
    return parser


def page_options(args: Namespace) -> PageOptions:
    """What `page_parser` has parsed."""
    return made(PageOptions, values_of(args))
