"""From the command line's words to options. Imports nothing heavy, so that `--help` is instant."""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import TYPE_CHECKING

from ..config import BACKENDS, DEVICES, ENCODERS, PRECISIONS
from ..outputs.registry import FORMATS
from ..outputs.vis_range import VisRange
from .parser import (
    Parser,
    field_of_view,
    frame_rate,
    input_size,
    limit,
    positive_float,
    positive_int,
    resolution,
    seconds,
)

if TYPE_CHECKING:
    from ..pipelines.options import ModelOptions, RunOptions, StreamingOptions

SAVED = (*FORMATS, "none")


class VisRangeAction(argparse.Action):
    """`--vis_range video`, `--vis_range percentile` or `--vis_range LOW HIGH`."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: object,
        option_string: str | None = None,
    ) -> None:
        assert isinstance(values, list)
        try:
            setattr(namespace, self.dest, VisRange.parse(values))
        except ValueError:
            given = " ".join(values)
            parser.error(f"argument --vis_range: {given!r} is not 'video', 'percentile' or two rising numbers")


def add_model_arguments(parser: argparse.ArgumentParser) -> None:
    """Which weights, where, and in which precision."""
    group = parser.add_argument_group("model")
    size = "size of the model; left out: that of --checkpoint, or the largest public one that is there"
    group.add_argument("--encoder", choices=ENCODERS, help=size)
    group.add_argument("--metric", action="store_true", help="use metric weights: depth in metres, point clouds")
    group.add_argument("--checkpoint", type=Path, metavar="FILE", help="weights instead of those in checkpoints/")
    size = "shorter side of the network's input, in pixels"
    group.add_argument("--input_size", type=input_size, default=518, metavar="PIXELS", help=size)
    where = "where to compute: cuda, cuda:1, mps, cpu; intel-gpu and intel-npu by OpenVINO"
    group.add_argument("--device", default="auto", type=device_name, metavar="DEVICE", help=where)
    backend = "what computes the network; auto: OpenVINO on a CPU where it is installed, else PyTorch"
    group.add_argument("--backend", choices=BACKENDS, default="auto", help=backend)
    automatic = "auto: fp16 on CUDA, bf16 on a CPU that has it in hardware, else fp32; int8: faster on a CPU, not exact"
    group.add_argument("--precision", choices=PRECISIONS, default="auto", help=automatic)
    group.add_argument("--fp32", action="store_true", help="the same as --precision fp32, and stronger")
    group.add_argument("--compile", action="store_true", help="let PyTorch compile the network; long videos gain")
    memory = "frames computed together offline, 32 at most; fewer need less memory (usual: 8 on a GPU)"
    group.add_argument("--frames_at_once", type=positive_int, metavar="N", help=memory)


def device_name(text: str) -> str:
    """Argument type: a device, with its number where there are several."""
    if text.partition(":")[0] not in DEVICES:
        raise argparse.ArgumentTypeError(f"unknown device {text!r}; use one of {', '.join(DEVICES)}")
    return text


def model_options(args: argparse.Namespace) -> ModelOptions:
    """What `add_model_arguments` has parsed."""
    from ..pipelines.options import ModelOptions

    return ModelOptions(
        encoder=args.encoder,
        metric=args.metric,
        checkpoint=args.checkpoint,
        input_size=args.input_size,
        device=args.device,
        backend=args.backend,
        precision="fp32" if args.fp32 else args.precision,
        compile=args.compile,
        frames_at_once=args.frames_at_once,
    )


def _add_source_arguments(parser: argparse.ArgumentParser) -> None:
    """What is read."""
    what = "video files, folders or patterns of images, http(s) or rtsp addresses, - for a list on standard input"
    parser.add_argument("inputs", nargs="*", metavar="INPUT", help=f"{what}; left out: the bundled example")
    group = parser.add_argument_group("input")
    group.add_argument("-i", "--input_video", nargs="+", default=[], metavar="INPUT", help="the same, as a flag")
    group.add_argument(
        "--max_res", type=resolution, default=1280, metavar="PIXELS", help="longer side at most, -1: any"
    )
    group.add_argument("--max_len", type=limit, default=-1, metavar="FRAMES", help="frames at most, -1: all")
    group.add_argument("--target_fps", type=frame_rate, default="-1", metavar="FPS", help="frames a second, -1: all")
    group.add_argument("--start", type=seconds, default=0.0, metavar="SECONDS", help="leave out what comes before")
    group.add_argument("--end", type=seconds, metavar="SECONDS", help="leave out what comes from there on")
    cut = "begin anew where the scene changes: no window crosses a cut"
    group.add_argument("--reset_on_cut", action="store_true", help=cut)
    group.add_argument("--image_fps", type=positive_float, default=24.0, metavar="FPS", help="rate of images")
    spaces = ("auto", "linear", "srgb", "rec709", "log")
    what = "what the numbers of images mean; auto: linear for EXR, what the format usually holds for others"
    group.add_argument("--colorspace", choices=spaces, default="auto", help=what)
    most = "frames of more pixels are refused before they are decoded"
    group.add_argument("--max_pixels", type=positive_int, default=7680 * 4320, metavar="N", help=most)
    silence = "how long an address, a pipe or a device may say nothing"
    group.add_argument("--timeout", type=positive_float, default=30.0, metavar="SECONDS", help=silence)


def _add_output_arguments(parser: argparse.ArgumentParser) -> None:
    """What is written."""
    group = parser.add_argument_group("output")
    group.add_argument(
        "-o", "--output_dir", type=Path, default=Path("outputs"), metavar="FOLDER", help="for the results"
    )
    what = f"what to write: {', '.join(SAVED)}; left out: src and vis, and ply with --metric"
    group.add_argument("--save", nargs="+", choices=SAVED, metavar="FORMAT", help=what)
    group.add_argument("--save_npz", action="store_true", help="also the depth of all frames as one .npz file")
    group.add_argument("--save_exr", action="store_true", help="also the depth of each frame as an .exr file")
    layout = "depth alone, or compare: right of the source (side-by-side is an old name of it)"
    group.add_argument("--vis", choices=("depth", "compare", "side-by-side"), default="depth", help=layout)
    group.add_argument("--colormap", default="inferno", metavar="NAME", help="matplotlib's name of the colours")
    group.add_argument("--grayscale", action="store_true", help="depth video in gray instead of colours")
    span = "values the colours span: 'video' (all of it, two passes), 'percentile' (running), or two numbers"
    default = VisRange()
    group.add_argument("--vis_range", nargs="+", action=VisRangeAction, default=default, metavar="RANGE", help=span)
    numbers = "numbers in npz, exr, png16 and mkv16: as they are, or from 0 to 1 over the video, or from 1 to 0"
    group.add_argument("--depth", choices=("raw", "normalized", "inverted"), default="raw", help=numbers)
    scale = "span of 16-bit images of relative depth: of the whole video, or of each frame"
    group.add_argument("--png16_scale", choices=("video", "frame"), default="video", help=scale)
    group.add_argument("--keep_audio", action="store_true", help="copy the sound into the videos")
    group.add_argument("--codec", default="libx264", metavar="NAME", help="FFmpeg's H.264 encoder, such as h264_nvenc")
    group.add_argument("--overwrite", action="store_true", help="replace files that no earlier run has written")
    group.add_argument("--resume", action="store_true", help="skip inputs that were finished with the same settings")


def _add_camera_arguments(parser: argparse.ArgumentParser) -> None:
    """The camera of point clouds, and which points are written."""
    group = parser.add_argument_group("point clouds (with --metric), in pixels of the source video")
    focal = "focal length; left out: 470.4 of the processed frame, which is wrong for almost every camera"
    group.add_argument("--focal-length-x", type=positive_float, metavar="PIXELS", help=focal)
    group.add_argument("--focal-length-y", type=positive_float, metavar="PIXELS", help="left out: the same as x")
    group.add_argument("--fov", type=field_of_view, metavar="DEGREES", help="horizontal field of view instead")
    group.add_argument("--principal-point", type=float, nargs=2, metavar=("X", "Y"), help="instead of the image centre")
    group.add_argument("--ply_every", type=positive_int, default=1, metavar="N", help="a cloud for every Nth frame")
    group.add_argument("--ply_stride", type=positive_int, default=1, metavar="P", help="every Pth row and column")
    group.add_argument("--ply_max_depth", type=positive_float, default=math.inf, metavar="M", help="metres at most")


def _add_streaming_arguments(parser: argparse.ArgumentParser) -> None:
    """What only streaming has."""
    group = parser.add_argument_group("streaming; an input may also be a camera's number")
    live = "always process the latest frame; frames that arrive while the model is busy are skipped and counted"
    group.add_argument("--realtime", action="store_true", help=live)
    group.add_argument("--show", action="store_true", help="show source and depth in a window; q ends")
    raw = "raw video on standard output: depth in 16 bits, or in colours"
    # A file's colours span all of it, as the original's; the end of a live source is not known.
    parser.set_defaults(vis_range=VisRange("auto"))
    group.add_argument("--stdout", choices=("gray16le", "rgb24"), help=raw)
    times = "new file, or a pipe, that takes the time of each frame on standard output, one line a frame"
    group.add_argument("--stdout_times", type=Path, metavar="FILE", help=times)
    group.add_argument("--latency", action="store_true", help="say in how many milliseconds frames were done")


def run_parser(prog: str, description: str | None, streaming: bool = False) -> Parser:
    """The parser of `vda run`, and of `vda stream`."""
    parser = Parser(prog=prog, description=description)
    _add_source_arguments(parser)
    add_model_arguments(parser)
    _add_output_arguments(parser)
    _add_camera_arguments(parser)
    if streaming:
        _add_streaming_arguments(parser)
    add_verbosity(parser)
    return parser


def add_verbosity(parser: argparse.ArgumentParser) -> None:
    """How much is said."""
    parser.add_argument("-q", "--quiet", action="store_true", help="say warnings and errors alone")
    parser.add_argument("-v", "--verbose", action="store_true", help="say more, and show tracebacks")


def inputs_of(args: argparse.Namespace) -> list[str]:
    """The inputs named, or the bundled example."""
    from ..weights import EXAMPLE, bundled

    return [*args.inputs, *args.input_video] or [str(bundled(EXAMPLE))]


def run_options(args: argparse.Namespace, parser: argparse.ArgumentParser) -> RunOptions:
    """What `run_parser` has parsed; a combination that makes no sense ends the process as the parser does."""
    from ..outputs.options import CameraOptions, OutputOptions
    from ..pipelines.options import RunOptions
    from ..video.containers import Limits
    from ..video.source import Selection

    if args.end is not None and args.end <= args.start:
        parser.error(f"argument --end: {args.end:g} is not after --start {args.start:g}")
    model = model_options(args)
    outputs = OutputOptions(
        folder=args.output_dir,
        save=saved(args, parser),
        layout="depth" if args.vis == "depth" else "compare",
        colormap=args.colormap,
        grayscale=args.grayscale,
        vis_range=args.vis_range,
        depth=args.depth,
        png16_scale=args.png16_scale,
        keep_audio=args.keep_audio,
        codec=args.codec,
        overwrite=args.overwrite,
    )
    horizontal, vertical = args.focal_length_x, args.focal_length_y
    if horizontal is None and vertical is not None:
        parser.error("argument --focal-length-y: needs --focal-length-x")
    camera = CameraOptions(
        focal=None if horizontal is None else (horizontal, vertical or horizontal),
        fov=args.fov,
        principal_point=None if args.principal_point is None else (args.principal_point[0], args.principal_point[1]),
        every=args.ply_every,
        stride=args.ply_stride,
        max_depth=args.ply_max_depth,
    )
    selection = Selection(
        args.max_res, args.target_fps, args.max_len, args.start, args.end, args.image_fps, args.colorspace
    )
    limits = Limits(max_pixels=args.max_pixels, timeout=args.timeout)
    return RunOptions(model, selection, outputs, camera, limits, args.reset_on_cut, args.resume)


def saved(args: argparse.Namespace, parser: argparse.ArgumentParser) -> tuple[str, ...]:
    """The formats asked for, or the usual ones."""
    streaming = "realtime" in args
    if args.save is not None and "none" in args.save and len(args.save) > 1:
        parser.error("argument --save: none goes with nothing else")
    also = ["npz"] * args.save_npz + ["exr"] * args.save_exr
    # A metric stream is written as the original does: one colour video.
    metric = ["vis"] if streaming else ["src", "vis", "ply"]
    usual = metric if args.metric else ["src", "vis"]
    chosen: list[str] = usual if args.save is None else [name for name in args.save if name != "none"]
    return tuple(dict.fromkeys([*chosen, *also]))


def streaming_options(args: argparse.Namespace) -> StreamingOptions:
    """What only `vda stream` has."""
    from ..pipelines.options import StreamingOptions

    return StreamingOptions(args.realtime, args.show, args.stdout, args.stdout_times, args.latency)
