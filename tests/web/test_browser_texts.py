"""No text of the page is cut off, and none shows the marks of a docstring."""

from __future__ import annotations

from typing import Any

import pytest
from browsing import MISSING, Browser

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(MISSING is not None, reason=str(MISSING)),
]

WIDTHS = (390, 768, 1024, 1240, 1440)

CUT_CHOICES = """
const ARROW = 14;
const context = document.createElement("canvas").getContext("2d");
const isCut = (one, text) => {
  const { font, paddingLeft, paddingRight } = getComputedStyle(one);
  context.font = font;
  const room = one.clientWidth - parseFloat(paddingLeft) - parseFloat(paddingRight) - ARROW;
  return context.measureText(text).width > room;
};
const shown = [...document.querySelectorAll("select")].filter((one) => one.checkVisibility());
return shown.flatMap((one) => {
  const chosen = one.value;
  const cut = [...one.options].filter(({ value, text }) => {
    one.value = value;  // A select may be as wide as what is chosen.
    return isCut(one, text);
  }).map(({ text }) => `${one.name}: ${text}`);
  one.value = chosen;
  return cut;
});
"""

CUT_TEXTS = """
return [...document.querySelectorAll(arguments[0])]
  .filter((one) => one.offsetParent && one.scrollWidth > one.clientWidth + 1)
  .map((one) => one.textContent);
"""

OUTSIDE = """
const page = document.documentElement.clientWidth;
const outside = ({ left, right }) => left < 0 || right > page + 0.5;
return [...document.querySelectorAll(arguments[0])]
  .filter((one) => one.offsetParent && outside(one.getBoundingClientRect()))
  .map((one) => one.textContent);
"""

DOCSTRINGS = """
const done = arguments[arguments.length - 1];
const model = fetch("api/model").then((answer) => answer.json());
Promise.all([import(new URL("page/dom.js", location)), model])
  .then(([{ marked, unmarked }, { methods, panels }]) => {
    const read = [...methods, ...panels]
      .flatMap(({ about, fields }) => [...about, ...fields.map(({ doc }) => doc)]);
    const written = (text) => marked(text).map((piece) => piece.textContent ?? piece).join("");
    done(read.flatMap((text) => [unmarked(text), written(text)]));
  }).catch((error) => done(String(error)));
"""

MARKED = """
const done = arguments[arguments.length - 1];
import(new URL("page/dom.js", location)).then((dom) => done(arguments[0].map(dom.unmarked)));
"""

SEEN = """
const attributes = ["title", "aria-label", "placeholder", "alt"];
return [...document.querySelectorAll("body *")]
  .flatMap((one) => attributes.map((name) => one.getAttribute(name)))
  .concat(document.body.innerText).filter(Boolean);
"""


@pytest.fixture(params=WIDTHS)
def sized(page: Browser, request: pytest.FixtureRequest) -> Any:
    page.resize(request.param, 900)
    yield page
    page.resize(1440, 1000)


def test_choices_are_written_out(sized: Browser) -> None:
    for summary in sized.all("#explain details:not([open]) summary"):
        summary.click()
    assert sized.run(CUT_CHOICES) == []
    sized.click("#tab-layers")
    sized.settle()
    sized.click(".mapthumb")
    sized.wait(".pair figure")
    sized.settle()
    assert sized.run(CUT_CHOICES) == []
    assert sized.run(CUT_TEXTS, ".layer .label, .layer .kind, .layer .shape") == []


def test_a_choice_that_is_cut_is_found(page: Browser) -> None:
    assert page.run(CUT_CHOICES) == []
    for select in page.all("#explain select[name=kind]"):
        page.run("arguments[0].style.width = '96px'", select)
    assert "kind: Heatmap only" in page.run(CUT_CHOICES)
    assert "kind: Default" not in page.run(CUT_CHOICES)


def test_no_method_is_outside_the_page(sized: Browser) -> None:
    assert sized.run(CUT_TEXTS, ".chip, .chips") == []
    assert sized.run(OUTSIDE, ".chip, .more-methods") == []
    sized.click("#explain .more-methods")
    assert sized.run(OUTSIDE, ".chip") == []


def test_no_action_of_a_map_is_alone_in_its_line(sized: Browser) -> None:
    sized.method("saliency")
    sized.settle()
    for actions in sized.all("#explain figure.map .actions"):
        lines: dict[int, int] = {}
        for one in sized.run("return [...arguments[0].querySelectorAll('a, button')]", actions):
            lines[one.location["y"]] = lines.get(one.location["y"], 0) + 1
        assert 1 not in lines.values(), lines


def test_no_map_of_a_panel_is_alone_in_its_row(sized: Browser) -> None:
    sized.click("#tab-panels")
    sized.click("[data-panel=gradient]")
    sized.settle()
    sized.until(lambda: len(sized.all("#panels .map canvas[height]")) >= 4, "no maps")
    rows = [one.location["y"] for one in sized.all("#panels figure.map")]
    assert {rows.count(row) for row in rows} in ({4}, {2})


def test_no_text_shows_the_marks_of_a_docstring(page: Browser) -> None:
    texts = page.driver.execute_async_script(DOCSTRINGS)
    assert not isinstance(texts, str), texts
    assert len(texts) > 200
    page.click("#explain .more-methods")
    page.click("#explain .options summary")
    texts += page.run(SEEN)
    for tab in ("layers", "panels"):
        page.click(f"#tab-{tab}")
        page.settle()
        texts += page.run(SEEN)
    assert [text for text in texts if "`" in text or ":class:" in text or ":func:" in text] == []


def test_marks_are_removed_in_every_spelling(page: Browser) -> None:
    texts = [
        "a ``(N, C)`` b",
        "see :class:`~where.Name`",
        ":meth:`Name.run`, *not* `x`",
        "2 * 3 * 4",
    ]
    found = page.driver.execute_async_script(MARKED, texts)
    assert found == ["a (N, C) b", "see Name", "Name.run, not x", "2 * 3 * 4"]
