"""The web page: what is on it, and which handler answers which button."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gradio as gr

from ..pipelines.setup import usual_input_size
from ..weights import EXAMPLE, bundled
from .handlers import MOST_CAMERAS, Handlers
from .looks import SHOW_RESULT
from .networks import Networks, Offer
from .options import PageOptions

TITLE = "Video Depth Anything"
EXAMPLE_DEPTH = "example_videos/box_depth.mp4"
QUALITIES = {"vits": "Small, fastest", "vitb": "Medium", "vitl": "Large, best"}
COLORMAPS = ("inferno", "magma", "viridis", "turbo", "Spectral", "gray")
DOWNLOADS = [("NumPy (.npz)", "npz"), ("OpenEXR (.zip)", "exr"), ("16-bit PNG (.zip)", "png16")]
DETAIL = "rows that the model sees; more is slower"
READY = "Choose a video and press the button. What you see is an example, ready made."
# Gradio would ask for 1920x1440; the network sees a few hundred rows.
CAMERA = {"video": {"width": {"ideal": 640}, "height": {"ideal": 480}}}


@dataclass(frozen=True)
class _Network:
    """The two components that choose a network."""

    encoder: gr.Dropdown
    metric: gr.Checkbox


def build_page(handlers: Handlers, networks: Networks, options: PageOptions) -> gr.Blocks:
    """Lay the page out.

    Args:
        handlers: the answers.
        networks: those that are there.
        options: what the page begins with, and its limits.
    """
    with gr.Blocks(title=TITLE, analytics_enabled=False) as page:
        gr.Markdown(f"# {TITLE}\nUpload a video, get its depth: bright is near, dark is far.", elem_id="title")
        banner = gr.Markdown(_demo_text(networks.begin), visible=networks.begin.demo, elem_id="demo-model")
        with gr.Tabs():
            with gr.Tab("Video"):
                _video_tab(handlers, networks, options, banner)
            with gr.Tab("Live camera"):
                _live_tab(handlers, networks, options)
        page.load(handlers.open, api_visibility="private", queue=False)
        page.unload(handlers.close)
    # More than can ever be wanted: jobs are counted elsewhere, with words for who is refused.
    page.queue(default_concurrency_limit=1, max_size=8 * (options.max_waiting + MOST_CAMERAS))
    return page


def _demo_text(offer: Offer) -> str:
    return (
        f"**Demo model** ({offer.checkpoint.name}): small, and rough at edges. For full quality, download a public "
        "checkpoint on the server: `vda weights vits`."
    )


def _video_tab(handlers: Handlers, networks: Networks, options: PageOptions, banner: gr.Markdown) -> None:
    with gr.Row():
        with gr.Column(scale=2, min_width=320):
            video = gr.Video(
                label="Video", sources=["upload", "webcam"], include_audio=True, elem_id="video", height=300,
                webcam_options=gr.WebcamOptions(mirror=False, constraints=CAMERA),
            )  # fmt: skip
            run = gr.Button("Compute depth", variant="primary", size="lg", elem_id="run")
            cancel = gr.Button("Cancel", variant="stop", size="lg", elem_id="cancel", visible=False)
            status = gr.Markdown(READY, elem_id="status")
            gr.Examples([[str(bundled(EXAMPLE))]], [video], label="No video at hand? Take this one", elem_id="examples",
                        cache_examples=False)  # fmt: skip
            settings = _settings(networks, options, banner)
        with gr.Column(scale=3, min_width=320, elem_id="results"):
            with gr.Row():
                source = _player("Example: source", "source", EXAMPLE)
                depth = _player("Example: depth", "depth", EXAMPLE_DEPTH)
            gr.Markdown(options.limits_line(), elem_id="limits")
            files = gr.File(label="Downloads", file_count="multiple", interactive=False, visible=False, elem_id="files")
            with gr.Group(visible=any(offer.metric for offer in networks.offers)):
                frame = gr.Radio(
                    [], label="Point cloud of frame (with depth in metres)", visible=False, elem_id="frame"
                )
                cloud = gr.Model3D(label="Point cloud", height=380, camera_position=(90, 80, None), interactive=False,
                                   display_mode="point_cloud", visible=False, elem_id="cloud")  # fmt: skip
    results = [status, source, depth, files, frame, cloud]
    begun = run.click(handlers.begin, video, [run, cancel, status], queue=False, show_progress="hidden",
                      api_visibility="private")  # fmt: skip
    running = begun.then(
        handlers.run,
        [video, *settings],
        results,
        concurrency_limit=options.max_waiting + 2,  # who waits is decided by `Turns`
        show_progress_on=status,
        api_visibility="private",
    )
    for over in (running.success, running.failure):
        over(handlers.end, None, [run, cancel], queue=False, show_progress="hidden", api_visibility="private")
    running.success(None, js=SHOW_RESULT)
    cancel.click(handlers.cancel, None, [status, run, cancel], cancels=[running], queue=False,
                 show_progress="hidden", api_visibility="private")  # fmt: skip
    frame.input(handlers.show_cloud, frame, cloud, queue=False, show_progress="hidden", api_visibility="private")


def _player(label: str, name: str, example: str) -> gr.Video:
    path = bundled(example)
    shown = str(path) if path.is_file() else None
    return gr.Video(shown, label=label, interactive=False, autoplay=True, loop=True, elem_id=name, height=300,
                    min_width=260, buttons=["download"])  # fmt: skip


def _settings(networks: Networks, options: PageOptions, banner: gr.Markdown) -> list[Any]:
    """The components in the order of `Handlers.run`."""
    with gr.Accordion("Advanced", open=False, elem_id="advanced"):
        network = _network(networks)
        size = options.model.input_size or usual_input_size(networks.begin.checkpoint)
        with gr.Row():
            detail = gr.Number(size, label="Detail", info=DETAIL, precision=0, minimum=14,
                               maximum=1036, step=14, elem_id="input_size")  # fmt: skip
            max_res = gr.Number(1280, label="Frame size", info="longer side, pixels; 0: as it is", precision=0,
                                minimum=0, elem_id="max_res")  # fmt: skip
        with gr.Row():
            fps = gr.Number(0, label="Frame rate", info="frames a second; 0: all", minimum=0,
                            elem_id="target_fps")  # fmt: skip
            max_len = gr.Number(0, label="Length", info="frames at most; 0: all", precision=0, minimum=0,
                                elem_id="max_len")  # fmt: skip
        with gr.Row():
            colormap = gr.Dropdown(list(COLORMAPS), value="inferno", label="Colours", elem_id="colormap")
            side_by_side = gr.Checkbox(False, label="Compare", info="source left of depth, in one video",
                                       elem_id="side_by_side")  # fmt: skip
        downloads = gr.CheckboxGroup(DOWNLOADS, value=["npz"], label="Numbers to download", elem_id="downloads")
        fov = gr.Number(60, label="Field of view", info="of the camera, in degrees, for the point cloud", minimum=1,
                        maximum=179, visible=networks.begin.metric, elem_id="fov")  # fmt: skip
        model = gr.Markdown(_model_text(networks.begin), elem_id="model")

    def chosen(encoder: str, metric: bool) -> list[Any]:
        offer = next((o for o in networks.offers if o.name == (encoder, metric)), networks.begin)
        return [_model_text(offer), gr.update(visible=offer.demo), gr.update(visible=metric)]

    for component in (network.encoder, network.metric):
        component.change(chosen, [network.encoder, network.metric], [model, banner, fov], queue=False,
                         show_progress="hidden", api_visibility="private")  # fmt: skip
    return [network.encoder, network.metric, detail, max_res, fps, max_len, colormap, side_by_side, downloads, fov]


def _model_text(offer: Offer) -> str:
    return f"Model: {offer.checkpoint.name}"


def _network(networks: Networks) -> _Network:
    """Encoders whose checkpoint is there; the box follows, where an encoder has only one kind."""
    kinds = {
        offer.encoder: [o.metric for o in networks.offers if o.encoder == offer.encoder] for offer in networks.offers
    }

    def box(encoder: str, wanted: bool) -> dict[str, Any]:
        there = kinds[encoder]
        info = "instead of near and far only" if True in there else "needs a metric checkpoint; none is here"
        return {"value": wanted if wanted in there else there[0], "interactive": len(there) > 1, "info": info}

    begin = networks.begin
    with gr.Row():
        choices = [(QUALITIES.get(encoder, encoder), encoder) for encoder in kinds]
        encoder = gr.Dropdown(choices, value=begin.encoder, label="Quality", elem_classes="encoder")
        metric = gr.Checkbox(label="Metres", elem_classes="metric", **box(begin.encoder, begin.metric))
    if len(kinds) > 1:
        encoder.input(lambda name, on: gr.update(**box(name, on)), [encoder, metric], metric, queue=False,
                      show_progress="hidden", api_visibility="private")  # fmt: skip
    return _Network(encoder, metric)


def _live_tab(handlers: Handlers, networks: Networks, options: PageOptions) -> None:
    gr.Markdown("Depth of each frame as it comes. Allow the camera, then press the record button below its picture.")
    with gr.Row():
        with gr.Column(min_width=320):
            camera = gr.Image(
                sources=["webcam"], streaming=True, type="numpy", label="Camera", elem_id="camera", height=400,
                webcam_options=gr.WebcamOptions(mirror=False, constraints=CAMERA),
            )  # fmt: skip
            with gr.Accordion("Advanced", open=False):
                network = _network(networks)
                with gr.Row():
                    size = gr.Number(min(options.model.input_size or 252, 252), label="Detail", info=DETAIL,
                                     precision=0, minimum=14, maximum=1036, step=14,
                                     elem_id="live_input_size")  # fmt: skip
                    colormap = gr.Dropdown(list(COLORMAPS), value="inferno", label="Colours")
        with gr.Column(min_width=320):
            shown = gr.HTML(elem_id="live-depth", label="Depth", min_height=400, container=True, show_label=True)
    camera.stream(
        handlers.live, [camera, network.encoder, network.metric, size, colormap], shown, stream_every=0.1,
        concurrency_limit=MOST_CAMERAS, show_progress="hidden", api_visibility="private",
    )  # fmt: skip
