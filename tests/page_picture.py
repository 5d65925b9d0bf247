#!/usr/bin/env python3
"""Takes the README's picture of the web page: python tests/page_picture.py --checkpoint FILE assets/web_page.jpg"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from chromium import PLAYER, WAIT_MS, browsing, choose_example, finish, go, open_advanced, serving


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("output", type=Path, help="picture to write, .jpg or .png")
    parser.add_argument("--checkpoint", type=Path, help="weights; left out: those that app.py finds by itself")
    parser.add_argument("--input_size", default="280", help="shorter side of the network's input")
    parser.add_argument("--max_len", default="90", help="frames of the example that are processed")
    parser.add_argument("--width", type=int, default=1280, help="of the window")
    parser.add_argument("--height", type=int, default=800, help="of the window")
    parser.add_argument("--dark", action="store_true", help="in dark colours")
    parser.add_argument("--running", type=Path, help="also a picture while the job runs")
    args = parser.parse_args()
    flags = ["--checkpoint", str(args.checkpoint.resolve())] if args.checkpoint is not None else []
    with (
        tempfile.TemporaryDirectory() as folder,
        serving(Path(folder), *flags, "--input_size", args.input_size) as server,
        browsing() as browser,
    ):
        size = {"width": args.width, "height": args.height}
        page = browser.new_page(viewport=size, color_scheme="dark" if args.dark else "light")  # type: ignore[arg-type]
        page.set_default_timeout(10 * WAIT_MS)
        go(page, server.address)
        choose_example(page)
        open_advanced(page)
        page.locator("#max_len input").fill(args.max_len)
        page.locator("#max_len input").blur()
        open_advanced(page)
        page.locator("#run").click()
        if args.running is not None:
            page.get_by_text(" left").first.wait_for()
            page.evaluate("window.scrollTo(0, 0)")
            page.screenshot(path=args.running)
        page.get_by_text("Done: ").wait_for()
        finish(page, int(args.max_len))
        page.evaluate(f"{PLAYER}.video.pause()")
        page.evaluate(f"{PLAYER}.video.currentTime = {PLAYER}.video.duration / 2")
        page.evaluate("window.scrollTo(0, 0)")
        page.mouse.move(0, 0)
        page.wait_for_timeout(3000)
        page.screenshot(path=args.output, quality=88 if args.output.suffix == ".jpg" else None)


if __name__ == "__main__":
    main()
