"""The parser of a run, made from the options. Imports nothing heavy, so that `--help` is instant."""

from __future__ import annotations

import argparse
from typing import Any, TypeVar

from ..options import Option, made, options_of
from ..outputs.options import CameraOptions, OutputOptions, VisRange, usual_formats
from ..outputs.registry import FORMATS
from ..pipelines.options import ModelOptions, RunOptions, StreamingOptions
from ..video.options import Limits, Selection
from .parser import Parser

T = TypeVar("T")
SAVED = (*FORMATS, "none")
# The original's default for commands; `vda.infer` keeps the frames' size.
MAX_RES = 1280
GROUPS: dict[str, tuple[type, ...]] = {
    "input": (Selection, Limits),
    "model": (),  # added by `add_model_arguments`, which other commands use too
    "output": (OutputOptions,),
    "point clouds (with --metric), in pixels of the source video": (CameraOptions,),
    "streaming; an input may also be a camera number": (StreamingOptions,),
}

INPUTS = "videos, folders or patterns of images, URLs, - for a list on standard input; default: the bundled clip"
EXAMPLES = {
    False: (
        ("clip.mp4", "videos in outputs/"),
        ("plates/plate.%04d.exr --save exr", "one data file per frame"),
        ("*.mp4 -o depth --save vis npz --resume", "many videos, resumable"),
    ),
    True: (
        ("0 --show", "the first camera, in a window"),
        ("rtsp://host/stream --realtime", "skip frames, stay up to date"),
        ("clip.mp4 --stdout gray16le --save none", "for another program"),
    ),
}


class _Words(argparse.Action):
    """Stores the value that an option's parser makes of several words."""

    def __init__(self, *args: Any, parse: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self._parse = parse

    def __call__(self, parser: Any, namespace: argparse.Namespace, values: Any, option_string: Any = None) -> None:
        try:
            setattr(namespace, self.dest, self._parse(values))
        except ValueError as error:
            raise argparse.ArgumentError(self, str(error)) from error


def add_option(group: Any, option: Option) -> None:
    """Add the flag of an option."""
    flags = [name for name in (option.short, f"--{option.name}") if name]
    if isinstance(option.default, bool):
        group.add_argument(*flags, dest=option.name, action="store_true", help=option.help)
        return
    if option.parse is bool:
        group.add_argument(*flags, dest=option.name, action=argparse.BooleanOptionalAction, help=option.help)
        return
    settings: dict[str, Any] = {"dest": option.name, "default": option.default, "help": option.help}
    settings |= {"choices": option.choices, "metavar": option.metavar, "nargs": option.nargs}
    if option.name == "save":
        settings |= {"choices": SAVED, "help": f"{', '.join(SAVED)}; {option.help}"}
    settings |= {"type": option.parse} if option.nargs is None else {"action": _Words, "parse": option.parse}
    group.add_argument(*flags, **settings)


def add_model_arguments(parser: argparse.ArgumentParser) -> Any:
    """Add the options of weights, device and precision; return their group."""
    group = parser.add_argument_group("model")
    for option in options_of(ModelOptions):
        add_option(group, option)
    group.add_argument("--fp32", action="store_true", help="the same as --precision fp32, which it overrides")
    return group


def run_parser(prog: str, description: str | None, streaming: bool = False) -> Parser:
    """Make the parser of `vda run` or `vda stream`."""
    examples = "\n".join(f"  {prog} {words:<40}{text}" for words, text in EXAMPLES[streaming])
    parser = Parser(prog=prog, usage=f"{prog} INPUT ... [options]", description=f"{examples}\n\n{description}")
    parser.add_argument("inputs", nargs="*", metavar="INPUT", help=INPUTS)
    for title, classes in GROUPS.items():
        if StreamingOptions in classes and not streaming:
            continue
        group = parser.add_argument_group(title) if classes else add_model_arguments(parser)
        if title == "input":
            group.add_argument(
                "-i", "--input_video", nargs="+", default=[], metavar="INPUT", help="the same, as a flag"
            )
        own = [option for option in options_of(RunOptions) if option.group == title]
        for option in (*(option for cls in classes for option in options_of(cls)), *own):
            add_option(group, option)
        if title == "output":
            for name in ("npz", "exr"):
                group.add_argument(f"--save_{name}", action="store_true", help=f"also write {name}")
    parser.set_defaults(max_res=MAX_RES, target_fps="-1", vis_range=VisRange("auto" if streaming else "video"))
    add_verbosity(parser)
    return parser


def page_parser(prog: str, description: str | None) -> Parser:
    """Make the parser of `vda app`. Encoder, metric and input size are the page's initial values."""
    from ..web.options import PageOptions

    parser = Parser(prog=prog, description=description)
    add_model_arguments(parser)
    parser.set_defaults(backend=PageOptions.model.backend)
    group = parser.add_argument_group("page")
    for option in options_of(PageOptions):
        add_option(group, option)
    add_verbosity(parser)
    return parser


def add_verbosity(parser: argparse.ArgumentParser) -> None:
    """Add the options of verbosity."""
    parser.add_argument("-q", "--quiet", action="store_true", help="print warnings and errors only")
    parser.add_argument("-v", "--verbose", action="store_true", help="print more, and tracebacks")


def inputs_of(args: argparse.Namespace) -> list[str]:
    """The given inputs, or the bundled example."""
    from ..weights import EXAMPLE, bundled

    return [*args.inputs, *args.input_video] or [str(bundled(EXAMPLE))]


def options_in(options: type[T], args: argparse.Namespace) -> T:
    """Build options of that class, including nested ones, from parsed arguments.

    Raises:
        UsageError: if options contradict each other.
    """
    return made(options, values_of(args))


def values_of(args: argparse.Namespace) -> dict[str, Any]:
    """The values of options by name, after abbreviating flags were applied."""
    values = vars(args).copy()
    if values.get("fp32"):
        values["precision"] = "fp32"
    also = [name for name in ("npz", "exr") if values.get(f"save_{name}")]
    if also or "save" in values:
        chosen = values["save"]
        if chosen is None:
            chosen = usual_formats(args.metric, "realtime" in args)
        values["save"] = tuple(dict.fromkeys([*chosen, *also]))
    return values
