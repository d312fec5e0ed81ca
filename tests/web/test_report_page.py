"""An HTML report in a real browser: it fits, and axe-core finds nothing serious in it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from browsing import MISSING, Browser
from typer.testing import CliRunner

from torchattr.cli import app
from torchattr.models.collage import examples

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(MISSING is not None, reason=str(MISSING)),
]

WIDTHS = (390, 768, 1440)

BEYOND = """
const page = document.documentElement.clientWidth;
const scrolls = (one) => one !== null
  && (["auto", "scroll"].includes(getComputedStyle(one).overflowX) || scrolls(one.parentElement));
const isBeyond = (one) => one.getClientRects().length
  && one.getBoundingClientRect().right > page + 0.5 && !scrolls(one.parentElement);
return [document.documentElement.scrollWidth - page, [...document.querySelectorAll("body *")]
  .filter(isBeyond).map((one) => one.outerHTML.slice(0, 120))];
"""

OUTSIDE_OF_ITS_CARD = """
return [...document.querySelectorAll("article")].flatMap((card) => {
  const edge = card.getBoundingClientRect().right;
  const isOutside = (one) => one.getClientRects().length && !one.closest(".table, pre")
    && one.getBoundingClientRect().right > edge + 0.5;
  return [...card.querySelectorAll("img, p, figcaption, dt, dd, th, td")]
    .filter(isOutside).map((one) => one.outerHTML.slice(0, 120));
});
"""


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of two pictures."""
    file = tmp_path_factory.mktemp("report") / "report.html"
    pictures = [str(one.path) for one in examples()[:2]]
    made = CliRunner().invoke(app, ["report", *pictures, "--html", str(file)])
    assert made.exit_code == 0, made.output
    return file


@pytest.fixture
def opened(started: Browser, report: Path) -> Iterator[Any]:
    """Open the report in a theme and a width."""

    def open_page(theme: str, width: int) -> Browser:
        emulated = [{"name": "prefers-color-scheme", "value": theme}]
        started.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": emulated})
        started.resize(width, 900)
        started.driver.get(report.as_uri())
        for summary in started.all("details:not([open]) summary"):
            started.run("arguments[0].parentElement.open = true", summary)
        return started

    yield open_page
    started.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
    started.resize(1440, 1000)


@pytest.mark.parametrize("width", WIDTHS)
def test_nothing_is_wider_than_the_page(opened: Any, width: int) -> None:
    page = opened("light", width)
    assert len(page.all("section")) >= 2
    assert page.run(BEYOND) == [0, []]
    assert page.run(OUTSIDE_OF_ITS_CARD) == []


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_nothing_serious_is_found(opened: Any, theme: str, width: int) -> None:
    page = opened(theme, width)
    dark = page.run("return getComputedStyle(document.body).backgroundColor") == "rgb(20, 22, 26)"
    assert dark == (theme == "dark")
    assert page.barriers() == []
