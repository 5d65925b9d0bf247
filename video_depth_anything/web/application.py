"""The web application: Gradio behind the gate, the page's own routes, and the removal of expired data."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gradio as gr
from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from ..pipelines.options import ModelOptions
from ..weights import EXAMPLE, bundled
from .camera import Cameras
from .gate import ALIVE, PICTURE, PROGRESS, UPLOAD, Gate, Hosts
from .handlers import Handlers
from .networks import Networks
from .options import PageOptions
from .page import COLORMAPS, build_page, press_checker
from .upload_form import FORM_BYTES, Uploads
from .visitors import PUBLIC, Visitors

# Shown before the first result: source and depth side by side, a still image of it, and the size (H, W) of one half.
EXAMPLE_RESULT, EXAMPLE_STILL = "example_videos/box_compare.mp4", "example_videos/box_compare.jpg"
EXAMPLE_SIZE = (420, 560)
STATIC = Path(__file__).parent / "static"
# At shutdown, seconds to wait for the running job to stop.
STOP_SECONDS = 20.0


class Application:
    def __init__(self, options: PageOptions, networks: Networks, visitors: Visitors) -> None:
        most = options.max_upload_mb * 1_000_000
        self._networks = networks
        self._visitors = visitors
        uploads = Uploads(visitors, most)
        self._cameras = Cameras(lambda model: networks.get(model).new_stream(), options.max_camera_mb * 1_000_000)
        # Every visitor may read these.
        names = (EXAMPLE, EXAMPLE_RESULT, EXAMPLE_STILL)
        clip, result, still = (Path(shutil.copy(bundled(name), visitors.root / PUBLIC)) for name in names)
        self._handlers = Handlers(visitors, networks, options, (result, still, EXAMPLE_SIZE))
        page = build_page(self._handlers, networks, options, clip)
        app = FastAPI(openapi_url=None)
        gr.mount_gradio_app(app, page, "/", auth=options.auth, max_file_size=most, **looks())
        # Gradio's own application holds the tokens of those who have logged in.
        self._login = app.routes[-1].app if options.auth is not None else None  # type: ignore[attr-defined]
        own = {UPLOAD: uploads.receive, PROGRESS: uploads.progress, PICTURE: self._picture, ALIVE: self._alive}
        self.hosts = Hosts(options.server_name, options.allowed_hosts)
        self.gate = Gate(app, own, visitors, self.hosts, press_checker(page), self._signed_in, most + FORM_BYTES)

    def sweep(self) -> None:
        """Remove expired cameras, jobs and files."""
        self._cameras.sweep()
        self._visitors.sweep(self._handlers.queue.others_wait())

    def close(self) -> None:
        self._handlers.queue.close(STOP_SECONDS)
        self._cameras.sweep(0)

    def _signed_in(self, cookies: Mapping[str, str]) -> bool:
        login = self._login
        names = ("access-token-", "access-token-unsecure-")
        return login is None or any(cookies.get(f"{name}{login.cookie_id}") in login.tokens for name in names)

    async def _alive(self, request: Request) -> Response:
        self._visitors.find(request.state.owner)
        return Response(status_code=204)

    async def _picture(self, request: Request) -> Response:
        """Depth of one camera image, requested by static/page.js."""
        words = request.query_params
        try:
            colormap, page = COLORMAPS[COLORMAPS.index(words["colormap"])], words["page"][:60]
            detail = min(max(int(words["detail"]), 14), 518)
            model = ModelOptions(words["encoder"], words["metric"] == "1", input_size=detail)
        except (KeyError, ValueError) as error:
            raise HTTPException(400, "The camera's settings cannot be used.") from error
        self._networks.offer(words["encoder"], model.metric)
        data = await request.body()
        visitor = self._visitors.get(request.state.owner, request.state.address)
        depth = await asyncio.to_thread(self._cameras.step, visitor, page, model, colormap, data)
        return Response(depth, media_type="image/jpeg", headers={"cache-control": "no-store"})


def looks() -> dict[str, Any]:
    """Theme, style sheet and script. Fonts are the system's, so that the page loads nothing from other hosts."""
    fonts: dict[str, Any] = {"font": ["ui-sans-serif", "system-ui", "sans-serif"], "font_mono": ["monospace"]}
    off = ("run_history", "enable_monitoring", "ssr_mode", "show_error", "pwa")
    return {
        "theme": gr.themes.Soft(primary_hue="indigo", neutral_hue="slate", **fonts),
        "css": (STATIC / "page.css").read_text(),
        "head": f"<script type=module>{(STATIC / 'page.js').read_text()}</script>",
        "footer_links": [],
        **dict.fromkeys(off, False),
    }
