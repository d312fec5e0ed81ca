"""The pages of a store in a real browser."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from browsing import MISSING, Browser, browser, served

import torchattr as ta
from torchattr.web import create_maps_app

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(MISSING is not None, reason=str(MISSING)),
]


@pytest.fixture(scope="module")
def page(store: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    folder = tmp_path_factory.mktemp("browser")
    with served(create_maps_app(ta.open_maps(store))) as address, browser(folder) as opened:
        opened.open(address, "#pictures img")
        yield opened


def cards(page: Browser) -> list[str]:
    return [one.text for one in page.all("#pictures .name")]


def until(page: Browser, *ids: str) -> None:
    def shows() -> Any:
        found = cards(page)
        return len(found) == len(ids) and all(
            one.startswith(start) for one, start in zip(found, ids, strict=True)
        )

    page.until(shows, f"never showed {ids}")


def test_pictures_are_shown_with_their_maps_and_labels(page: Browser) -> None:
    assert len(cards(page)) == 6
    assert cards(page)[0] == "cat/0.png · cat"
    assert page.text("#model") == "tiny: 6 of 6 pictures"
    images = page.all("#pictures img")
    page.until(lambda: all(one.get_property("naturalWidth") > 100 for one in images), "no maps")
    assert len(images) == 5
    assert "not a picture" in page.all("#pictures .note")[-1].text
    assert "of 1 (6 pictures)" in page.text("#pages")


def test_some_are_chosen(page: Browser) -> None:
    page.click("#search [data-value=failed]")
    until(page, "dog/5.png")
    page.click("#search [data-value=done]")
    page.choose("#search input", "cat")
    until(page, "cat/0.png", "cat/2.png", "cat/4.png")
    page.choose("#search input", "none of them")
    page.wait("#pictures .empty")
    page.choose("#search input", "")
    page.click("#search [data-value=all]")
    until(page, *(["cat"] * 3), *(["dog"] * 3))


def test_a_panel_is_shown_in_full_size(page: Browser) -> None:
    page.click("#pictures .picture")
    picture = page.wait("#full img")
    page.until(lambda: picture.get_property("naturalWidth") > 900, "no panel")
    page.click("#full header button")


@pytest.mark.parametrize("width", [390, 1440])
def test_nothing_serious_is_in_the_way_of_anybody(page: Browser, width: int) -> None:
    page.resize(width, 900)
    for _ in range(2):
        page.click("#theme")
        assert page.barriers() == []


def test_nothing_is_complained_about(page: Browser) -> None:
    assert page.complaints() == []
