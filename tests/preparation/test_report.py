"""The report of `prepare`: its rows, as text and as HTML."""

from __future__ import annotations

from dataclasses import replace

from torchattr.preparation import Preparation
from torchattr.preparation.choosing import SIMPLEST, Decision
from torchattr.preparation.pairs import Pair
from torchattr.preparation.precision import Deviation

REPORT = Preparation(
    folded=(Pair("conv1", "bn1"),),
    left={f"bn{number}": "it ran 2 times" for number in range(2, 7)},
    difference=1e-7,
    maps={},
    gates=None,
    configuration=Decision(SIMPLEST, {"channels_last": "as requested"}),
    precision="float32",
    shared=2**21,
    new=2**19,
)


def test_reasons_are_grouped_and_names_are_shortened() -> None:
    rows = dict(REPORT.rows())
    assert rows["batch-norms folded"] == "1 of 6"
    assert rows["not folded"] == "bn2, bn3, bn4 and 2 more: it ran 2 times"
    assert rows["channels-last"] == "no: as requested"
    assert rows["memory"] == "2.0 MiB shared, 0.5 MiB new"
    assert rows["gates flipped"] == "not counted: the model runs no ReLU"


def test_a_model_without_batch_norms_says_so() -> None:
    assert replace(REPORT, folded=(), left={}).folded_of_all == "none"


def test_the_repr_is_one_short_line_and_the_text_has_all_rows() -> None:
    moved = Deviation(0.25, 0.5, 0.999)
    report = replace(REPORT, maps={"saliency": moved}, graphs=("(2, 3, 8, 8) is replayed",) * 8)
    assert repr(report) == (
        "Preparation(batch-norms folded: 1 of 6, contiguous, float32; output differs by 1e-07)"
    )
    lines = str(report).splitlines()
    assert lines[0] == "Preparation"
    assert len(lines) == 1 + len(report.rows())
    assert "  saliency maps       relative error 0.25" in str(report)


def test_html_is_escaped() -> None:
    html = replace(REPORT, left={"<b>": "x"})._repr_html_()
    assert "&lt;b&gt;: x" in html
    assert "<b>" not in html
