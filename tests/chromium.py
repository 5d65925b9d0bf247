"""A real browser and a real app.py for tests and pictures of the web page."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from playwright.sync_api import Browser, Page, expect, sync_playwright

ROOT = Path(__file__).resolve().parents[1]
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
# Software rendering, a camera that shows a test picture, and nothing said to the world.
FLAGS = ["--no-sandbox", "--disable-gpu", "--enable-unsafe-swiftshader", "--disable-quic", "--no-first-run"]
FLAGS += ["--disable-background-networking", "--disable-component-update", "--disable-sync"]
FLAGS += ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]
WAIT_MS = 90_000


class Server(NamedTuple):
    """A running app.py: its address, and the folder that its temporary files are in."""

    process: subprocess.Popen[str]
    address: str
    temporary: Path

    def jobs(self) -> list[Path]:
        """Folders of jobs' files."""
        return list(self.temporary.glob("depth_page_*/job_*"))


@contextmanager
def serving(folder: Path, *flags: str) -> Iterator[Server]:
    """app.py with `folder` as the current one and for its temporary files, ended as a user ends it."""
    temporary = folder / "temporary"
    temporary.mkdir()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, str(ROOT / "app.py"), *flags, "--no_browser", "--server_port", str(port)]
    environment = {**os.environ, "TMPDIR": str(temporary)}
    process = subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline().strip() == f"open http://127.0.0.1:{port}/"
    try:
        yield Server(process, f"http://127.0.0.1:{port}/", temporary)
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
    assert list(temporary.glob("depth_page_*")) == []


@contextmanager
def browsing() -> Iterator[Browser]:
    """The system's Chromium, without a window."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


def open_advanced(page: Page) -> None:
    """Show the settings."""
    page.locator("#advanced > button, #advanced .label-wrap").first.click()


def choose_example(page: Page) -> None:
    """Take the first example as the page's video."""
    page.locator(".gallery-item, .gallery button, table button").first.click()
    page.wait_for_function("(v => v && v.src.includes('box.mp4'))(document.querySelector('#video video'))")


def finish(page: Page, frames: int) -> None:
    """Wait for the job's last line, and for both videos to play."""
    expect(page.locator("#status")).to_contain_text(f"{frames} frames in", timeout=WAIT_MS)
    page.wait_for_function("document.querySelector('#depth video').src.includes('_vis.mp4')")
    for name in ("source", "depth"):
        player = f"document.querySelector('#{name} video')"
        page.wait_for_function(f"{player} && {player}.readyState >= 2 && {player}.currentTime > 0.1 && !{player}.error")
