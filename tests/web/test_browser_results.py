"""Results in a real browser: their progress, comparison and address, and several pictures."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import numpy as np
import pytest
import torch
from asking import photo
from browsing import MISSING, Browser, served
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.keys import Keys

from torchattr.models import LoadedModel
from torchattr.web import create_app

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(MISSING is not None, reason=str(MISSING)),
]

CARD = "#explain figure.map"
CANVAS = f"{CARD} canvas"


def explain(page: Browser, method: str) -> None:
    page.method(method)
    page.settle()


def said(page: Browser) -> dict[str, str]:
    """What the address says."""
    fragment = urlsplit(page.driver.current_url).fragment
    return {name: values[0] for name, values in parse_qs(fragment).items()}


def reopen(page: Browser) -> None:
    """Open the address that the page has now in a new page."""
    url = page.driver.current_url
    page.driver.get("about:blank")
    page.driver.get(url)
    page.wait("[role=tabpanel]:not([hidden]) :is(.result, .mapthumb)", 30)
    page.settle()


def test_cards_say_of_which_picture_and_class_they_are(page: Browser) -> None:
    assert page.text(f"{CARD} .more") == "astronaut · astronaut_cat.jpg"
    assert "`" not in page.find("[data-method=grad_cam]").get_attribute("title")
    page.click("#explain .options summary")
    field = page.find("#explain select[name=layer]")
    label = page.run("return arguments[0].labels[0].querySelector('span')", field)
    above, below = (
        page.run("return arguments[0].getBoundingClientRect()", one) for one in (label, field)
    )
    assert above["bottom"] <= below["top"] + 1
    assert abs(above["left"] - below["left"]) < 2


def test_a_long_method_says_how_far_it_is(page: Browser) -> None:
    page.method("rise")
    bar = page.wait("#explain .waiting progress", 30)
    page.until(lambda: float(bar.get_attribute("value")) > 0, "it does not move")
    page.until(lambda: "left" in page.text("#explain .waiting .more"), "no time is told")
    assert " %, about " in page.text("#explain .waiting .more")
    page.click("#explain .waiting .cancel")
    page.until(lambda: not page.all("#explain .waiting"), "it goes on")


def test_two_maps_are_compared_with_a_slider(page: Browser) -> None:
    explain(page, "saliency")
    pixels = [page.pixels(f"{CARD}:nth-child({number}) canvas") for number in (1, 2)]
    page.click(f"{CARD}:nth-child(1) [aria-label^=Compare]")
    assert page.find(f"{CARD}.chosen").get_attribute("data-id")
    page.click(f"{CARD}:nth-child(2) [aria-label^=Compare]")
    page.wait("dialog[open] .stack")
    assert page.text("dialog header strong") == "Saliency and Grad-CAM"
    np.testing.assert_array_equal(page.pixels("dialog .left"), pixels[0])
    np.testing.assert_array_equal(page.pixels("dialog .right"), pixels[1])
    slider = page.find("dialog input[type=range]")
    slider.send_keys(Keys.HOME)
    assert page.run("return getComputedStyle(document.querySelector('.left')).clipPath").startswith(
        "inset(0px 100%"
    )
    slider.send_keys(Keys.END)
    shown = page.run("return getComputedStyle(document.querySelector('.left')).clipPath")
    assert shown in ("inset(0px)", "inset(0px 0% 0px 0px)")
    ActionChains(page.driver).send_keys(Keys.ESCAPE).perform()
    page.until(lambda: not page.all("dialog[open]"), "it does not close")
    assert page.all(".result.chosen") == []


def test_maps_of_two_pictures_are_not_laid_over_each_other(page: Browser) -> None:
    page.click(".thumb:nth-child(2)")
    page.until(lambda: len(page.all(CARD)) == 2, "no second map")
    page.settle()
    for number in (1, 2):
        page.click(f"{CARD}:nth-child({number}) [aria-label^=Compare]")
    assert "same picture" in page.wait(".message").text
    assert page.all("dialog[open]") == []


def test_the_address_restores_maps_and_their_style(page: Browser) -> None:
    page.click(".thumb:nth-child(2)")
    page.settle()
    page.click(".class:nth-child(3)")
    page.settle()
    page.click("#explain .reset")
    page.click("#explain .row .quiet")
    explain(page, "guided_backprop")
    page.click("#explain .options summary")
    explain(page, "integrated_gradients")
    page.choose("#explain input[name=n_steps]", "7")
    page.click("#explain .primary")
    page.settle()
    page.click("#explain .segments [data-value=absolute]")
    page.choose("#explain input[name=alpha]", "0.3")
    page.choose("#explain select[name=kind]", "overlay")
    page.until(lambda: said(page).get("style", "").count(":") == 3, "the style is not said")
    asked = json.loads(said(page)["maps"])
    assert [one["method"] for one in asked] == ["guided_backprop", *["integrated_gradients"] * 2]
    assert asked[-1]["options"] == {"n_steps": 7}
    drawn = [page.pixels(f"{CARD}:nth-child({number}) canvas") for number in (1, 2, 3)]
    before, title = said(page), page.text(".primary")
    reopen(page)
    page.until(lambda: len(page.all(CARD)) == 3, "not all maps came back")
    page.settle()
    for number, expected in enumerate(drawn, start=1):
        np.testing.assert_array_equal(page.pixels(f"{CARD}:nth-child({number}) canvas"), expected)
    assert page.text(".primary") == title
    assert page.find("#explain input[name=n_steps]").get_attribute("value") == "7"
    page.until(lambda: said(page) == before, "the address is another one")


def test_the_address_restores_a_map_of_a_layer(page: Browser) -> None:
    page.click("#tab-layers")
    page.settle()
    page.choose("#layers select[name=order]", "largest")
    page.click("[data-layer='stage2']")
    page.until(lambda: "64 maps" in page.text(".pager"), "no maps")
    page.settle()
    page.click(".pager button:last-child")
    page.settle()
    page.click(".mapthumb:nth-child(4)")
    page.wait(".pair figure")
    page.settle()
    page.click(".detail .segments [data-value=guided]")
    page.find(".bigmap").send_keys(Keys.ARROW_DOWN)
    page.settle()
    page.until(lambda: "at" in said(page), "the position is not said")
    expected, channel = page.pixels(".pair canvas"), said(page)["map"]
    reopen(page)
    page.wait(".pair figure")
    page.settle()
    assert page.find(".mapthumb[aria-pressed=true]").get_attribute("data-channel") == channel
    np.testing.assert_array_equal(page.pixels(".pair canvas"), expected)


def test_the_address_restores_how_maps_of_a_layer_are_drawn(page: Browser) -> None:
    page.click("#tab-layers")
    page.settle()
    page.click("[data-layer='stem.conv']")
    page.until(lambda: "32 maps" in page.text(".pager"), "no maps")
    own = page.pixels(".mapthumb:nth-child(2) canvas")
    page.click("#layers .segments [data-value=shared]")
    page.choose("#layers .stylebar select[name=cmap]", "PuOr_r")
    page.click(".mapthumb:nth-child(2)")
    page.wait(".pair figure")
    page.settle()
    page.choose(".detail select[name=kind]", "heat")
    page.until(lambda: "projections" in said(page), "the style is not said")
    drawn = [page.pixels(one) for one in (".mapthumb:nth-child(2) canvas", ".pair canvas")]
    assert not np.array_equal(drawn[0], own)
    before = said(page)
    assert (before["scale"], before["cmap"]) == ("shared", "PuOr_r")
    reopen(page)
    page.wait(".pair figure")
    page.settle()
    for expected, one in zip(drawn, (".mapthumb:nth-child(2) canvas", ".pair canvas"), strict=True):
        np.testing.assert_array_equal(page.pixels(one), expected)
    pressed = "#layers .segments [data-value=shared]"
    assert page.find(pressed).get_attribute("aria-pressed") == "true"
    assert page.find("#layers .stylebar select[name=cmap]").get_attribute("value") == "PuOr_r"
    page.until(lambda: said(page) == before, "the address is another one")


def test_the_address_restores_an_open_comparison(page: Browser) -> None:
    explain(page, "saliency")
    explain(page, "guided_backprop")
    expected = ",".join([*compared(page, 3, 1), "20"])
    page.choose("dialog input[type=range]", "20")
    page.until(lambda: said(page).get("compare") == expected, "the comparison is not said")
    title = page.text("dialog header strong")
    sides = [page.pixels(f"dialog .{side}") for side in ("left", "right")]
    reopen(page)
    page.wait("dialog[open] .stack")
    assert page.text("dialog header strong") == title
    for side, expected in zip(("left", "right"), sides, strict=True):
        np.testing.assert_array_equal(page.pixels(f"dialog .{side}"), expected)
    assert page.find("dialog input[type=range]").get_attribute("value") == "20"
    assert page.barriers() == []
    ActionChains(page.driver).send_keys(Keys.ESCAPE).perform()
    page.until(lambda: "compare" not in said(page), "it is said to be open")
    assert len(json.loads(said(page)["maps"])) == 3


def compared(page: Browser, *numbers: int) -> list[str]:
    """Compare two cards, and return the ids of their maps."""
    chosen = [f"{CARD}:nth-child({number})" for number in numbers]
    for card in chosen:
        page.click(f"{card} [aria-label^=Compare]")
    page.wait("dialog[open] .stack")
    return [str(page.find(card).get_attribute("data-id")) for card in chosen]


def readdress(page: Browser, **changed: str) -> None:
    """Open the address with other values in a new page."""
    page.until(lambda: "compare" in said(page), "the comparison is not said")
    values = {**said(page), **changed}
    base = page.driver.current_url.partition("#")[0]
    page.driver.get("about:blank")
    page.driver.get(f"{base}#{urlencode(values)}")


def test_a_comparison_is_restored_although_a_question_fails(page: Browser) -> None:
    """Its maps are then at other places."""
    explain(page, "saliency")
    compared(page, 2, 1)
    title, asked = page.text("dialog header strong"), json.loads(said(page)["maps"])
    failing = {**asked[0], "options": {"layer": "gone"}}
    readdress(page, maps=json.dumps([failing, *asked]))
    page.wait("dialog[open] .stack")
    assert page.text("dialog header strong") == title
    assert [one for one in page.complaints() if "422" not in one] == []


@pytest.mark.parametrize("other", [",", "{0},{0},20", "{0},gone,20", "0,1,20"])
def test_a_comparison_of_no_two_maps_is_not_opened(page: Browser, other: str) -> None:
    explain(page, "saliency")
    first = compared(page, 2, 1)[0]
    readdress(page, compare=other.format(first))
    page.until(lambda: len(page.all(CARD)) == 2, "not all maps came back")
    page.until(lambda: "compare" not in said(page), "it is said to be open")
    assert page.all("dialog[open]") == []


def test_a_comparison_does_not_cover_what_is_done_by_then(page: Browser) -> None:
    explain(page, "saliency")
    compared(page, 2, 1)
    later = """
        const now = fetch;
        fetch = (...call) => String(call[0]).includes("attributions")
          ? new Promise((go) => setTimeout(() => go(now(...call)), 1000)) : now(...call);
    """
    script = {"source": later}
    added = page.driver.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", script)
    try:
        readdress(page)
        for tab in ("layers", "explain"):
            page.click(f"#tab-{tab}")
        page.until(lambda: len(page.all(CARD)) == 2, "not all maps came back")
        page.until(lambda: "compare" not in said(page), "it is said to be open")
        assert page.all("dialog[open]") == []
    finally:
        page.driver.execute_cdp_cmd("Page.removeScriptToEvaluateOnNewDocument", added)


def test_an_address_with_an_unknown_colormap_draws_with_the_default(
    page: Browser, address: str
) -> None:
    page.driver.get("about:blank")
    fragment = "view=layers&layer=stem.conv&cmap=mauve&scale=no&order=x"
    page.open(f"{address}#{fragment}", ".mapthumb canvas")
    assert page.find("#layers select[name=cmap]").get_attribute("value") in ("viridis", "RdBu_r")
    assert page.pixels(".mapthumb canvas").std() > 5
    page.until(lambda: "view" in said(page) and "cmap" not in said(page), "it is kept")


def test_the_address_restores_a_panel(page: Browser) -> None:
    page.click("#tab-panels")
    page.click("[data-panel=scores]")
    page.choose("#panels input[name=top]", "3")
    page.click("#panels form .primary")
    page.settle()
    page.until(lambda: "panel-options" in said(page), "the options are not said")
    reopen(page)
    page.until(lambda: len(page.all("#panels .bar")) == 3, "another panel")


@pytest.mark.parametrize(
    "fragment",
    [
        "picture=gone&class=5000",
        "maps=%5B&style=no&options=1",
        'style={"sign":"up","kind":[],"alpha":"x"}&options={"layer":"gone"}',
        "maps=[1,null]&class=x&at=,&region=1",
        "compare=0,7,x&scale=no&projections=[]",
        "main",
    ],
)
def test_an_address_that_says_nothing_opens_the_page(
    page: Browser, address: str, fragment: str
) -> None:
    page.driver.get("about:blank")
    page.open(f"{address}#{fragment}", "#explain .primary")
    page.until(lambda: page.text(".primary").startswith("Explain "), "no class")
    explain(page, "saliency")
    assert page.pixels(CANVAS).std() > 5


def test_several_pictures_are_opened_and_one_refused(page: Browser, tmp_path: Path) -> None:
    names = [f"{number}.png" for number in range(3)]
    for number, name in enumerate(names):
        (tmp_path / name).write_bytes(photo(50 + number, 40, seed=number))
    (tmp_path / "1.png").write_bytes(b"no picture")
    page.find("#file").send_keys("\n".join(str(tmp_path / name) for name in names))
    page.until(lambda: len(page.all(".thumb")) == 6, "not opened")
    page.until(lambda: "0.png · 50 × 40" in page.text("#pictures"), "not the first one")
    assert page.wait(".message.error").text.startswith("1.png: not a supported picture format")
    page.settle()
    assert [one for one in page.complaints() if "422" not in one] == []


def test_the_page_stays_where_it_is(page: Browser) -> None:
    """Neither a map of a layer nor another panel moves what was clicked."""
    page.click("#tab-layers")
    page.settle()
    thumb = page.find(".mapthumb:nth-child(40)")
    page.run("arguments[0].scrollIntoView({block: 'center'})", thumb)
    top = "return arguments[0].getBoundingClientRect().top"
    before = page.run(top, thumb)
    thumb.click()
    page.wait(".pair figure")
    page.settle()
    assert abs(page.run(top, thumb) - before) <= 1
    assert page.run(top, page.find(".detail")) > before
    page.click(".detail [aria-label=Close]")
    assert (
        page.run(
            "return document.activeElement",
        )
        == thumb
    )


@pytest.mark.parametrize("view", ["explain", "panels"])
def test_on_a_phone_results_are_near_the_input(page: Browser, address: str, view: Any) -> None:
    page.resize(390, 844)
    try:
        page.open(address)
        page.click(f"#tab-{view}")
        page.run("scrollTo(0, 0)")
        page.settle()
        found = f"return document.querySelector('#{view} .result').getBoundingClientRect().top"
        assert page.run(found) < 844 * 0.75
    finally:
        page.resize(1440, 1000)


def test_two_models_are_compared(started: Browser, demo: LoadedModel) -> None:
    silent = copy.deepcopy(demo.model)
    for parameter in list(silent.parameters())[-2:]:
        torch.nn.init.zeros_(parameter)
    other = replace(demo, model=silent)
    with served(create_app(demo, others=[other])) as address:
        started.forget()
        started.open(address)
        started.choose("#model select", "demo (2)")
        started.until(lambda: len(started.all(CARD)) == 2, "no map of the other one")
        started.settle()
        assert "demo (2)" in started.text(f"{CARD}:first-child .more")
        shares = [one.text for one in started.all(".class .value")]
        assert set(shares) == {"50.0 %"}
        for number in (1, 2):
            started.click(f"{CARD}:nth-child({number}) [aria-label^=Compare]")
        started.wait("dialog[open] .stack")
        assert "demo (2)" in started.text("dialog .sides")
        ActionChains(started.driver).send_keys(Keys.ESCAPE).perform()
        started.until(lambda: said(started).get("model") == "demo (2)", "not in the address")
        reopen(started)
        started.until(lambda: len(started.all(CARD)) == 2, "they did not come back")
        started.settle()
        assert started.complaints() == []
