"""app.py as a visitor meets it: a real server, a real Chromium, real small videos."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest
from chromium import CHROMIUM, WAIT_MS, Server, browsing, choose_example, finish, go, open_advanced, serving
from conftest import MakeVideo
from playwright.sync_api import Browser, BrowserContext, Page, expect

from utils.dc_utils import read_video_frames
from video_depth_anything.video_depth import VideoDepthAnything

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium here; on Debian: apt-get install chromium"),
]


@pytest.fixture(scope="module")
def server(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """app.py with a relative and a metric checkpoint."""
    folder = tmp_path_factory.mktemp("page")
    (folder / "checkpoints").mkdir()
    for name in ("video_depth_anything_vits.pth", "metric_video_depth_anything_vits.pth"):
        (folder / "checkpoints" / name).symlink_to(checkpoint)
    limits = ("--max_upload_mb", "1", "--max_frames", "400")
    with serving(folder, "--device", "cpu", "--fp32", "--input_size", "28", *limits) as started:
        yield started


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with browsing() as started:
        yield started


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    """A browser of its own: no cookie, nothing remembered."""
    made = browser.new_context(viewport={"width": 1280, "height": 1300}, permissions=["camera"])
    yield made
    made.close()


def opened(context: BrowserContext, server: Server) -> Page:
    """The page, ready."""
    page = context.new_page()
    page.set_default_timeout(WAIT_MS)
    go(page, server.address)
    return page


def upload(page: Page, video: Path) -> None:
    if page.locator("#video video").count():
        page.locator("#video button[title=Clear]").click()
    page.locator("#video input[type=file]").set_input_files(video)
    page.locator("#video video").wait_for(state="attached")
    page.wait_for_function("document.querySelector('#video video').src.includes('file=')")


def address_of(page: Page, name: str) -> str:
    return str(page.evaluate(f"document.querySelector('#{name} video').src"))


def until(condition: Callable[[], object], message: str, seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, message
        time.sleep(0.1)


def test_a_video_becomes_depth(
    server: Server, context: BrowserContext, make_video: MakeVideo, tmp_path: Path, golden_model: VideoDepthAnything
) -> None:
    hosts: set[str | None] = set()
    context.on("request", lambda request: hosts.add(urlsplit(request.url).hostname))
    clip = make_video("my clip.mp4", count=40)
    page = opened(context, server)
    upload(page, clip)
    page.locator("#run").click()
    expect(page.locator("#status")).to_contain_text("of 40 done", timeout=WAIT_MS)  # progress
    finish(page, 40)
    with page.expect_download() as download:
        page.locator("#files a").first.click()
    download.value.save_as(tmp_path / "got.npz")
    frames, fps = read_video_frames(clip)
    expected, _ = golden_model.infer_video_depth(frames, fps, input_size=28, fp32=True)
    with np.load(tmp_path / "got.npz") as archive:
        assert str(archive["kind"]) == "disparity"
        np.testing.assert_allclose(archive["depths"], expected, atol=5e-5 * float(np.ptp(expected)))
    assert hosts <= {"127.0.0.1", None}  # data and blob addresses have no host
    assert len(server.jobs()) == 1
    page.close()
    until(lambda: not server.jobs(), "the files stay after the page is closed")
    assert not list(server.temporary.glob("depth_page_*/*/my*clip*"))


def test_metric_depth_has_a_point_cloud(server: Server, context: BrowserContext, make_video: MakeVideo) -> None:
    page = opened(context, server)
    upload(page, make_video(count=12))
    open_advanced(page)
    page.locator(".metric input").first.check()
    page.locator("#run").click()
    finish(page, 12)
    with page.expect_response(lambda response: response.url.endswith("_point0004.ply")) as cloud:
        page.locator("#frame label", has_text="4").first.click()
    assert cloud.value.status == 200
    assert context.request.get(cloud.value.url).body().startswith(b"ply\n")
    canvas = page.locator("#cloud canvas")
    canvas.wait_for()
    # Points are drawn: the picture is not of one colour.
    until(lambda: len(set(canvas.screenshot()[-4000:])) > 50, "the 3D view stays empty")


def test_cancel_stops_the_work(server: Server, context: BrowserContext, make_video: MakeVideo) -> None:
    page = opened(context, server)
    choose_example(page)
    page.locator("#run").click()
    expect(page.locator("#status")).to_contain_text("of 150 done", timeout=WAIT_MS)
    assert len(server.jobs()) == 1
    expect(page.locator("#run")).to_be_hidden()
    page.locator("#cancel").click()
    expect(page.locator("#status")).to_contain_text("Cancelled.", timeout=5000)
    expect(page.locator("#cancel")).to_be_hidden()
    until(lambda: not server.jobs(), "the job's files stay", 10)
    upload(page, make_video("short.mp4", count=3))
    page.locator("#run").click()
    finish(page, 3)
    choose_example(page)
    page.locator("#run").click()
    until(lambda: len(server.jobs()) == 2, "the job does not begin")
    page.close()
    until(lambda: not server.jobs(), "the job goes on without its page", 10)


def test_mistakes_are_said_in_the_page(server: Server, context: BrowserContext, make_video: MakeVideo) -> None:
    page = opened(context, server)
    message = page.locator(".toast-body")
    expect(page.locator("#cancel")).to_be_hidden()
    page.locator("#run").click()
    expect(page.locator("#status")).to_contain_text("Choose a video first")
    assert message.count() == 0  # an empty form is no error
    bad = make_video("bad.mp4")
    bad.write_bytes(b"no video at all" * 100)
    upload(page, bad)
    page.locator("#run").click()
    said = "bad.mp4 cannot be read: it is not a video, or it is damaged. Convert it to MP4 (H.264) and try again."
    expect(message.filter(has_text=said).last).to_be_visible(timeout=WAIT_MS)
    expect(page.locator("#cancel")).to_be_hidden()
    playlist = make_video("list.mp4")
    playlist.write_text(f"#EXTM3U\n#EXTINF:9,\n{make_video('secret.mp4').resolve()}\n")
    upload(page, playlist)
    page.locator("#run").click()
    expect(message.filter(has_text="list.mp4 is a list that names other files").last).to_be_visible(timeout=WAIT_MS)
    upload(page, make_video("long.mp4", count=401))
    page.locator("#run").click()
    expect(message.filter(has_text="401 frames, this page takes 400 at most").last).to_be_visible(timeout=WAIT_MS)
    page.locator("#video button[title=Clear]").click()
    big = make_video("big.mp4")
    big.write_bytes(bytes(1_100_000))
    page.locator("#video input[type=file]").set_input_files(big)
    expect(message.filter(has_text="maximum").last).to_be_visible()
    assert server.process.poll() is None


def test_two_visitors_keep_apart(server: Server, browser: Browser, make_video: MakeVideo) -> None:
    contexts = [browser.new_context() for _ in range(2)]
    pages = [opened(context, server) for context in contexts]
    for page, count in zip(pages, (5, 9)):
        upload(page, make_video(f"clip{count}.mp4", count=count))
    for page in pages:
        page.locator("#run").click()
    for page, count in zip(pages, (5, 9)):
        finish(page, count)
        assert f"clip{count}_vis.mp4" in address_of(page, "depth")
    for name in ("video", "source", "depth"):
        address = address_of(pages[0], name)
        assert contexts[0].request.get(address).status == 200
        assert contexts[1].request.get(address).status == 404
    pages[0].close()
    until(lambda: len(server.jobs()) == 1, "the closed page's files stay")
    assert contexts[1].request.get(address_of(pages[1], "depth")).status == 200
    for context in contexts:
        context.close()


def test_the_camera_gives_depth(server: Server, context: BrowserContext) -> None:
    page = opened(context, server)
    page.get_by_role("tab", name="Live camera").click()
    page.get_by_text("Click to Access Webcam").click()
    page.locator("#camera .button-wrap button", has_text="Record").click()
    expect(page.locator("#live-depth .rate")).to_contain_text("3 frames", timeout=WAIT_MS)
    expect(page.locator("#live-depth .rate")).to_contain_text("frames a second")
    size = page.evaluate("(i => [i.naturalWidth, i.naturalHeight])(document.querySelector('#live-depth img'))")
    assert size == [640, 480]
