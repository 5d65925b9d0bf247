"""The web page: what is on it, and which handler answers which button."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr

from .handlers import Handlers, NetworkName, Start

TITLE = "Video Depth Anything"
COLORMAPS = ("inferno", "magma", "viridis", "turbo", "Spectral", "gray")
DOWNLOADS = [("NumPy (.npz)", "npz"), ("OpenEXR (.zip)", "exr"), ("16-bit PNG (.zip)", "png16")]
# Sessions whose cameras are served at the same time; others wait.
LIVE_SESSIONS = 4
# Gradio would ask for 1920x1440; the network sees a few hundred rows.
CAMERA = {"video": {"width": {"ideal": 640}, "height": {"ideal": 480}}}
STYLE = """
.gradio-container { width: 100% !important; max-width: 1320px !important; margin: 0 auto !important; }
#title h1 { margin-bottom: 0; font-weight: 650; letter-spacing: -0.01em; }
#title p { margin-top: 0.2rem; opacity: 0.75; }
#video video { max-height: 320px; }
#status { min-height: 3.4rem; }
#status .wrap { background: var(--body-background-fill); opacity: 1; }
#live-depth img.live { width: 100%; border-radius: 8px; display: block; }
#live-depth p.rate { margin-top: 0.5rem; font-variant-numeric: tabular-nums; }
/* It would fetch a program from elsewhere, which the page's policy forbids. */
#video button[title^="Trim"] { display: none; }
footer { display: none !important; }
"""


def theme() -> gr.themes.Base:
    """The system's own fonts: nothing is fetched from elsewhere."""
    return gr.themes.Soft(
        primary_hue="indigo",
        neutral_hue="slate",
        font=["ui-sans-serif", "system-ui", "sans-serif"],
        font_mono=["ui-monospace", "monospace"],
    )


def launch_options() -> dict[str, Any]:
    """How the page looks, and that it shows nothing but itself."""
    return {
        "theme": theme(),
        "css": STYLE,
        "quiet": True,
        "footer_links": [],
        "run_history": False,
        "enable_monitoring": False,
        "ssr_mode": False,
        "show_error": False,
    }


@dataclass(frozen=True)
class _Network:
    """The two components that choose a network."""

    encoder: gr.Dropdown
    metric: gr.Checkbox


def build_page(
    handlers: Handlers, networks: Sequence[NetworkName], start: Start, examples: Sequence[Path]
) -> gr.Blocks:
    """Lay the page out.

    Args:
        networks: (encoder, metric) of the checkpoints that are there. start: what the page begins with.
        examples: videos to try.
    """
    with gr.Blocks(title=TITLE, analytics_enabled=False, delete_cache=(3600, 24 * 3600)) as page:
        gr.Markdown(f"# {TITLE}\nConsistent depth for videos: bright is near.", elem_id="title")
        with gr.Tabs():
            with gr.Tab("Video"):
                _video_tab(handlers, networks, start, examples)
            with gr.Tab("Live camera"):
                _live_tab(handlers, networks, start)
        page.load(handlers.open, api_visibility="private", queue=False)
        page.unload(handlers.close)
    page.queue(default_concurrency_limit=1)
    return page


def _video_tab(handlers: Handlers, networks: Sequence[NetworkName], start: Start, examples: Sequence[Path]) -> None:
    with gr.Row():
        with gr.Column(scale=2, min_width=320):
            video = gr.Video(
                label="Video", sources=["upload", "webcam"], include_audio=True, elem_id="video",
                webcam_options=gr.WebcamOptions(mirror=False, constraints=CAMERA),
            )  # fmt: skip
            gr.Examples([[str(path)] for path in examples], [video], label="Examples", cache_examples=False)
            settings = _settings(networks, start)
        with gr.Column(scale=3, min_width=420):
            with gr.Row():
                run = gr.Button("Compute depth", variant="primary", elem_id="run", scale=3)
                cancel = gr.Button("Cancel", variant="stop", elem_id="cancel", scale=1)
            status = gr.Markdown("Choose a video, or an example.", elem_id="status")
            with gr.Row():
                source = _player("Source", "source")
                depth = _player("Depth", "depth")
            files = gr.File(label="Downloads", file_count="multiple", interactive=False, visible=False, elem_id="files")
            with gr.Group(visible=any(metric for _, metric in networks)):
                frame = gr.Radio([], label="Point cloud of frame (with metric depth)", visible=False, elem_id="frame")
                cloud = gr.Model3D(label="Point cloud", height=380, camera_position=(90, 80, None), interactive=False,
                                   display_mode="point_cloud", visible=False, elem_id="cloud")  # fmt: skip
    results = [status, source, depth, files, frame, cloud]
    running = run.click(
        handlers.run,
        [video, *settings],
        results,
        concurrency_limit=1,
        show_progress_on=status,
        api_visibility="private",
    )
    cancel.click(handlers.cancel, None, status, cancels=[running], queue=False, api_visibility="private")
    frame.input(handlers.show_cloud, frame, cloud, queue=False, show_progress="hidden", api_visibility="private")


def _player(label: str, name: str) -> gr.Video:
    return gr.Video(label=label, interactive=False, autoplay=True, loop=True, elem_id=name, height=300)


def _settings(networks: Sequence[NetworkName], start: Start) -> list[Any]:
    """The components in the order of `Handlers.run`."""
    network = _network(networks, start)
    with gr.Row():
        input_size = gr.Number(start.input_size, label="Input size", info="shorter side, pixels", precision=0,
                               minimum=14, maximum=1036, step=14, elem_id="input_size")  # fmt: skip
        max_res = gr.Number(1280, label="Max resolution", info="longer side, -1: any", precision=0, elem_id="max_res")
    with gr.Row():
        fps = gr.Number(-1, label="Frames a second", info="-1: all", elem_id="target_fps")
        max_len = gr.Number(-1, label="Frames at most", info="-1: all", precision=0, elem_id="max_len")
    with gr.Row():
        colormap = gr.Dropdown(list(COLORMAPS), value="inferno", label="Colours", elem_id="colormap")
        side_by_side = gr.Checkbox(False, label="Side by side", info="source left of depth", elem_id="side_by_side")
    downloads = gr.CheckboxGroup(DOWNLOADS, value=["npz"], label="Files to download", elem_id="downloads")
    fov = gr.Number(60, label="Field of view", info="degrees, of the camera, for the point cloud", minimum=1,
                    maximum=179, visible=start.metric, elem_id="fov")  # fmt: skip
    network.metric.change(lambda on: gr.update(visible=on), network.metric, fov, queue=False, show_progress="hidden",
                          api_visibility="private")  # fmt: skip
    return [network.encoder, network.metric, input_size, max_res, fps, max_len, colormap, side_by_side, downloads, fov]


def _network(networks: Sequence[NetworkName], start: Start) -> _Network:
    """Encoders whose checkpoint is there; the box follows, where an encoder has only one kind."""
    kinds = {encoder: [m for e, m in networks if e == encoder] for encoder, _ in networks}

    def box(encoder: str, wanted: bool) -> dict[str, Any]:
        there = kinds[encoder]
        info = "depth in metres" if True in there else "no metric checkpoint is here"
        return {"value": wanted if wanted in there else there[0], "interactive": len(there) > 1, "info": info}

    with gr.Row():
        encoder = gr.Dropdown(list(kinds), value=start.encoder, label="Encoder", elem_classes="encoder")
        metric = gr.Checkbox(label="Metric", elem_classes="metric", **box(start.encoder, start.metric))
    if len(kinds) > 1:
        encoder.input(lambda name, on: gr.update(**box(name, on)), [encoder, metric], metric, queue=False,
                      show_progress="hidden", api_visibility="private")  # fmt: skip
    return _Network(encoder, metric)


def _live_tab(handlers: Handlers, networks: Sequence[NetworkName], start: Start) -> None:
    gr.Markdown("Depth of each frame as it comes. Press the record button below the camera's picture to begin.")
    with gr.Row():
        with gr.Column():
            camera = gr.Image(
                sources=["webcam"], streaming=True, type="numpy", label="Camera", elem_id="camera", height=400,
                webcam_options=gr.WebcamOptions(mirror=False, constraints=CAMERA),
            )  # fmt: skip
            network = _network(networks, start)
            with gr.Row():
                size = gr.Number(min(start.input_size, 252), label="Input size", info="shorter side, pixels",
                                 precision=0, minimum=14, maximum=1036, step=14, elem_id="live_input_size")  # fmt: skip
                colormap = gr.Dropdown(list(COLORMAPS), value="inferno", label="Colours")
        with gr.Column():
            shown = gr.HTML(elem_id="live-depth", label="Depth", min_height=400, container=True, show_label=True)
    camera.stream(
        handlers.live, [camera, network.encoder, network.metric, size, colormap], shown, stream_every=0.1,
        concurrency_limit=LIVE_SESSIONS, show_progress="hidden", api_visibility="private",
    )  # fmt: skip
