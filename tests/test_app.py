"""app.py as a visitor meets it: a real server, a real Chromium, real small videos."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import cv2
import numpy as np
import pytest
from chromium import (
    CHROMIUM,
    PLAYER,
    WAIT_MS,
    Server,
    browsing,
    choose_example,
    finish,
    go,
    open_advanced,
    serving,
    start,
)
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
    if page.locator("#another").is_visible():
        page.locator("#another").click()
    elif page.locator("#video video").count():
        page.locator("#video button[title=Clear]").click()
    page.locator("#video input[type=file]").set_input_files(video)
    page.wait_for_function("document.querySelector('#video video')?.src.includes('file=')")
    expect(page.locator("#status")).to_contain_text("Press Compute depth")


def until(condition: Callable[[], object], message: str, seconds: float = WAIT_MS / 1000) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, message
        time.sleep(0.1)


def set_number(page: Page, name: str, value: str) -> None:
    """Fill one of the settings."""
    open_advanced(page)
    page.locator(f"#{name} input").fill(value)
    page.locator(f"#{name} input").blur()
    open_advanced(page)


def test_a_video_becomes_depth(
    server: Server, context: BrowserContext, make_video: MakeVideo, tmp_path: Path, golden_model: VideoDepthAnything
) -> None:
    hosts: set[str | None] = set()
    context.on("request", lambda request: hosts.add(urlsplit(request.url).hostname))
    clip = make_video("my clip.mp4", count=40)
    page = opened(context, server)
    upload(page, clip)
    open_advanced(page)
    page.get_by_label("NumPy").check()
    open_advanced(page)
    page.locator("#run").click()
    expect(page.locator("#status progress")).to_be_visible(timeout=WAIT_MS)
    expect(page.locator("#cancel")).to_be_visible()
    finish(page, 40)
    expect(page.locator("#video")).to_be_hidden()
    expect(page.locator("#chosen")).to_have_text("Video: my clip.mp4")
    words = [text.split("\n")[0] for text in page.locator(".downloads a").all_inner_texts()]
    assert words == ["Depth video (MP4)", "Side by side (MP4)", "NumPy (NPZ)"]
    for index, name in ((0, "my clip_vis.mp4"), (2, "my clip_depths.npz")):
        with page.expect_download() as download:
            page.locator(".downloads a").nth(index).click()
        assert download.value.suggested_filename == name
        download.value.save_as(tmp_path / name)
    frames, fps = read_video_frames(clip)
    expected, _ = golden_model.infer_video_depth(frames, fps, input_size=28, fp32=True)
    with np.load(tmp_path / "my clip_depths.npz") as archive:
        assert str(archive["kind"]) == "disparity"
        np.testing.assert_allclose(archive["depths"], expected, atol=5e-5 * float(np.ptp(expected)))
    assert cv2.VideoCapture(str(tmp_path / "my clip_vis.mp4")).read()[1].shape == (48, 64, 3)
    assert hosts <= {"127.0.0.1", None}  # data and blob addresses have no host


def test_the_player_shows_both_on_two_sides_of_its_handle(
    server: Server, context: BrowserContext, make_video: MakeVideo
) -> None:
    page = opened(context, server)
    upload(page, make_video(count=5))
    page.locator("#run").click()
    finish(page, 5)
    page.wait_for_function(f"{PLAYER}.canvas.width === 64")
    page.evaluate(f"{PLAYER}.video.pause()")

    def canvas(edge: float) -> Any:
        page.evaluate(f"{PLAYER}.move({edge})")
        data = page.evaluate(f"[...{PLAYER}.canvas.getContext('2d').getImageData(0, 0, 64, 48).data]")
        return np.array(data).reshape(48, 64, 4)[..., :3].astype(int)

    source, depth, half = canvas(1), canvas(0), canvas(0.5)
    assert np.abs(source - depth).mean() > 20
    np.testing.assert_allclose(half[:, :31], source[:, :31], atol=12)
    np.testing.assert_allclose(half[:, 33:], depth[:, 33:], atol=12)
    # By mouse and by keyboard.
    handle = page.locator(".handle")
    box = page.locator(".stage").bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 20)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.8, box["y"] + 20)
    page.mouse.up()
    assert page.evaluate(f"{PLAYER}.edge") == pytest.approx(0.8, abs=0.01)
    handle.focus()
    page.keyboard.press("ArrowLeft")
    expect(handle).to_have_attribute("aria-valuenow", "78")
    assert box["width"] / box["height"] == pytest.approx(64 / 48, abs=0.01)  # no bars


def test_a_frame_in_relief_is_drawn(server: Server, context: BrowserContext, make_video: MakeVideo) -> None:
    page = opened(context, server)
    upload(page, make_video(count=6))
    open_advanced(page)
    page.locator(".metric input").first.check()
    page.get_by_label("Point clouds").check()
    open_advanced(page)
    page.locator("#run").click()
    finish(page, 6)
    expect(page.locator(".downloads a").last).to_contain_text("Point clouds (PLY, ZIP)")
    with page.expect_response(lambda response: response.url.endswith(".glb"), timeout=WAIT_MS) as relief:
        page.locator("#look-around").click()
    assert relief.value.status == 200
    assert context.request.get(relief.value.url).body().startswith(b"glTF")
    canvas = page.locator("#relief canvas")
    canvas.wait_for()

    def contrast() -> float:
        """Of what is drawn below the label; an empty view has one colour."""
        view = cv2.imdecode(np.frombuffer(canvas.screenshot(), np.uint8), cv2.IMREAD_GRAYSCALE)
        return 0.0 if view is None else float(view[60:].std())

    until(lambda: contrast() > 5, "the 3D view stays empty")


def test_a_reload_loses_nothing(server: Server, context: BrowserContext) -> None:
    page = opened(context, server)
    choose_example(page)
    set_number(page, "max_len", "60")
    start(page)
    page.close()
    page = opened(context, server)
    expect(page.locator("#status")).to_contain_text("frames")  # it goes on
    finish(page, 60)
    page.reload()
    finish(page, 60)
    expect(page.locator("#chosen")).to_have_text("Video: box.mp4")
    set_number(page, "max_len", "8")
    page.locator("#run").click()  # the same video again
    finish(page, 8)
    until(
        lambda: len([path for path in server.jobs() if "box" in str(list(path.iterdir()))]) <= 1, "the old result stays"
    )


def test_cancel_stops_the_work(server: Server, context: BrowserContext, make_video: MakeVideo) -> None:
    page = opened(context, server)
    upload(page, make_video("long.mp4", count=400))
    page.get_by_label("Low", exact=True).check()  # ten times as slow as 28 rows: it must not end by itself
    start(page)
    expect(page.locator("#run")).to_be_hidden()
    other = opened(context, server)  # the same visitor's second tab shows the job too
    expect(other.locator("#cancel")).to_be_visible()
    page.locator("#cancel").click()
    expect(page.locator("#status")).to_contain_text("Cancelled. Nothing was kept.")
    expect(page.locator("#cancel")).to_be_hidden()
    expect(other.locator("#status")).to_contain_text("Cancelled. Nothing was kept.")
    expect(other.locator("#run")).to_be_visible()
    upload(page, make_video("short.mp4", count=8))
    page.get_by_label("28 rows").check()
    page.locator("#run").click()
    finish(page, 8)


def test_mistakes_are_said_in_the_page(server: Server, context: BrowserContext, make_video: MakeVideo) -> None:
    page = opened(context, server)
    status = page.locator("#status")
    expect(page.locator("#cancel")).to_be_hidden()
    page.locator("#run").click()
    expect(status).to_contain_text("Choose a video first")
    bad = make_video("bad.mp4")
    bad.write_bytes(b"no video at all" * 100)
    upload(page, bad)  # what was wrong is mended
    page.locator("#run").click()
    said = "bad.mp4 cannot be read: it is not a video, or it is damaged. Convert it to MP4 (H.264) and try again."
    expect(status).to_contain_text(said)
    expect(page.locator("#cancel")).to_be_hidden()
    playlist = make_video("list.mp4")
    playlist.write_text(f"#EXTM3U\n#EXTINF:9,\n{make_video('secret.mp4').resolve()}\n")
    upload(page, playlist)
    page.locator("#run").click()
    expect(status).to_contain_text("list.mp4 is a list that names other files")
    upload(page, make_video("long.mp4", count=401))
    page.locator("#run").click()
    expect(status).to_contain_text("401 frames or more, and this page takes 400 at most")
    set_number(page, "target_fps", "1e-9")
    page.locator("#run").click()
    expect(status).to_contain_text("A frame rate of 1e-09 cannot be used")
    page.locator("#video button[title=Clear]").click()
    big = make_video("big.mp4")
    big.write_bytes(bytes(1_100_000))
    page.locator("#video input[type=file]").set_input_files(big)
    expect(page.locator(".toast-body").filter(has_text="maximum").last).to_be_visible()
    assert server.process.poll() is None
    assert "Traceback" not in server.log.read_text()


def test_two_visitors_keep_apart(server: Server, browser: Browser, make_video: MakeVideo) -> None:
    contexts = [browser.new_context() for _ in range(2)]
    pages = [opened(context, server) for context in contexts]
    for page, count in zip(pages, (5, 9)):
        upload(page, make_video(f"clip{count}.mp4", count=count))
    for page in pages:
        page.locator("#run").click()
    for page, count in zip(pages, (5, 9)):
        finish(page, count)
        address = page.evaluate(f"{PLAYER}.video.src")
        assert f"clip{count}_compare.mp4" in address
        assert [context.request.get(address).status for context in contexts] == (
            [200, 404] if count == 5 else [404, 200]
        )
    for context in contexts:
        context.close()


def test_the_camera_gives_depth(server: Server, context: BrowserContext) -> None:
    page = opened(context, server)
    page.get_by_role("tab", name="Live camera").click()
    page.get_by_role("button", name="Start camera").click()
    status = page.locator("depth-camera p")
    expect(status).to_contain_text("pictures a second")
    expect(status).to_contain_text("ms old")
    image = page.locator("depth-camera img")
    expect(image).to_be_visible()
    assert image.evaluate("i => [i.naturalWidth, i.naturalHeight]") == [640, 480]
    seen, depth = page.locator("depth-camera video").bounding_box(), image.bounding_box()
    assert seen is not None and depth is not None
    assert (seen["width"], seen["height"], seen["y"]) == pytest.approx((depth["width"], depth["height"], depth["y"]))
    page.get_by_role("button", name="Stop camera").click()
    expect(status).to_have_text("Stopped.")
