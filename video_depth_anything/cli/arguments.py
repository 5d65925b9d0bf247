"""Command line arguments that the scripts share. Imports nothing heavy, so that `--help` is instant."""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import NoReturn

from ..config import BACKENDS, DEVICES, ENCODERS, PRECISIONS
from ..errors import UsageError
from ..outputs.options import CameraOptions, OutputOptions
from ..outputs.registry import FORMATS
from ..outputs.vis_range import VisRange

EXAMPLE_VIDEO = Path(__file__).resolve().parents[2] / "assets" / "example_videos" / "box.mp4"


def positive_int(text: str) -> int:
    """Argument type: a whole number above zero."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a positive number")
    return value


def limit(text: str) -> int:
    """Argument type: a whole number above zero, or -1 for no limit."""
    return -1 if text == "-1" else positive_int(text)


def frame_rate(text: str) -> Fraction | None:
    """Argument type: a positive number or fraction of frames per second; None for -1, all frames."""
    from ..video.timing import parse_target_fps

    try:
        return parse_target_fps(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not a positive number or fraction, nor -1") from error


def positive_float(text: str) -> float:
    """Argument type: a number above zero."""
    value = float(text)
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"{text} is not a positive number")
    return value


def seconds(text: str) -> float:
    """Argument type: a time, zero or above."""
    value = float(text)
    if not 0 <= value < math.inf:
        raise argparse.ArgumentTypeError(f"{text} is not a time in seconds")
    return value


def field_of_view(text: str) -> float:
    """Argument type: an angle above 0 and below 180 degrees."""
    value = float(text)
    if not 0 < value < 180:
        raise argparse.ArgumentTypeError(f"{text} is not between 0 and 180 degrees")
    return value


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
    size = "size of the model (default: vitl); left out: that of --checkpoint, or vits while no public one is there"
    group.add_argument("--encoder", choices=ENCODERS, default=argparse.SUPPRESS, help=size)
    group.add_argument("--metric", action="store_true", help="metric weights: depth in metres, point clouds")
    group.add_argument("--checkpoint", type=Path, help="weights file instead of the public one in checkpoints/")
    group.add_argument("--input_size", type=positive_int, default=518, help="shorter side of the network's input")
    group.add_argument("--device", choices=DEVICES, default="auto", help="where to compute; gpu and npu are Intel's")
    backend = "what computes the network; auto: OpenVINO on a CPU where it is installed, else PyTorch"
    group.add_argument("--backend", choices=BACKENDS, default="auto", help=backend)
    automatic = "auto: fp16 on CUDA, bf16 on a CPU that has it in hardware, else fp32"
    group.add_argument("--precision", choices=PRECISIONS, default="auto", help=automatic)
    group.add_argument("--fp32", action="store_true", help="the same as --precision fp32, and stronger")
    group.add_argument("--compile", action="store_true", help="let PyTorch compile the network; long videos gain")


def precision(args: argparse.Namespace) -> str:
    """The precision asked for."""
    return "fp32" if args.fp32 else str(args.precision)


def add_source_arguments(parser: argparse.ArgumentParser) -> None:
    """What is read."""
    group = parser.add_argument_group("input")
    what = "video files, folders or patterns of images, http(s) or rtsp addresses, - for a list on standard input"
    group.add_argument("--input_video", nargs="+", default=[str(EXAMPLE_VIDEO)], metavar="INPUT", help=what)
    group.add_argument("--max_res", type=limit, default=1280, help="longer side of the frames at most, -1: any")
    group.add_argument("--max_len", type=limit, default=-1, help="number of frames kept at most, -1: all")
    group.add_argument("--target_fps", type=frame_rate, default="-1", help="frames a second to keep, -1: all")
    group.add_argument("--start", type=seconds, default=0.0, metavar="SECONDS", help="leave out what comes before")
    group.add_argument("--end", type=seconds, metavar="SECONDS", help="leave out what comes from there on")
    group.add_argument("--image_fps", type=positive_float, default=24.0, help="frames a second that images stand for")


def add_output_arguments(parser: argparse.ArgumentParser) -> None:
    """What is written."""
    group = parser.add_argument_group("output")
    group.add_argument("--output_dir", type=Path, default=Path("./outputs"), help="folder for the results")
    what = "what to write; left out: src and vis, and ply with --metric"
    group.add_argument("--save", nargs="+", choices=tuple(FORMATS), default=argparse.SUPPRESS, help=what)
    group.add_argument("--save_npz", action="store_true", help="also the depth of all frames as one .npz file")
    group.add_argument("--save_exr", action="store_true", help="also the depth of each frame as an .exr file")
    group.add_argument("--vis", choices=("depth", "compare", "side-by-side"), default="depth", help="layout")
    group.add_argument("--colormap", default="inferno", help="matplotlib's name of the colours")
    group.add_argument("--grayscale", action="store_true", help="depth video in gray instead of colours")
    span = "values the colours span: 'video' (all of it, two passes), 'percentile' (running), or two numbers"
    default = VisRange()
    group.add_argument("--vis_range", nargs="+", action=VisRangeAction, default=default, metavar="RANGE", help=span)
    numbers = "numbers in npz, exr, png16 and mkv16: as they are, or 0 to 1 over the video, smallest first or last"
    group.add_argument("--depth", choices=("raw", "normalized", "inverted"), default="raw", help=numbers)
    scale = "16-bit PNGs of disparity span the range of the video, or of each frame"
    group.add_argument("--png16_scale", choices=("video", "frame"), default="video", help=scale)
    group.add_argument("--overwrite", action="store_true", help="replace files that no earlier run wrote")
    group.add_argument("--keep_audio", action="store_true", help="copy the sound into the videos")
    group.add_argument("--resume", action="store_true", help="skip inputs that were finished with the same settings")


def output_options(args: argparse.Namespace) -> OutputOptions:
    """What the arguments ask of the outputs."""
    save = getattr(args, "save", None)
    if args.save_npz or args.save_exr:
        usual = ["src", "vis"] + ["ply"] * args.metric if save is None else save
        save = [*usual, *["npz"] * args.save_npz, *["exr"] * args.save_exr]
    return OutputOptions(
        folder=args.output_dir,
        save=None if save is None else tuple(save),
        layout="depth" if args.vis == "depth" else "compare",
        colormap=args.colormap,
        grayscale=args.grayscale,
        vis_range=args.vis_range,
        depth=args.depth,
        png16_scale=args.png16_scale,
        keep_audio=args.keep_audio,
        overwrite=args.overwrite,
    )


def camera_options(args: argparse.Namespace) -> CameraOptions:
    """What the arguments say of the camera."""
    given = [getattr(args, f"focal_length_{axis}") for axis in "xy" if hasattr(args, f"focal_length_{axis}")]
    return CameraOptions(
        focal=(given[0], given[-1]) if given else None,
        fov=args.fov,
        principal_point=None if args.principal_point is None else tuple(args.principal_point),
        every=args.ply_every,
        stride=args.ply_stride,
        max_depth=args.ply_max_depth,
    )


def add_streaming_arguments(parser: argparse.ArgumentParser) -> None:
    """What only streaming has. The end of a stream is not known, so the default range is a running one."""
    parser.set_defaults(vis_range=VisRange("percentile"))
    group = parser.add_argument_group("streaming; --input_video may also be a camera's number")
    live = "take the newest frame and drop those that came meanwhile; a file is played at its speed"
    group.add_argument("--realtime", action="store_true", help=live)
    group.add_argument("--show", action="store_true", help="show source and depth in a window, q ends")
    raw = "raw video on standard output: depth in 16 bits, or in colours"
    group.add_argument("--stdout", choices=("gray16le", "rgb24"), help=raw)
    group.add_argument("--reset_on_cut", action="store_true", help="begin anew where the scene changes")


def add_camera_arguments(parser: argparse.ArgumentParser) -> None:
    """The camera of point clouds, and which points are written."""
    group = parser.add_argument_group("point clouds (with --metric), in pixels of the source video")
    given = "focal length (default: 470.4), unless given of the processed frames"
    group.add_argument("--focal-length-x", type=positive_float, default=argparse.SUPPRESS, help=given)
    group.add_argument("--focal-length-y", type=positive_float, default=argparse.SUPPRESS, help=given)
    group.add_argument("--fov", type=field_of_view, metavar="DEGREES", help="horizontal field of view instead")
    group.add_argument("--principal-point", type=float, nargs=2, metavar=("X", "Y"), help="instead of the image centre")
    group.add_argument("--ply_every", type=positive_int, default=1, metavar="N", help="a cloud for each Nth frame")
    group.add_argument("--ply_stride", type=positive_int, default=1, metavar="P", help="each Pth row and column")
    group.add_argument("--ply_max_depth", type=positive_float, default=math.inf, metavar="M", help="metres at most")


def add_page_arguments(parser: argparse.ArgumentParser) -> None:
    """What only the web page has. Encoder, metric and input size are what it begins with."""
    # OpenVINO keeps a converted network for each size of video, in memory and on disk: visitors bring any size.
    parser.set_defaults(backend="torch")
    group = parser.add_argument_group("page")
    group.add_argument("--server_name", default="127.0.0.1", help="address to listen at, 0.0.0.0: the whole network")
    group.add_argument("--server_port", type=positive_int, default=7860, help="port to listen at")
    group.add_argument("--share", action="store_true", help="also a public address, through Gradio's servers")
    group.add_argument("--max_upload_mb", type=positive_int, default=200, help="size of an uploaded video at most")
    group.add_argument("--max_frames", type=positive_int, default=2000, help="number of frames of a job at most")


def _add_offline_arguments(parser: argparse.ArgumentParser) -> None:
    add_source_arguments(parser)
    add_model_arguments(parser)
    add_output_arguments(parser)
    add_camera_arguments(parser)


def parse_args(parser: argparse.ArgumentParser, words: Sequence[str] | None = None) -> argparse.Namespace:
    """What `parser`, which has the model's arguments, makes of `words`, or of the command line."""
    args = parser.parse_args(words)
    # Not the parser's default, which `--help` would show beside the one that its text explains.
    vars(args).setdefault("encoder", None)
    return args


class _RaisingParser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(message)


def parse_words(words: Sequence[str]) -> argparse.Namespace:
    """The arguments of run.py from `words`, for callers that must not end.

    Raises:
        UsageError: where the command would end with the parser's message.
    """
    parser = _RaisingParser()
    _add_offline_arguments(parser)
    return parse_args(parser, words)


def parse_page(description: str | None) -> argparse.Namespace:
    """Parse the command line of the web page's script, as `parse` does."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    add_model_arguments(parser)
    add_page_arguments(parser)
    return parse_args(parser)


def parse(description: str | None, streaming: bool = False) -> argparse.Namespace:
    """Parse the command line of a script; a mistake ends the process with the parser's message and exit code 2."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    _add_offline_arguments(parser)
    if streaming:
        add_streaming_arguments(parser)
    args = parse_args(parser)
    if args.end is not None and args.end <= args.start:
        parser.error(f"argument --end: {args.end:g} is not after --start {args.start:g}")
    return args
