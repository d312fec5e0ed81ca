"""Take the pictures of the viewer and of a report in `docs`.

`python tests/web/screenshots.py` in the checkout renews all of them. The viewer shows
EfficientNet-Lite0 and the bundled photographs, as `torchattr view --model lite0` does; where a
score went is shown for the bundled model, whose biases take less of it.
"""

from __future__ import annotations

import io
import tempfile
from pathlib import Path

from browsing import MISSING, Browser, browser, served
from PIL import Image
from typer.testing import CliRunner

from torchattr.cli import app
from torchattr.models import load_model
from torchattr.models.collage import examples
from torchattr.web import create_app

IMAGES = Path(__file__).parents[2] / "docs" / "images"
MOST_BYTES = 450_000
PHOTOGRAPHER, TRIPOD = 4, 872
CAT = 1
PATIENCE = 120
LAYER = "blocks.2"
SIZE = (1240, 1260)
PHONE = (390, 844)
REPORT_SIZE = (1225, 2331)
REPORT_WIDTH = 980
MARGIN = 16


def main() -> None:
    if MISSING:
        raise SystemExit(MISSING)
    with tempfile.TemporaryDirectory() as folder:
        with served(create_app(load_model("lite0"))) as address:
            with browser(Path(folder) / "wide", SIZE) as page:
                wide(page, address)
            with browser(Path(folder) / "narrow", (500, 1000)) as page:
                narrow(page, address)
        with served(create_app()) as address, browser(Path(folder) / "demo", SIZE) as page:
            page.open(address)
            ledger(page)
            keep(page, "ledger")
        with browser(Path(folder) / "report", REPORT_SIZE) as page:
            report(page, Path(folder))


def wide(page: Browser, address: str) -> None:
    page.open(address)
    explain(page)
    as_jpeg(page, "explain")
    compare(page)
    as_jpeg(page, "compare")
    page.click("dialog header button")
    layers(page)
    keep(page, "layers")
    page.click("#theme")
    panels(page)
    keep(page, "panels")


def narrow(page: Browser, address: str) -> None:
    page.resize(*PHONE)
    page.open(address)
    photographer(page)
    page.click("#explain .row .quiet")
    for method in ("grad_cam", "guided_backprop"):
        page.method(method)
        page.settle(PATIENCE)
    to_the_top(page)
    keep(page, "narrow")


def photographer(page: Browser) -> None:
    page.click(f".thumb:nth-child({PHOTOGRAPHER})")
    page.wait(f".class[data-index='{TRIPOD}']")
    page.settle(PATIENCE)


def explain(page: Browser) -> None:
    """Three methods for the tripod; the page shows the newest first."""
    photographer(page)
    page.click("#explain .row .quiet")
    for method in ("integrated_gradients", "guided_backprop", "grad_cam"):
        page.method(method)
        page.settle(PATIENCE)
    to_the_top(page)


def compare(page: Browser) -> None:
    """Grad-CAM beside guided backprop, with the slider across the photographer."""
    for number in (1, 2):
        page.click(f"#explain figure.map:nth-child({number}) [aria-label^=Compare]")
    page.wait("dialog[open] .stack")
    page.choose("dialog input", "62")
    page.run("document.activeElement.blur()")


def ledger(page: Browser) -> None:
    """One relevance map, with where its score went."""
    page.click(f".class[data-index='{CAT}']")
    page.settle(PATIENCE)
    page.click("#explain .row .quiet")
    page.method("lrp")
    page.settle(PATIENCE)
    page.wait("#explain .ledger")
    to_the_top(page)


def layers(page: Browser) -> None:
    page.click("#tab-layers")
    page.settle(PATIENCE)
    page.click(f"[data-layer='{LAYER}']")
    page.until(lambda: "24 maps" in page.text(".pager"), "no maps")
    page.choose("#layers select[name=order]", "largest")
    page.settle(PATIENCE)
    page.click(".mapthumb:nth-child(3)")
    page.wait(".pair figure")
    page.settle(PATIENCE)
    page.click(".detail .segments [data-value=guided]")
    page.settle(PATIENCE)
    to_the_top(page)


def panels(page: Browser) -> None:
    page.click("#tab-panels")
    page.click("[data-panel=gradient]")
    page.settle(PATIENCE)
    page.until(lambda: len(page.all("#panels .map .picture canvas[height]")) == 4, "no maps")
    to_the_top(page)


def report(page: Browser, folder: Path) -> None:
    """The beginning of a report of one image, in the dark scheme."""
    file, title = folder / "report.html", "Evidence of the bundled model"
    picture = str(examples()[0].path)
    made = CliRunner().invoke(app, ["report", picture, "--title", title, "--html", str(file)])
    if made.exit_code:
        raise SystemExit(made.output)
    dark = [{"name": "prefers-color-scheme", "value": "dark"}]
    page.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": dark})
    page.driver.get(file.as_uri())
    # No part is cut: what follows the second begins below.
    ends = page.run("return document.querySelectorAll('article')[1].getBoundingClientRect().bottom")
    seen = screenshot(page)
    seen = seen.crop((0, 0, seen.width, round(ends) + MARGIN))
    height = seen.height * REPORT_WIDTH // seen.width
    small = seen.resize((REPORT_WIDTH, height), Image.Resampling.LANCZOS)
    small.save(IMAGES / "report.jpg", quality=85, optimize=True)


def screenshot(page: Browser) -> Image.Image:
    return Image.open(io.BytesIO(page.driver.get_screenshot_as_png())).convert("RGB")


def to_the_top(page: Browser) -> None:
    page.run("scrollTo(0, 0); document.querySelector('.side').scrollTop = 0")
    page.run("document.activeElement.blur()")


def as_jpeg(page: Browser, name: str) -> None:
    """Write the visible page where a photograph fills it."""
    screenshot(page).save(IMAGES / f"viewer-{name}.jpg", quality=90, optimize=True)


def keep(page: Browser, name: str) -> None:
    """Write the visible page, with as many colours as the size of the file allows."""
    seen = screenshot(page)
    for colors in (None, 256, 192, 128, 64):
        file = io.BytesIO()
        shown = (
            seen if colors is None else seen.quantize(colors, dither=Image.Dither.FLOYDSTEINBERG)
        )
        shown.save(file, "PNG", optimize=True)
        if file.tell() <= MOST_BYTES:
            break
    (IMAGES / f"viewer-{name}.png").write_bytes(file.getvalue())
    print(f"viewer-{name}.png: {file.tell():,} bytes, {seen.size}, {colors} colours")  # noqa: T201 - a script


if __name__ == "__main__":
    main()
