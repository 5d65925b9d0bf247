"""A real browser for tests and pictures of the web page."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from page_server import Server as Server
from page_server import serving as serving
from playwright.sync_api import Browser, Page, TimeoutError, expect, sync_playwright

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
# Software rendering, a camera that shows a test picture, and nothing said to the world.
FLAGS = ["--no-sandbox", "--disable-gpu", "--enable-unsafe-swiftshader", "--disable-quic", "--no-first-run"]
FLAGS += ["--disable-background-networking", "--disable-component-update", "--disable-sync"]
FLAGS += ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]
WAIT_MS = 90_000
expect.set_options(timeout=WAIT_MS)


@contextmanager
def browsing() -> Iterator[Browser]:
    """The system's Chromium, without a window."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


def open_advanced(page: Page) -> None:
    """Show the settings."""
    page.locator("#advanced summary").click()


def go(page: Page, address: str) -> None:
    """Open the page, and wait until it listens: Gradio shows its buttons before it answers them."""
    with page.expect_response(lambda response: response.url.endswith("/run/predict"), timeout=WAIT_MS):
        page.goto(address)
    expect(page.locator("#run, #cancel").first).to_be_enabled()


def choose_example(page: Page) -> None:
    """Take the first example as the page's video; again where the click was lost, as a visitor would."""
    chosen = "(v => v && v.src.includes('box.mp4'))(document.querySelector('#video video'))"
    for _ in range(5):
        page.locator(".gallery-item, .gallery button, table button").first.click()
        with suppress(TimeoutError):
            page.wait_for_function(chosen, timeout=WAIT_MS / 5)
            return
    raise AssertionError("the example is not taken as the page's video")


def start(page: Page) -> None:
    """Press the button, and wait until the page shows that a job is active: it does so for a second at least."""
    page.locator("#run").click()
    page.locator("#status progress").wait_for()


# The page's player, which keeps its insides in a shadow.
PLAYER = "document.querySelector('depth-player')"


def finish(page: Page, frames: int) -> None:
    """Wait for the job's last line, and for its result to play."""
    expect(page.locator("#status")).to_contain_text(f"Done: {frames} frames in")
    playing = "(v => v.src.includes('/job_') && v.readyState >= 2 && v.currentTime > 0.1 && !v.error)"
    page.wait_for_function(f"{playing}({PLAYER}.video)")
