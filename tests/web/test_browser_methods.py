"""The choice of a method in a real browser: a few at once, all of them by family."""

from __future__ import annotations

import pytest
from browsing import MISSING, Browser
from selenium.webdriver.common.keys import Keys

from torchattr.web.views.families import COMMON, FAMILIES

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(MISSING is not None, reason=str(MISSING)),
]

CARD = "#explain figure.map"
ROW = "#explain .shown .chips"


def names(page: Browser, selector: str) -> list[str]:
    """The methods below an element that are visible."""
    chips = page.all(f"{selector} [data-method]")
    return [str(one.get_attribute("data-method")) for one in chips if one.is_displayed()]


def pressed(page: Browser) -> set[str]:
    return set(names(page, "#explain")) & {
        str(one.get_attribute("data-method"))
        for one in page.all("#explain [data-method][aria-pressed=true]")
    }


def test_the_common_ones_are_shown_and_all_of_them_by_family(page: Browser) -> None:
    assert names(page, "#explain") == list(COMMON)
    more = page.find("#explain .more-methods")
    assert more.text == f"All {sum(map(len, FAMILIES.values()))} methods"
    assert more.get_attribute("aria-expanded") == "false"
    more.click()
    assert more.get_attribute("aria-expanded") == "true"
    families = [one.get_attribute("aria-label") for one in page.all("#all-methods .family")]
    assert families == list(FAMILIES)
    for family, expected in FAMILIES.items():
        assert names(page, f"[aria-label='{family}']") == list(expected)
    assert page.barriers() == []


def test_the_result_is_seen_without_scrolling(page: Browser) -> None:
    page.run("scrollTo(0, 0)")
    canvas = page.run(f"return document.querySelector('{CARD} canvas').getBoundingClientRect()")
    assert canvas["bottom"] < 900


def test_a_method_is_found_and_chosen_by_keyboard(page: Browser) -> None:
    page.find("#explain .more-methods").send_keys(Keys.ENTER)
    search = page.driver.switch_to.active_element
    assert search.get_attribute("aria-label") == "Find a method"
    search.send_keys("hires cam")
    assert names(page, "#all-methods") == ["hires_cam"]
    search.send_keys(Keys.ENTER)
    page.until(lambda: page.text(f"{CARD} strong") == "HiResCAM", "it was not explained")
    page.settle()
    assert not page.find("#all-methods").is_displayed()
    assert page.driver.switch_to.active_element.get_attribute("data-method") == "hires_cam"
    assert names(page, ROW)[-1] == "hires_cam"
    assert pressed(page) == {"hires_cam"}


def test_the_arrows_lead_through_the_list_and_escape_out_of_it(page: Browser) -> None:
    page.click("#explain .more-methods")
    search = page.driver.switch_to.active_element
    search.send_keys("attention", Keys.ARROW_DOWN)
    first = page.driver.switch_to.active_element
    assert first.get_attribute("data-method") == FAMILIES["Attention"][0]
    first.send_keys(Keys.ARROW_RIGHT)
    second = page.driver.switch_to.active_element
    assert second.get_attribute("data-method") == FAMILIES["Attention"][1]
    second.send_keys(Keys.ESCAPE)
    assert not page.find("#all-methods").is_displayed()
    assert "more-methods" in page.driver.switch_to.active_element.get_attribute("class")


def test_a_name_that_no_method_has_is_said(page: Browser) -> None:
    page.click("#explain .more-methods")
    page.driver.switch_to.active_element.send_keys("nothing of the kind")
    assert names(page, "#all-methods") == []
    assert page.text("#all-methods .empty") == "No method matches “nothing of the kind”."


def test_the_address_shows_a_method_that_is_not_among_the_common_ones(page: Browser) -> None:
    for method in ("smooth_grad", "hires_cam"):
        page.method(method)
        page.settle()
    page.until(lambda: "method=hires_cam" in page.driver.current_url, "it is not in the address")
    page.until(lambda: "smooth_grad" in page.driver.current_url, "its map is not in the address")
    url = page.driver.current_url
    page.driver.get("about:blank")
    page.open(url)
    page.until(lambda: len(page.all(CARD)) == 3, "not all maps came back")
    page.settle()
    assert not page.find("#all-methods").is_displayed()
    assert set(names(page, ROW)) == {*COMMON, "smooth_grad", "hires_cam"}
    assert pressed(page) == {"hires_cam"}
