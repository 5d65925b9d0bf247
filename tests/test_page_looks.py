"""How the page looks and reads: contrast, order on a phone, names for screen readers, keyboard, the ready example."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from chromium import CHROMIUM, PLAYER, WAIT_MS, Server, browsing, choose_example, go, open_advanced, serving, start
from playwright.sync_api import Browser, Page, TimeoutError, expect

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium here; on Debian: apt-get install chromium"),
]

# WCAG 2.2, level AA, for text of ordinary size and for large or bold text.
CONTRAST, CONTRAST_OF_LARGE = 4.5, 3.0
# Each visible text with its colour, its size and the colours behind it, from the innermost to the page's.
TEXTS = """
() => {
  const found = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const text = walker.currentNode.textContent.trim();
    const element = walker.currentNode.parentElement;
    if (!text || ['SCRIPT', 'STYLE', 'NOSCRIPT'].includes(element.tagName)) continue;
    const box = element.getBoundingClientRect();
    const style = getComputedStyle(element);
    if (!element.checkVisibility({opacityProperty: true, visibilityProperty: true}) || !box.width || !box.height)
      continue;
    const behind = [];
    let opacity = 1;
    for (let other = element; other; other = other.parentElement) {
      behind.push(getComputedStyle(other).backgroundColor);
      opacity *= parseFloat(getComputedStyle(other).opacity);
    }
    found.push({text, color: style.color, size: parseFloat(style.fontSize), weight: parseInt(style.fontWeight),
                behind, opacity, disabled: !!element.closest(':disabled, .disabled, [aria-disabled=true]')});
  }
  return found;
}
"""
# Interactive elements that say nothing to who cannot see them.
NAMELESS = """
() => [...document.querySelectorAll('button, input, select, textarea, video, canvas, [role=button]')]
  .filter((e) => e.checkVisibility() && e.type !== 'hidden')
  .filter((e) => !(e.getAttribute('aria-label') || e.getAttribute('aria-labelledby') || e.title ||
                   e.textContent.trim() || [...(e.labels || [])].some((l) => l.textContent.trim()) ||
                   e.querySelector('img[alt]')))
  .map((e) => e.outerHTML.slice(0, 160))
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """app.py as it is without a checkpoint: with the demo model."""
    with serving(tmp_path_factory.mktemp("page"), "--device", "cpu", "--input_size", "28") as started:
        yield started


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with browsing() as started:
        yield started


def opened(browser: Browser, server: Server, width: int, height: int, scheme: str) -> Page:
    size: Any = {"viewport": {"width": width, "height": height}, "color_scheme": scheme}
    context = browser.new_context(**size, reduced_motion="reduce")
    page = context.new_page()
    page.set_default_timeout(WAIT_MS)
    go(page, server.address)
    return page


def parsed(color: str) -> tuple[float, ...]:
    """Red, green, blue and opacity of a computed colour."""
    if color.startswith("color(srgb"):
        numbers = [float(part) for part in color[len("color(srgb ") : -1].replace("/", " ").split()]
        return (*(255 * number for number in numbers[:3]), *(numbers[3:] or [1.0]))
    numbers = [float(part) for part in color[color.index("(") + 1 : -1].replace(",", " ").replace("/", " ").split()]
    return (*numbers[:3], *(numbers[3:] or [1.0]))


def over(front: tuple[float, ...], back: tuple[float, ...]) -> tuple[float, ...]:
    """A colour that lies on an opaque one."""
    return (*(front[3] * f + (1 - front[3]) * b for f, b in zip(front[:3], back[:3])), 1.0)


def luminance(color: tuple[float, ...]) -> float:
    """Relative luminance as WCAG defines it."""
    linear = [c / 255 / 12.92 if c / 255 <= 0.04045 else ((c / 255 + 0.055) / 1.055) ** 2.4 for c in color[:3]]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: tuple[float, ...], other: tuple[float, ...]) -> float:
    """Contrast ratio of two opaque colours, 1 to 21."""
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def contrasts(page: Page) -> list[tuple[float, float, str]]:
    """Contrast, the least that it should have, and the text, for each text on the page."""
    measured = []
    for found in page.evaluate(TEXTS):
        back: tuple[float, ...] = (255.0, 255.0, 255.0, 1.0)
        for color in reversed(found["behind"]):
            back = over(parsed(color), back)
        front = parsed(found["color"])
        front = over((*front[:3], front[3] * found["opacity"]), back)
        large = found["size"] >= 24 or (found["size"] >= 18.66 and found["weight"] >= 700)
        if not found["disabled"]:
            measured.append((contrast(front, back), CONTRAST_OF_LARGE if large else CONTRAST, found["text"][:60]))
    return sorted(measured)


def test_the_measure_is_that_of_the_standard() -> None:
    black, white = (0.0, 0.0, 0.0, 1.0), (255.0, 255.0, 255.0, 1.0)
    assert contrast(black, white) == pytest.approx(21)
    assert contrast(parsed("rgb(118, 118, 118)"), white) == pytest.approx(4.54, abs=0.01)
    assert contrast(parsed("rgb(119, 119, 119)"), white) < 4.5
    assert over((0, 0, 0, 0.5), white) == (127.5, 127.5, 127.5, 1.0)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_all_text_can_be_read(server: Server, browser: Browser, scheme: str) -> None:
    page = opened(browser, server, 1280, 800, scheme)
    open_advanced(page)
    expect(page.locator("#max_res")).to_be_visible()
    page.locator("#limits summary").click()
    expect(page.locator("#limits")).to_contain_text("One video is computed at a time")
    page.locator("#run").click()
    expect(page.locator("#status .error")).to_be_visible()
    measured = contrasts(page)
    texts = " ".join(text for _, _, text in measured)
    assert "Rows of pixels that enter it" in texts
    assert "Demo model" in texts
    print(scheme, [f"{ratio:.2f} {text}" for ratio, _, text in measured[:6]], file=sys.stderr)
    assert [found for found in measured if found[0] < found[1]] == []
    choose_example(page)
    page.get_by_label("Low", exact=True).check()
    start(page)
    page.locator("#cancel").wait_for()
    running = contrasts(page)
    assert "Cancel" in [text for _, _, text in running]
    assert [found for found in running if found[0] < found[1]] == []
    page.locator("#cancel").click()
    page.get_by_role("tab", name="Live camera").click()
    page.get_by_role("button", name="Start camera").wait_for()
    assert [found for found in contrasts(page) if found[0] < found[1]] == []
    page.context.close()


def test_a_phone_shows_the_button_right_under_the_video(server: Server, browser: Browser) -> None:
    page = opened(browser, server, 390, 844, "light")
    video, run = page.locator("#video").bounding_box(), page.locator("#run").bounding_box()
    assert video is not None and run is not None
    assert 0 <= run["y"] - (video["y"] + video["height"]) < 40
    assert run["y"] + run["height"] < 844  # no scrolling
    assert run["height"] >= 44  # a finger
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    expect(page.locator("#max_res")).to_be_hidden()
    page.context.close()


def test_an_example_is_there_and_the_model_is_named(server: Server, browser: Browser) -> None:
    page = opened(browser, server, 1280, 800, "light")
    page.wait_for_function(f"{PLAYER}.video.readyState >= 2 && !{PLAYER}.video.error")
    assert page.evaluate(f"{PLAYER}.video.src").endswith("box_compare.mp4")
    assert page.evaluate(f"{PLAYER}.video.videoWidth / {PLAYER}.canvas.width") == 2
    box = page.locator("depth-player").bounding_box()
    assert box is not None and box["y"] + box["height"] < 800
    banner = page.locator("#demo-model")
    expect(banner).to_contain_text("Demo model")
    assert "vda " not in banner.inner_text()
    open_advanced(page)
    expect(page.locator("#model")).to_contain_text("starter_vits.pth")
    expect(page.locator("#cancel")).to_be_hidden()
    page.context.close()


def test_it_works_by_ear_and_keyboard(server: Server, browser: Browser) -> None:
    page = opened(browser, server, 1280, 800, "light")
    open_advanced(page)
    expect(page.locator("#max_res")).to_be_visible()
    with suppress(TimeoutError):  # names are given a moment after elements come
        page.wait_for_function(f"({NAMELESS})().length === 0", timeout=WAIT_MS / 6)
    assert page.evaluate(NAMELESS) == []
    assert page.evaluate("document.documentElement.lang") == "en"
    assert page.locator("#status").get_attribute("aria-live") == "polite"
    for name in ("Quality", "Frame size", "Frame rate", "Length", "Colours"):
        assert page.get_by_label(name).first.is_visible(), name
    page.locator("#run").focus()
    page.keyboard.press("Enter")
    expect(page.locator("#status")).to_contain_text("Choose a video first")
    page.context.close()


def test_the_example_of_the_package_is_small() -> None:
    depth = Path(__file__).resolve().parents[1] / "assets" / "example_videos" / "box_compare.mp4"
    assert 10_000 < depth.stat().st_size < 1_000_000
