import base64
import io
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from torchattr.errors import FolderError, InputError
from torchattr.results import Entry, Report
from torchattr.show import Drawing

VOID = {"meta", "img", "br", "hr", "link", "input"}
NASTY = "<script>alert('x')</script> & \"quoted\""


class Page(HTMLParser):
    """Checks that tags are closed in order, and collects them."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.words = [], [], []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)

    def all(self, tag):
        return [attrs for name, attrs in self.tags if name == tag]


def entry(name="cat", **options):
    drawing = Drawing(4, 4)
    drawing.place(np.arange(48, dtype=np.uint8).reshape(4, 4, 3), (0, 0, 4, 4))
    record = {
        "targets": [{"name": NASTY, "score": 2.0, "probability": 0.25}],
        "coverage": {"methods": {"guided_backprop": "3 relu calls, 3 rewritten"}},
        "refused": {"deconvolution": f"no rule {NASTY}"},
        "settings": {"methods": [NASTY]},
        "versions": {"torch": "9.9"},
        "source": NASTY,
    }
    return Entry(name, drawing, {}, record, **options)


def page(tmp_path, *entries, **options):
    file = tmp_path / "report.html"
    with Report(file, **options) as report:
        for one in entries:
            report.add(one)
    text = file.read_text(encoding="utf-8")
    return text, Page(text)


def test_pictures_are_in_the_page_pixel_by_pixel(tmp_path):
    one = entry()
    _, found = page(tmp_path, one)
    (image,) = found.all("img")
    kind, data = image["src"].split(",")
    assert kind == "data:image/png;base64"
    with Image.open(io.BytesIO(base64.b64decode(data))) as shown:
        np.testing.assert_array_equal(np.asarray(shown), np.asarray(one.picture))
    assert image["alt"]


def test_nothing_is_fetched_and_no_script_runs(tmp_path):
    text, found = page(tmp_path, entry(), entry("dog", group="activations/x", text=NASTY))
    assert not found.all("script")
    assert not found.all("link")
    assert not re.search(r"https?:|//[a-z]|@import|url\(", text)
    assert "prefers-color-scheme: dark" in text


@pytest.mark.parametrize(
    ("theme", "schemes", "where_dark"),
    [
        (None, "light dark", "(prefers-color-scheme: dark)"),
        ("light", "light", "not all"),
        ("dark", "dark", "all"),
    ],
)
def test_a_page_has_the_colours_of_its_theme_or_of_the_system(tmp_path, theme, schemes, where_dark):
    _, found = page(tmp_path, entry(), theme=theme)
    assert {"name": "color-scheme", "content": schemes} in found.all("meta")
    assert [one.get("media") for one in found.all("style")] == [None, where_dark]


def test_an_unknown_theme_is_refused(tmp_path):
    with pytest.raises(InputError, match="theme must be one of 'light', 'dark', got 'sepia'"):
        Report(tmp_path / "report.html", theme="sepia")


def test_every_text_is_escaped(tmp_path):
    nasty = entry(NASTY, title=NASTY, group=NASTY, text=NASTY)
    text, found = page(tmp_path, nasty, title=NASTY)
    assert "<script" not in text
    # In the title twice, the contents twice, headings twice, and once in each field of the record.
    assert "".join(found.words).count(NASTY) >= 10


def test_scores_coverage_settings_and_versions_are_shown(tmp_path):
    _, found = page(tmp_path, entry())
    said = " ".join(found.words)
    for text in ("25.0 %", "3 relu calls, 3 rewritten", "no rule", "torch 9.9", "source"):
        assert text in said


def test_the_contents_lead_to_every_part(tmp_path):
    _, found = page(tmp_path, entry(), entry("dog"), entry("cat", title="more of it"))
    anchors = {attrs["id"] for _, attrs in found.tags if "id" in attrs}
    links = [attrs["href"][1:] for attrs in found.all("a")]
    assert set(links) == anchors
    assert len(links) == 5
    assert len(found.all("section")) == 2


def test_what_was_skipped_is_said(tmp_path):
    file = tmp_path / "report.html"
    with Report(file) as report:
        report.skip("broken.png", "truncated")
    assert "truncated" in file.read_text()


def test_an_empty_report_is_no_file(tmp_path):
    with Report(tmp_path / "report.html"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_second_run_replaces_its_own_page_and_no_other(tmp_path):
    page(tmp_path, entry())
    page(tmp_path, entry("dog"))
    (tmp_path / "report.html").write_text("<html>mine</html>")
    with pytest.raises(FolderError, match="was not created by torchattr"):
        Report(tmp_path / "report.html")
    text, _ = page(tmp_path, entry(), overwrite=True)
    assert "mine" not in text


def test_a_place_that_cannot_be_written_to_is_named_at_once(tmp_path):
    with pytest.raises(FolderError, match="is a folder; name a file"):
        Report(tmp_path)
    (tmp_path / "file").write_text("mine")
    with pytest.raises(FolderError, match=r"html: cannot write to"):
        Report(tmp_path / "file" / "report.html")


def test_the_same_entries_give_the_same_bytes(tmp_path):
    assert page(tmp_path, entry())[0] == page(tmp_path, entry())[0]
