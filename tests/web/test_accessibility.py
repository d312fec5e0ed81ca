"""axe-core finds nothing serious in any view of the page, light and dark, wide and narrow."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from browsing import MISSING, Browser, served

from torchattr.models import LoadedModel
from torchattr.web import create_app

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(MISSING is not None, reason=str(MISSING)),
]


def explain(page: Browser) -> None:
    page.method("lrp")
    page.settle()
    page.click("#explain .options summary")


def waiting(page: Browser) -> None:
    page.method("rise")
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
    page.method("saliency")
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
    started: Browser, address: str, view: Any, theme: str, width: int
) -> None:
    started.resize(width, 900)
    started.forget()
    started.open(address)
    if started.run("return document.documentElement.dataset.theme") != theme:
        started.click("#theme")
    view(started)
    assert started.barriers() == []
    for button in started.all("#explain .waiting .cancel"):
        button.click()


def test_what_is_wrong_is_found(started: Browser, address: str) -> None:
    started.forget()
    started.open(address)
    started.run(
        "document.querySelector('#main').insertAdjacentHTML('beforeend', arguments[0])",
        "<button id='nameless'></button><p id='pale'>pale</p>",
    )
    started.run("document.querySelector('#pale').style.color = 'var(--line)'")
    assert {found for _, found, _ in started.barriers()} == {"button-name", "color-contrast"}


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_page_without_access_is_read_as_well(
    started: Browser, demo: LoadedModel, theme: str
) -> None:
    emulated = {"features": [{"name": "prefers-color-scheme", "value": theme}]}
    started.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", emulated)
    with served(create_app(demo, token="a token that nobody guesses", hosts=None)) as address:
        started.driver.get(f"{address}?token=wrong")
        assert "Open the URL printed when the viewer started" in started.text("main")
        assert started.barriers() == []
    started.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
