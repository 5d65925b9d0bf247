"""Layout of the web page, and the handlers of its events."""

from __future__ import annotations

import html
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import gradio as gr
from starlette.exceptions import HTTPException

from ..pipelines.setup import usual_input_size
from .camera import DETAILS as CAMERA_DETAILS
from .handlers import CHOSEN, READY, Handlers
from .networks import Networks, Offer
from .options import PageOptions

TITLE = "Video Depth Anything"
QUALITIES = {"vits": "Small, fastest", "vitb": "Medium", "vitl": "Large, best"}
COLORMAPS = ["inferno", "magma", "viridis", "turbo", "Spectral", "gray"]
DETAILS = {"Low": 280, "Medium": 392, "High": 518}
DOWNLOADS = [("16-bit PNG", "png16"), ("OpenEXR", "exr"), ("NumPy", "npz"), ("Stereo", "sbs")]
QUIET: dict[str, Any] = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}
# Gradio's default is 1920x1440; the network's input has a few hundred rows.
RECORDING = gr.WebcamOptions(mirror=False, constraints={"video": {"width": {"ideal": 640}, "height": {"ideal": 480}}})
# Scripts: the player's position, and the camera's settings.
SHARE = "() => [document.querySelector('depth-player')?.share ?? 0]"
CAMERA = "(encoder, metric, detail, colormap) => { window.cameraSettings = {encoder, metric, detail, colormap}; }"


def build_page(handlers: Handlers, networks: Networks, options: PageOptions, clip: Path) -> gr.Blocks:
    with gr.Blocks(title=TITLE, analytics_enabled=False) as page:
        gr.Markdown(f"# {TITLE}\nUpload a video, get its depth: bright is near, dark is far.", elem_id="title")
        banner = gr.Markdown(DEMO, visible=networks.begin.demo, elem_id="demo-model")
        with gr.Tabs():
            with gr.Tab("Video"):
                _video_tab(handlers, networks, options, banner, clip)
            with gr.Tab("Live camera"):
                _live_tab(networks)
        page.load(handlers.load, None, list(handlers.parts.values()), **QUIET)
    return page


DEMO = (
    "**Demo model**: small, with rough edges. The person who runs this page can install a full-quality model; the "
    "documentation explains how."
)


def _video_tab(handlers: Handlers, networks: Networks, options: PageOptions, banner: gr.Markdown, clip: Path) -> None:
    with gr.Row():
        with gr.Column(scale=2, min_width=320):
            video = gr.Video(label="Video", sources=["upload", "webcam"], include_audio=True, elem_id="video",
                             height=260, webcam_options=RECORDING)  # fmt: skip
            with gr.Row(elem_id="chosen-row"):
                chosen = gr.HTML(visible=False, elem_id="chosen")
                another = gr.Button("Another video", size="sm", visible=False, elem_id="another")
            run = gr.Button("Compute depth", variant="primary", size="lg", elem_id="run")
            cancel = gr.Button("Cancel", variant="stop", size="lg", elem_id="cancel", visible=False)
            status = gr.HTML(READY, elem_id="status")
            settings = _settings(networks, options, banner)
            gr.Examples([[str(clip)]], [video], label="No video at hand? Try this one", elem_id="examples",
                        cache_examples=False)  # fmt: skip
            gr.HTML(_limits(options), elem_id="limits")
        with gr.Column(scale=3, min_width=320, elem_id="results"):
            result = gr.HTML(handlers.example(), elem_id="result")
            look_around = gr.Button("Look around this frame in 3D", visible=False, elem_id="look-around")
            relief = gr.Model3D(label="Drag to look around", height=420, clear_color=(0.06, 0.09, 0.16, 1),
                                interactive=False, visible=False, elem_id="relief")  # fmt: skip
    timer = gr.Timer(1.0, active=False)
    share = gr.Number(visible="hidden")
    handlers.parts = {"status": status, "result": result, "video": video, "chosen": chosen, "another": another,
                      "run": run, "cancel": cancel, "timer": timer, "look_around": look_around,
                      "relief": relief}  # fmt: skip
    view = list(handlers.parts.values())
    run.click(handlers.press, [video, *settings], view,
              **QUIET | {"show_progress": "minimal"}, show_progress_on=status)  # fmt: skip
    timer.tick(handlers.look, None, view, **QUIET)
    cancel.click(handlers.cancel, None, view, **QUIET)
    another.click(handlers.another, None, view, **QUIET)
    # In the browser: a response of the server could arrive after that of a press.
    video.change(None, video, status, js=f"(video) => video ? {json.dumps(CHOSEN)} : {json.dumps(READY)}")
    # Shown first, filled afterwards: Gradio's viewer drops a file that arrives while it is created.
    shown = look_around.click(lambda: gr.update(visible=True), None, relief, **QUIET)
    shown.then(handlers.show_relief, share, relief, js=SHARE, **QUIET)


@contextmanager
def _advanced(name: str) -> Iterator[None]:
    """Collapsed settings, see static/page.css.

    Gradio's Accordion makes its components when it is first opened, and a moment later gives them their first values:
    a number that was typed by then is lost.
    """
    gr.HTML("<details><summary>Advanced</summary></details>", elem_id=name, elem_classes="opener")
    with gr.Column(elem_classes="opened"):
        yield


def _limits(options: PageOptions) -> str:
    return (
        "<details><summary>Limits and privacy</summary><p>One video is computed at a time, and up to "
        f"{options.max_waiting} wait; one of them may be yours. A video may have {options.max_upload_mb} MB and "
        f"{options.max_frames} frames. Nobody else sees your files. They are removed ten minutes after you close this "
        "page.</p></details>"
    )


def _settings(networks: Networks, options: PageOptions, banner: gr.Markdown) -> list[Any]:
    """The components, in the order of `Handlers.press`."""
    begin = networks.begin
    rows = options.model.input_size or usual_input_size(begin.checkpoint)
    details = DETAILS if rows in DETAILS.values() else {**DETAILS, f"{rows} rows": rows}
    detail = gr.Radio(list(details.items()), value=rows, label="Detail", elem_id="detail")
    with _advanced("advanced"):
        encoder, metric = _network(networks)
        with gr.Row():
            max_res = gr.Number(1280, label="Frame size", info="longer side in pixels; 0 keeps it", precision=0,
                                minimum=0, maximum=8192, elem_id="max_res")  # fmt: skip
            colormap = gr.Dropdown(COLORMAPS, value="inferno", label="Colours", elem_id="colormap")
        with gr.Row():
            fps = gr.Number(0, label="Frame rate", info="frames a second; 0 keeps all", minimum=0, elem_id="target_fps")
            max_len = gr.Number(0, label="Length", info="frames; 0 keeps all", precision=0, minimum=0,
                                maximum=1_000_000, elem_id="max_len")  # fmt: skip
        metric_too = any(offer.metric for offer in networks.offers)
        choices = [*DOWNLOADS, *[("Point clouds (with metres)", "ply")] * metric_too]
        downloads = gr.CheckboxGroup(choices, label="Also make, to download", elem_id="downloads")
        fov = gr.Number(60, label="Field of view", info="of the camera in degrees, for point clouds and 3D", minimum=1,
                        maximum=179, elem_id="fov")  # fmt: skip
        model = gr.HTML(_model_text(begin), elem_id="model")

    def choose(encoder: str, metric: bool) -> list[Any]:
        offer = next((o for o in networks.offers if (o.encoder, o.metric) == (encoder, metric)), begin)
        return [_model_text(offer), gr.update(visible=offer.demo)]

    for component in (encoder, metric):
        component.change(choose, [encoder, metric], [model, banner], **QUIET)
    return [encoder, metric, detail, max_res, fps, max_len, colormap, downloads, fov]


def _model_text(offer: Offer) -> str:
    rows = ", ".join(f"{name.lower()} {rows}" for name, rows in DETAILS.items())
    return f"<p>Model: {html.escape(offer.checkpoint.name)}. Rows of pixels that enter it, by Detail: {rows}.</p>"


def _network(networks: Networks) -> tuple[Any, Any]:
    """Encoder and metric box for the available checkpoints; the box follows if an encoder has only one kind."""
    kinds: dict[str, list[bool]] = {}
    for offer in networks.offers:
        kinds.setdefault(offer.encoder, []).append(offer.metric)

    def box(encoder: str, wanted: bool) -> dict[str, Any]:
        there = kinds[encoder]
        info = "depth in metres" if True in there else "needs a metric checkpoint on the server"
        return {"value": wanted if wanted in there else there[0], "interactive": len(there) > 1, "info": info}

    begin = networks.begin
    with gr.Row():
        choices = [(QUALITIES.get(encoder, encoder), encoder) for encoder in kinds]
        encoder = gr.Dropdown(choices, value=begin.encoder, label="Quality", elem_classes="encoder")
        metric = gr.Checkbox(
            label="Metres", elem_classes="metric", **box(networks.begin.encoder, networks.begin.metric)
        )
    if len(kinds) > 1:
        encoder.input(lambda name, on: gr.update(**box(name, on)), [encoder, metric], metric, **QUIET)
    return encoder, metric


def _live_tab(networks: Networks) -> None:
    begin = networks.begin
    chosen = f'data-encoder="{begin.encoder}" data-metric="{str(begin.metric).lower()}" data-colormap="inferno"'
    chosen += f' data-detail="{CAMERA_DETAILS["Low"]}"'
    gr.HTML(f"<depth-camera {chosen}></depth-camera>", elem_id="camera")
    with _advanced("camera-advanced"):
        encoder, metric = _network(networks)
        with gr.Row():
            detail = gr.Radio(list(CAMERA_DETAILS.items()), value=CAMERA_DETAILS["Low"], label="Detail",
                              elem_id="camera-detail")  # fmt: skip
            colormap = gr.Dropdown(COLORMAPS, value="inferno", label="Colours")
    settings = [encoder, metric, detail, colormap]
    for component in settings:
        component.change(None, settings, None, js=CAMERA)


def press_checker(page: gr.Blocks) -> Callable[[bytes, Callable[[str], bool]], bytes]:
    """A function that checks the body of an event: its handler, the visitor's file, and the values of components.

    It returns the part that Gradio needs, and raises HTTPException if anything is invalid.
    """

    def check(body: bytes, may_read: Callable[[str], bool]) -> bytes:
        try:
            content = json.loads(body, parse_constant=_refuse_constant)
            index, data = content["fn_index"], content["data"]
            handler, inputs = page.fns[index].fn, page.fns[index].inputs
            # Without a handler, the event is the script's.
            if handler is None or type(index) is not int or not isinstance(data, list) or len(data) != len(inputs):
                raise ValueError
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            raise HTTPException(400, "This is not a request of this page. Reload it.") from error
        values = [_checked(block, value, may_read) for block, value in zip(inputs, data)]
        return json.dumps({"fn_index": index, "data": values}).encode()

    return check


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _checked(block: Any, value: Any, may_read: Callable[[str], bool]) -> Any:
    """A valid value of a component, as Gradio expects it."""
    try:
        if isinstance(block, gr.Video):
            path = None if value is None else value["path"]
            if path is not None and not (isinstance(path, str) and may_read(path)):
                raise HTTPException(404, "This video is no longer on the server. Upload it again.")
            return path and {"path": path, "meta": {"_type": "gradio.FileData"}}
        # No other component takes files, but Gradio looks for them in all dictionaries and lists.
        if any(isinstance(part, (dict, list)) for part in (value if isinstance(value, list) else [value])):
            raise TypeError("no value of a setting")
        if value is None and isinstance(block, (gr.Dropdown, gr.Radio, gr.Dataset)):
            raise TypeError("nothing is chosen")
        if isinstance(value, int):
            float(value)  # raises if there is no such float
        block.preprocess(value)
        return value
    except HTTPException:
        raise
    except Exception as error:
        name = getattr(block, "label", None) or "A setting"
        raise HTTPException(400, f"{name} cannot be {str(value)[:40]!r}.") from error
