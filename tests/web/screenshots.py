"""Take the pictures of `docs/viewer.md`: `python tests/web/screenshots.py` in the checkout."""

from __future__ import annotations

import io
import tempfile
from pathlib import Path

from browsing import MISSING, Browser, browser, served
from PIL import Image

from torchattr.web import create_app

IMAGES = Path(__file__).parents[2] / "docs" / "images"
MOST_BYTES = 300_000
SIZE = (1240, 1000)


def main() -> None:
    if MISSING:
        raise SystemExit(MISSING)
    with served(create_app()) as address, tempfile.TemporaryDirectory() as folder:
        with browser(Path(folder) / "wide", SIZE) as page:
            page.open(address)
            explain(page)
            keep(page, "explain")
            layers(page)
            keep(page, "layers")
            page.click("#theme")
            panels(page)
            keep(page, "panels")
        with browser(Path(folder) / "narrow", (500, 1000)) as page:
            page.open(address)
            page.click("[data-method=deconvolution]")
            page.settle()
            page.run("document.querySelector('#explain .stylebar').scrollIntoView()")
            page.run("scrollBy(0, -70)")
            keep(page, "narrow")


def explain(page: Browser) -> None:
    """Five methods for the cat, in the order in which the page shows the newest first."""
    page.click(".class[data-index='1']")
    page.settle()
    page.click("#explain .row .quiet")
    for method in ("integrated_gradients", "saliency", "guided_backprop", "grad_cam"):
        page.click(f"[data-method={method}]")
        page.settle()
    to_the_top(page)


def layers(page: Browser) -> None:
    page.click("#tab-layers")
    page.settle()
    page.click("[data-layer='stage1']")
    page.until(lambda: "32 maps" in page.text(".pager"), "no maps")
    page.choose("#layers select[name=order]", "largest")
    page.settle()
    page.click(".mapthumb:nth-child(3)")
    page.wait(".pair figure")
    page.settle()
    page.click(".detail .segments [data-value=guided]")
    page.settle()
    to_the_top(page)


def panels(page: Browser) -> None:
    page.click("#tab-panels")
    page.click("[data-panel=gradient]")
    page.settle()
    page.until(lambda: len(page.all("#panels .map .picture canvas[height]")) == 4, "no maps")
    to_the_top(page)


def to_the_top(page: Browser) -> None:
    page.run("scrollTo(0, 0); document.querySelector('.side').scrollTop = 0")
    page.run("document.activeElement.blur()")


def keep(page: Browser, name: str) -> None:
    """Write what is seen, in as many colours as fit into the size of a file."""
    seen = Image.open(io.BytesIO(page.driver.get_screenshot_as_png())).convert("RGB")
    for colors in (256, 192, 128, 64):
        file = io.BytesIO()
        seen.quantize(colors, dither=Image.Dither.FLOYDSTEINBERG).save(file, "PNG", optimize=True)
        if file.tell() <= MOST_BYTES:
            break
    (IMAGES / f"viewer-{name}.png").write_bytes(file.getvalue())
    print(f"viewer-{name}.png: {file.tell():,} bytes, {seen.size}, {colors} colours")  # noqa: T201 - a script


if __name__ == "__main__":
    main()
