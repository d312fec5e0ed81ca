"""Tables are aligned, without empty columns."""

from __future__ import annotations

from torchattr.inspect.summaries.typeset import as_html, as_text

ROWS = [("  a", "", "1,000", "x"), ("bb", "", "2", "yyy")]
HEADINGS = ("Layer", "No rule", "#", "Name")


def test_numbers_stand_at_the_right_and_names_at_the_left() -> None:
    assert as_text(HEADINGS, ROWS, [("Sum", "1,002")]).splitlines() == [
        "Layer      #  Name",
        "──────────────────",
        "  a    1,000  x",
        "bb         2  yyy",
        "──────────────────",
        "Sum  1,002",
    ]


def test_html_escapes_and_leaves_out_the_same_columns() -> None:
    html = as_html(HEADINGS, [("<i>", "", "1", "&")], [("Sum", "1")])
    assert "No rule" not in html
    assert "&lt;i&gt;" in html
    assert "&amp;" in html
    assert html.count("<tr>") == 3
