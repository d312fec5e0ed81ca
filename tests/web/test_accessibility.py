"""axe-core finds nothing serious in any view of the page, light and dark, wide and narrow."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib.resources import files
from typing import Any

import pytest
from browsing import MISSING, Browser, browser, served

from torchattr.models import LoadedModel
from torchattr.web import Limits, create_app

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(MISSING is not None, reason=str(MISSING)),
]

SERIOUS = ("serious", "critical")

AXE = """
const done = arguments[arguments.length - 1];
axe.run(document, { resultTypes: ["violations"] }).then(({ violations }) => done(violations.map(
  ({ id, impact, nodes }) => [impact, id, nodes.map(({ html }) => html.slice(0, 200))])));
"""


@pytest.fixture(scope="module")
def axe() -> str:
    """The source of axe-core."""
    package = pytest.importorskip("axe_playwright_python", reason="axe-core comes with it")
    return (files(package) / "axe.min.js").read_text("utf-8")


@pytest.fixture(scope="module")
def address(demo: LoadedModel) -> Iterator[str]:
    with served(create_app(demo, limits=Limits(sessions=1000))) as found:
        yield found


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with browser(tmp_path_factory.mktemp("accessible")) as found:
        yield found


def explain(page: Browser) -> None:
    page.click("#explain [data-method=lrp]")
    page.settle()
    page.click("#explain .options summary")


def waiting(page: Browser) -> None:
    page.click("[data-method=rise]")
    page.wait("#explain .waiting progress", 30)


def layers(page: Browser) -> None:
    page.click("#tab-layers")
    page.settle()
    page.click(".mapthumb")
    page.wait(".pair figure")
    page.settle()


def panel(name: str) -> Callable[[Browser], None]:
    def view(page: Browser) -> None:
        page.click("#tab-panels")
        page.click(f"[data-panel={name}]")
        page.settle()

    view.__name__ = name
    return view


def full_size(page: Browser) -> None:
    page.click("#explain figure.map .picture")
    page.wait("dialog[open] img")


def comparison(page: Browser) -> None:
    page.click("[data-method=saliency]")
    page.settle()
    for number in (1, 2):
        page.click(f"#explain figure.map:nth-child({number}) [aria-label^=Compare]")
    page.wait("dialog[open] .stack")


def message(page: Browser) -> None:
    page.run("return import(new URL('page/api.js', location)).then(m => m.notify('It failed.'))")
    page.wait(".message.error")


VIEWS = (
    explain,
    waiting,
    layers,
    *map(panel, ("scores", "gradient", "kernels", "summary")),
    full_size,
    comparison,
    message,
)


@pytest.mark.parametrize("width", [390, 1440])
@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("view", VIEWS, ids=lambda view: view.__name__)
def test_nothing_serious_is_found(
    started: Browser, address: str, axe: str, view: Any, theme: str, width: int
) -> None:
    started.resize(width, 900)
    started.forget()
    started.open(address)
    if started.run("return document.documentElement.dataset.theme") != theme:
        started.click("#theme")
    view(started)
    assert _serious(started, axe) == []
    for button in started.all("#explain .waiting .cancel"):
        button.click()


def test_what_is_wrong_is_found(started: Browser, address: str, axe: str) -> None:
    started.forget()
    started.open(address)
    started.run(
        "document.querySelector('#main').insertAdjacentHTML('beforeend', arguments[0])",
        "<button id='nameless'></button><p id='pale'>pale</p>",
    )
    started.run("document.querySelector('#pale').style.color = '#ccc'")
    assert {found for _, found, _ in _serious(started, axe)} == {"button-name", "color-contrast"}


def _serious(page: Browser, axe: str) -> list[Any]:
    page.driver.execute_cdp_cmd("Runtime.evaluate", {"expression": axe})
    found = page.driver.execute_async_script(AXE)
    return [one for one in found if one[0] in SERIOUS]
