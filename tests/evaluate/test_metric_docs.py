"""What the docstring of each metric, and the page about all of them, must say."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import Any

import pytest
from test_bad_input import ALL, ELSEWHERE

import torchattr
import torchattr.evaluate as ev

METRICS = sorted({*ALL, *ELSEWHERE})
PAGE = Path(__file__).parents[2] / "docs" / "evaluation.md"

NO_DIRECTION = {
    "cell_shares": "higher is better in the right cell only, as it says",
    "map_similarity": "two maps may be meant to be alike, or not",
    "robustness": "the directions of its measures are in their own docstrings",
}

DIRECTION = re.compile(
    r"the (lower|higher|larger|smaller|faster|nearer)\b.{,90}?, the (better|simpler|sparser|more)\b"
    r"|(lower|higher) is better|1 the best",
    re.IGNORECASE,
)

AS_QUANTUS = {
    "cell_shares": "Focus is the sum of some",
    "faithfulness_correlation": "equal up to draws",
    "localisation_auc": "equal",
    "robustness": "what differs is in the docstrings of its measures",
}
"""Metrics that Quantus computes alike, or whose differences are said elsewhere."""


def said_by(name: str) -> str:
    return " ".join((inspect.getdoc(getattr(ev, name)) or "").split())


@pytest.mark.parametrize("name", [name for name in METRICS if name not in NO_DIRECTION])
def test_a_metric_says_where_it_is_better(name: str) -> None:
    assert DIRECTION.search(said_by(name)), said_by(name)


def measured_for_quantus() -> set[str]:
    """The metrics that the classes under Quantus' names call."""
    folder = Path(torchattr.__file__).parent / "quantus"
    sources = "".join(path.read_text("utf-8") for path in folder.glob("*.py"))
    return set(re.findall(r"evaluate\.(\w+)", sources)) & set(METRICS)


def test_a_metric_says_what_differs_from_quantus() -> None:
    missing = {name for name in measured_for_quantus() if "Quantus" not in said_by(name)}
    assert missing <= set(AS_QUANTUS)


@pytest.mark.parametrize("name", METRICS)
def test_the_page_lists_a_metric(name: str) -> None:
    assert f"`{name}`" in PAGE.read_text("utf-8")


def test_the_page_points_where_the_docstrings_do() -> None:
    """A row that says neither up nor down belongs to a metric without a direction."""
    rows: dict[str, Any] = dict(
        re.findall(r"^\| `(\w+)` \| ([^|]+) \|", PAGE.read_text("utf-8"), re.MULTILINE)
    )
    assert set(rows) <= set(METRICS)
    for name, better in rows.items():
        assert better in ("0", "–") or re.search("[↑↓]", better), name
        if better.endswith("↓") and "," not in better:
            assert re.search("lower|smaller|faster", said_by(name)), name
