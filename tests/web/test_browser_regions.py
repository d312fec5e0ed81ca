"""Pointing at regions of a picture in a real browser: clicks, drawn boxes and detections."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from browsing import MISSING, Browser, served
from region_models import loaded, picture
from selenium.webdriver.common.action_chains import ActionChains

from torchattr.web import create_app

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(MISSING is not None, reason=str(MISSING)),
]

CARD = "#explain figure.map"
CURRENT = "#pictures .current"


def opened(started: Browser, name: str, folder: Path) -> Iterator[Browser]:
    picture().resize((256, 128)).save(folder / "both.png")
    with served(create_app(loaded(name), images=[folder / "both.png"])) as address:
        started.forget()
        started.open(address)
        started.wait(".regions .hint")
        yield started
        assert not started.complaints()


@pytest.fixture
def detector(started: Browser, tmp_path: Path) -> Iterator[Browser]:
    yield from opened(started, "detector", tmp_path)


@pytest.fixture
def segmenter(started: Browser, tmp_path: Path) -> Iterator[Browser]:
    yield from opened(started, "segmenter", tmp_path)


def point(page: Browser, x: float, y: float) -> tuple[int, int]:
    """Return the place of a point of the picture (as shares) from the middle of its button."""
    size = page.run(
        "const i = document.querySelector('#pictures .current img');"
        "const s = Math.min(i.clientWidth / 256, i.clientHeight / 128); return [256 * s, 128 * s]"
    )
    return round((x - 0.5) * size[0]), round((y - 0.5) * size[1])


def click(page: Browser, x: float, y: float) -> None:
    place = point(page, x, y)
    ActionChains(page.driver).move_to_element_with_offset(
        page.find(CURRENT), *place
    ).click().perform()


def draw(page: Browser, first: tuple[float, float], second: tuple[float, float]) -> None:
    start, stop = point(page, *first), point(page, *second)
    moved = ActionChains(page.driver).move_to_element_with_offset(page.find(CURRENT), *start)
    by = (stop[0] - start[0], stop[1] - start[1])
    moved.click_and_hold().move_by_offset(*by).release().perform()


def said(page: Browser, text: str) -> None:
    page.until(lambda: text in page.text(f"{CARD} .titles"), f"never explained: {text}")


def test_a_click_explains_the_segment_there(segmenter: Browser) -> None:
    click(segmenter, 0.75, 0.5)
    said(segmenter, "segment: green")
    click(segmenter, 0.25, 0.5)
    said(segmenter, "segment: red")
    assert len(segmenter.all(f"{CURRENT} .region.chosen.point")) == 1


def test_a_drawn_box_masks_the_chosen_class(segmenter: Browser) -> None:
    segmenter.click(".class[data-index='1']")
    said(segmenter, "red")
    draw(segmenter, (0.05, 0.1), (0.45, 0.9))
    said(segmenter, "mask: red")
    pixels = segmenter.pixels(f"{CARD} canvas").astype(int)
    assert pixels.any()


def test_detections_are_framed_and_explained(detector: Browser) -> None:
    assert len(detector.all(f"{CURRENT} .region.found")) == 2
    assert [one.text for one in detector.all(".detections .chip")] == ["red 56.3 %", "green 56.3 %"]
    click(detector, 0.25, 0.5)
    said(detector, "box: red")
    draw(detector, (0.52, 0.05), (0.97, 0.95))
    said(detector, "box: green")
    detector.click(".detections .chip:first-child")
    said(detector, "box: red")
    assert detector.find(".detections .chip").get_attribute("aria-pressed") == "true"


def test_a_place_without_a_box_is_told(detector: Browser) -> None:
    click(detector, 0.5, 0.02)
    detector.until(
        lambda: "no detected box contains this point" in detector.text("#messages"), "no message"
    )
    # The browser logs the refusal, too.
    assert any("422" in one for one in detector.complaints())


def test_the_picture_still_opens_in_full_size(detector: Browser) -> None:
    detector.click(".regions .link")
    assert detector.find("#full").get_attribute("open") is not None
    detector.run("document.querySelector('#full').close()")
