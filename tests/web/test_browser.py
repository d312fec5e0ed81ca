"""The page in a real browser: actions of a visitor, and the requests and results that follow."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from asking import photo
from browsing import MISSING, Browser, browser, served
from PIL import Image
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.keys import Keys

import torchattr as ta
from torchattr.methods import registry as methods
from torchattr.models import LoadedModel, PreparedImage
from torchattr.models.geometry import Box
from torchattr.show import colormap
from torchattr.web import Bars, Figure, Limits, Panel, Part, Scene, create_app, register_panel
from torchattr.web.map_style import MapStyle, color_tables
from torchattr.web.panels import panel as panels
from torchattr.web.state.stored import StoredMap

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(MISSING is not None, reason=str(MISSING)),
]

CARD = "#explain figure.map"
CANVAS = f"{CARD} canvas"
SVG = "<svg xmlns='http://www.w3.org/2000/svg' width='80' height='40'><g/></svg>"


@pytest.fixture(scope="module")
def own() -> Iterator[None]:
    """A method and a panel, registered as by a user's file."""
    panels.registered_panels()
    with methods.METHODS.temporary(), panels.PANELS.temporary():

        @ta.register_method("doubled")
        class Doubled(ta.GradientAttribution):
            """Twice the gradient; it is *not* more than that."""

            def finish(self, inputs: torch.Tensor, grads: torch.Tensor) -> torch.Tensor:
                return 2 * grads

            def panel(self, values: torch.Tensor, scene: Scene) -> Iterable[Part]:
                yield Bars(["red", "green", "blue"], values.abs().sum((0, 2, 3)), "By colour")

        @register_panel("drawing")
        class Drawing(Panel):
            """A custom figure."""

            def show(self, scene: Scene, times: int = 1) -> Iterable[Part]:
                for _ in range(times):
                    yield Figure(SVG, f"For {scene.class_name}")

        yield


@pytest.fixture(scope="module")
def address(own: None, demo: LoadedModel) -> Iterator[str]:
    # Each test is a new visitor.
    with served(create_app(demo, limits=Limits(sessions=1000))) as found:
        yield found


def posts(page: Browser) -> int:
    return sum(method == "POST" for method, _ in page.requests())


def explain(page: Browser, method: str) -> None:
    page.method(method)
    page.settle()


def test_it_opens_with_a_picture_its_classes_and_a_first_map(page: Browser) -> None:
    assert page.text("#model") == "demo on cpu"
    assert [one.text for one in page.all(".class .label")][:2] == ["astronaut", "cat"]
    assert page.text(f"{CARD} strong") == "Grad-CAM"
    assert page.pixels(CANVAS).std() > 20
    assert len(page.all(".thumb")) == 4


def test_a_class_and_a_method_are_chosen(page: Browser) -> None:
    page.click(".class[data-index='1']")
    page.until(lambda: "cat ·" in page.text(CARD), "no map for the cat")
    explain(page, "guided_backprop")
    said = page.text(CARD)
    assert "Guided backprop" in said
    assert "11 relu calls, 11 rewritten" in said
    assert len(page.all(CARD)) == 3
    assert page.text(".primary") == "Explain cat"


def test_options_of_a_method_are_filled_in(page: Browser) -> None:
    page.click("#explain .options summary")
    page.choose("#explain select[name=layer]", "stage1")
    page.click("#explain input[name=relu_attributions]")
    page.click("#explain .primary")
    page.settle()
    last = [url for method, url in page.requests() if method == "POST"]
    assert last[-1].endswith("/api/attributions")
    assert "0 … " in page.text(f"{CARD} .range")
    assert len(page.all(CARD)) == 2


def test_drawing_is_changed_without_asking_the_model(page: Browser) -> None:
    explain(page, "input_x_gradient")
    before, seen = len(page.requests()), [page.pixels(CANVAS)]

    def changed() -> bool:
        now = page.pixels(CANVAS)
        if any(np.array_equal(now, one) for one in seen):
            return False
        seen.append(now)
        return True

    for sign in ("positive", "negative", "absolute"):
        page.click(f"#explain .segments [data-value={sign}]")
        page.until(changed, f"{sign} looks like something before")
    page.choose("#explain select[name=kind]", "overlay")
    page.until(changed, "an overlay looks like heat")
    page.choose("#explain input[name=alpha]", "0.3")
    page.until(changed, "the strength changes nothing")
    page.choose("#explain select[name=cmap]", "magma")
    page.until(changed, "the colours change nothing")
    page.choose("#explain select[name=channels]", "l2")
    page.until(changed, "the channels change nothing")
    page.choose("#explain input[name=percentile]", "95")
    page.until(changed, "clipping changes nothing")
    page.click("#explain .reset")
    page.until(lambda: np.array_equal(page.pixels(CANVAS), seen[0]), "not as before")
    assert len(page.requests()) == before


@pytest.mark.parametrize("method", ["grad_cam", "guided_backprop", "integrated_gradients"])
def test_the_page_draws_what_the_library_draws(page: Browser, method: str) -> None:
    """The canvas against the PNG, whose pixels are those of `torchattr.show`."""
    explain(page, method)
    for sign in ("", "positive", "all"):
        page.click(f"#explain .segments [data-value='{sign}']")
        for kind in ("overlay", "heat", "color"):
            page.choose("#explain select[name=kind]", kind)
            page.until(
                lambda k=kind: f"kind={k}" in page.find(f"{CARD} a").get_attribute("href"), kind
            )
            address = page.find(f"{CARD} a").get_attribute("href")
            expected = np.asarray(Image.open(io.BytesIO(page.fetched(address))))
            same(page.pixels(CANVAS), expected)


def same(found: np.ndarray, expected: np.ndarray) -> None:
    """At most one pixel in a thousand may round to the neighbouring colour."""
    assert found.shape == expected.shape
    difference = np.abs(found.astype(int) - expected).max(-1)
    assert difference.max() <= 8, difference.max()
    assert (difference > 0).mean() <= 0.001, (difference > 0).mean()


PAINT = """
const [values, shape, box, look, rgba, width, height, colours] = arguments;
const done = arguments[arguments.length - 1];
import(new URL("page/render.js", location)).then(({ paint, readTables }) => {
  const picture = { data: Uint8ClampedArray.from(rgba), width, height };
  const map = { values: Float32Array.from(values), shape, box };
  done(Array.from(paint(map, look, picture, readTables(colours)).data));
}).catch((error) => done(String(error)));
"""

LOOKS = [
    MapStyle("overlay", "sum", "positive", 100, "viridis", 0.8),
    MapStyle("overlay", "sum", "all", 99.5, "RdBu_r", 0.85),
    MapStyle("overlay", "deviation", "all", 99.5, "RdBu_r", 0.85),
    MapStyle("overlay", "mean", "negative", 97, "plasma", 0.35, 0.2),
    MapStyle("overlay", "sum", "all", 100, "bwr", 1.0, 0.0),
    MapStyle("heat", "max_abs", "absolute", 99.5, "inferno"),
    MapStyle("heat", "l2", "positive", 100, "gray"),
    MapStyle("heat", "luma", "all", 90, "coolwarm"),
    MapStyle("color", sign="all", percentile=99.9),
    MapStyle("color", sign="positive", percentile=99),
    MapStyle("color", sign="negative"),
]


@pytest.mark.parametrize("look", LOOKS, ids=str)
@pytest.mark.parametrize(
    ("shape", "size", "box"),
    [
        ((3, 9, 7), (45, 31), (0, 0, 45, 31)),
        ((3, 64, 64), (40, 30), (3.4, -2.5, 36.2, 30)),
        ((1, 5, 5), (64, 48), (8, 0, 56, 48)),
    ],
)
def test_any_map_is_painted_as_the_library_paints_it(
    page: Browser, look: MapStyle, shape: Any, size: Any, box: Any
) -> None:
    random = np.random.default_rng(sum(shape))
    values = random.normal(size=shape).astype(np.float32)
    image = Image.fromarray(random.integers(0, 256, (size[1], size[0], 3), np.uint8))
    prepared = PreparedImage(torch.zeros(3, 4, 4), image, Box(*box))
    expected = np.asarray(StoredMap("noise", values, look, prepared).draw(look, 4096))
    rgba = np.asarray(image.convert("RGBA")).ravel().tolist()
    found = page.driver.execute_async_script(
        PAINT, values.ravel().tolist(), shape, box, look.as_json(), rgba, *size, color_tables()
    )
    assert not isinstance(found, str), found
    same(np.array(found, np.uint8).reshape(size[1], size[0], 4)[..., :3], expected)


@pytest.mark.parametrize("channels", ["sum", "mean", "luma", "deviation"])
@pytest.mark.parametrize("scale", [1e-30, 1.0, 1e30])
def test_what_cancels_is_painted_as_zero(page: Browser, channels: Any, scale: float) -> None:
    terms = [0.587, -0.299, 0.0] if channels == "luma" else [0.1, 0.2, -0.3]
    values = np.float32(np.array(terms)[:, None, None] * np.ones((3, 8, 8)) * scale)
    look = MapStyle("heat", channels, "all", 99.5, "RdBu_r").as_json()
    rgba, box = [0] * 4 * 64, (0, 0, 8, 8)
    found = page.driver.execute_async_script(
        PAINT, values.ravel().tolist(), (3, 8, 8), box, look, rgba, 8, 8, color_tables()
    )
    assert not isinstance(found, str), found
    assert (np.reshape(found, (64, 4))[:, :3] == colormap(0.0, "RdBu_r")).all()


def test_a_map_without_evidence_says_so(page: Browser) -> None:
    explain(page, "saliency")
    page.click("#explain .segments [data-value=negative]")
    page.until(lambda: "No negative values" in page.text(CARD), "nothing is said")


def test_a_picture_is_opened_and_a_wrong_one_refused(page: Browser, tmp_path: Path) -> None:
    (tmp_path / "mine.png").write_bytes(photo(90, 50))
    (tmp_path / "notes.png").write_bytes(b"no picture")
    page.find("#file").send_keys(str(tmp_path / "mine.png"))
    page.until(lambda: "mine.png · 90 × 50" in page.text("#pictures"), "it was not opened")
    page.settle()
    assert len(page.all(".thumb")) == 5
    page.until(lambda: page.pixels(CANVAS).shape == (50, 90, 3), "its map is missing")
    page.settle()
    page.find("#file").send_keys(str(tmp_path / "notes.png"))
    message = page.wait(".message.error").text
    assert message.startswith("notes.png: not a supported picture format")
    assert len(page.all(".thumb")) == 5
    # The browser notes a refused request by itself.
    assert [one for one in page.complaints() if "422" not in one] == []


def test_a_picture_is_dropped(page: Browser) -> None:
    page.run(
        "const data = new DataTransfer();"
        "data.items.add(new File([Uint8Array.from(arguments[0])], 'dropped.png'));"
        "dispatchEvent(new DragEvent('drop', {dataTransfer: data, cancelable: true}))",
        list(photo(64, 64)),
    )
    page.until(lambda: "dropped.png" in page.text("#pictures"), "it was not taken")


def open_layers(page: Browser, layer: str = "stage2") -> None:
    page.click("#tab-layers")
    page.settle()
    page.click(f"[data-layer='{layer}']")
    page.until(lambda: page.text("#layers .row h2") or True, "no title")
    page.until(lambda: len(page.all(".mapthumb")) > 0, "no maps")
    page.settle()


def test_maps_are_paged_sorted_and_drawn_as_the_library_draws_them(
    page: Browser, demo: LoadedModel
) -> None:
    open_layers(page)
    assert len(page.all(".mapthumb")) == 48
    page.click(".pager button:last-child")
    page.until(lambda: page.all(".mapthumb")[0].get_attribute("data-channel") == "48", "page 2")
    assert "49–64 of 64" in page.text(".pager")
    page.choose("#layers select[name=order]", "largest")
    page.until(lambda: "1–48" in page.text(".pager"), "back to the first page")
    page.settle()
    from torchattr.models import read_image
    from torchattr.models.collage import examples
    from torchattr.show import colormap, rescale

    tensor = demo.preprocess(read_image(examples()[0].path)).tensor[None]
    maps = ta.feature_maps(demo.model, tensor, "stage2")
    order = maps.strongest("stage2")[:48]
    assert [int(one.get_attribute("data-channel")) for one in page.all(".mapthumb")] == order
    values = maps["stage2"][0].numpy()
    drawn = colormap(rescale(values, "positive"), "viridis")
    same(page.pixels(".mapthumb canvas"), drawn[order[0]])
    page.click("#layers .stylebar .segments [data-value=shared]")
    shared = colormap(rescale(values, "positive", shared=True), "viridis")[order[3]]
    selector = f".mapthumb[data-channel='{order[3]}'] canvas"
    page.until(lambda: not np.array_equal(page.pixels(selector), drawn[order[3]]), "no change")
    same(page.pixels(selector), shared)


def test_a_map_and_a_place_go_back_to_the_picture(page: Browser) -> None:
    open_layers(page)
    page.click(".mapthumb[data-channel='5']")
    page.wait(".pair figure")
    page.settle()
    titles = [one.text for one in page.all(".pair strong")]
    assert titles[0].startswith("Maximum, at row")
    assert titles[1] == "Whole map"
    whole, first = page.pixels(".pair figure:last-child canvas"), page.pixels(".pair canvas")
    large = page.find(".bigmap canvas")
    width, height = large.size["width"], large.size["height"]
    offset = (round(width * (4.5 / 16 - 0.5)), round(height * (7.5 / 16 - 0.5)))
    ActionChains(page.driver).move_to_element_with_offset(large, *offset).click().perform()
    page.until(lambda: page.text(".pair strong") == "Row 7, column 4", "not that position")
    page.settle()
    assert not np.array_equal(page.pixels(".pair canvas"), first)
    np.testing.assert_array_equal(page.pixels(".pair figure:last-child canvas"), whole)
    page.click(".detail .segments [data-value=guided]")
    page.settle()
    page.until(
        lambda: not np.array_equal(page.pixels(".pair figure:last-child canvas"), whole), "the rule"
    )
    before = posts(page)
    page.click(".detail .stylebar .segments [data-value=absolute]")
    page.settle()
    assert posts(page) == before
    page.find(".bigmap").send_keys(Keys.ARROW_DOWN)
    page.until(lambda: page.text(".pair strong") == "Row 8, column 4", "not by keyboard")


def test_what_is_shown_can_be_downloaded(page: Browser) -> None:
    explain(page, "input_x_gradient")
    shown = page.pixels(CANVAS)
    links = {one.text: one for one in page.all(f"{CARD}:first-child a")}
    links["PNG"].click()
    same(shown, np.asarray(Image.open(page.downloaded(".png"))))
    links["NPZ"].click()
    with np.load(page.downloaded(".npz"), allow_pickle=False) as file:
        assert file["map"].shape == (3, 128, 128)
        assert file["map"].any()


def test_a_click_shows_the_full_size(page: Browser) -> None:
    page.click(f"{CARD} .picture")
    picture = page.wait("dialog[open] img")
    page.until(lambda: picture.get_property("naturalWidth") == 320, "not in full size")
    assert [one.text for one in page.all("dialog a")] == ["PNG", "NPZ"]
    ActionChains(page.driver).send_keys(Keys.ESCAPE).perform()
    page.until(lambda: not page.all("dialog[open]"), "it does not close")


def test_panels_of_ones_own_appear_by_themselves(page: Browser) -> None:
    explain(page, "doubled")
    assert page.text("#explain .results h3") == "By colour"
    page.click("#tab-panels")
    page.until(lambda: "Top 5" in page.text("#panels"), "no scores")
    page.click("[data-panel=drawing]")
    page.until(lambda: page.all("#panels .drawn img"), "no figure")
    page.until(lambda: page.find("#panels img").get_property("naturalWidth") == 80, "no picture")
    page.choose("#panels input[name=times]", "3")
    page.click("#panels .primary")
    page.until(lambda: len(page.all("#panels .drawn")) == 3, "not three")
    assert "For astronaut" in page.text("#panels")


def test_the_keyboard_reaches_everything(page: Browser) -> None:
    page.find("#tab-explain").send_keys(Keys.ARROW_RIGHT)
    assert page.find("#layers").is_displayed()
    page.find("#tab-layers").send_keys(Keys.ARROW_LEFT)
    first = page.find(".class[data-index='0']")
    first.send_keys(Keys.ARROW_DOWN)
    assert page.driver.switch_to.active_element.get_attribute("data-index") == "1"
    page.driver.switch_to.active_element.send_keys(Keys.ENTER)
    page.until(lambda: page.text(".primary") == "Explain cat", "Enter chooses nothing")
    assert page.driver.switch_to.active_element.get_attribute("data-index") == "1"
    page.settle()
    unnamed = page.run(
        "return [...document.querySelectorAll('button, input, select, a')].filter(e =>"
        " !(e.textContent.trim() || e.getAttribute('aria-label') || e.title || e.labels?.length))"
        ".map(e => e.outerHTML)"
    )
    assert unnamed == []


def test_names_are_shown_as_text(page: Browser) -> None:
    """What comes from files or models must not become part of the page."""
    page.run(
        "const data = new DataTransfer();"
        "data.items.add(new File([Uint8Array.from(arguments[0])], '<img src=x onerror=a>.png'));"
        "dispatchEvent(new DragEvent('drop', {dataTransfer: data, cancelable: true}))",
        list(photo(64, 64, seed=9)),
    )
    page.until(lambda: "onerror" in page.text("#pictures .name"), "the name is not shown")
    assert page.all("#pictures .name img") == []


@pytest.mark.parametrize("width", [500, 768, 1100])
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_narrow_and_dark_pages_fit(page: Browser, width: int, theme: str) -> None:
    page.driver.set_window_size(width, 900)
    try:
        if page.run("return document.documentElement.dataset.theme") != theme:
            page.click("#theme")
        for tab in ("explain", "layers", "panels"):
            page.click(f"#tab-{tab}")
            page.settle()
            if tab == "layers":
                page.click(".mapthumb")
                page.wait(".pair figure")
            beyond = page.run("return document.documentElement.scrollWidth - innerWidth")
            assert beyond <= 0, f"{tab} is {beyond} pixels too wide"
        ink, paper = (
            page.run(f"return getComputedStyle(document.body).{name}")
            for name in ("color", "backgroundColor")
        )
        assert ink != paper
    finally:
        page.driver.set_window_size(1440, 1000)


def test_two_visitors_at_once_see_their_own(page: Browser, address: str, tmp_path: Path) -> None:
    with browser(tmp_path) as other:
        other.open(address)
        other.click(".thumb:nth-child(4)")
        page.click(".class[data-index='1']")
        other.until(lambda: "horse" in other.text(".class"), "another picture")
        explain(page, "guided_grad_cam")
        explain(other, "guided_grad_cam")
        page.settle()
        assert "cat ·" in page.text(CARD)
        assert "cat ·" not in other.text(CARD)
        assert not np.array_equal(page.pixels(CANVAS), other.pixels(CANVAS))
        (tmp_path / "mine.png").write_bytes(photo(40, 40))
        other.find("#file").send_keys(str(tmp_path / "mine.png"))
        other.until(lambda: len(other.all(".thumb")) == 5, "not opened")
        page.driver.refresh()
        page.until(lambda: len(page.all(".thumb")) > 0, "no pictures")
        assert len(page.all(".thumb")) == 4
        assert other.complaints() == []
        page.settle()


def test_a_viewer_that_has_ended_is_named(demo: LoadedModel, started: Browser) -> None:
    with served(create_app(demo)) as address:
        started.open(address)
    started.method("saliency")
    assert "not responding" in started.wait(".message.error").text


def test_a_long_job_is_cancelled_from_the_page(page: Browser) -> None:
    page.method("rise")
    page.click("#explain .waiting .cancel")
    page.until(lambda: not page.all("#explain .waiting"), "it is still on its way")
    jobs = "const done = arguments[0]; fetch('api/jobs').then(r => r.json()).then(done)"
    page.until(lambda: not page.driver.execute_async_script(jobs), "the server goes on with it")
    explain(page, "saliency")
    assert "Saliency" in page.text(CARD)


def test_a_relevance_map_shows_where_the_score_went(page: Browser) -> None:
    page.click(".class[data-index='1']")
    page.settle()
    explain(page, "lrp")
    ledger = page.wait("#explain .result.ledger")
    assert "where the score went" in ledger.text
    labels = [one.text for one in page.all("#explain .ledger .bar .label")]
    assert (labels[0], labels[-1]) == ("inputs", "error")
    assert any(label.startswith("bias of") for label in labels)
    assert page.all("#explain .ledger tbody tr")
    for below in page.all("#explain .ledger .fill.below"):
        track = page.run("return arguments[0].parentElement.getBoundingClientRect()", below)
        left = page.run("return arguments[0].getBoundingClientRect()", below)
        assert track["left"] - 1 <= left["left"] <= left["right"] <= track["right"] + 1


def test_what_belongs_to_a_map_is_replaced_and_removed_with_it(page: Browser) -> None:
    for method, beside in (("lrp", ".ledger"), ("doubled", ".result.wide")):
        for _ in range(2):
            explain(page, method)
            assert len(page.all(f"#explain {beside}")) == 1
        page.click(f"{CARD} [aria-label^=Remove]")
        page.settle()
        assert page.all(f"#explain {beside}") == []
