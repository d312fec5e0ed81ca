"""Where a score went, as a part of a panel."""

from __future__ import annotations

from typing import Any

import pytest

from torchattr.layers import LedgerEntry
from torchattr.methods import Ledger
from torchattr.web import LedgerCard

ENTRIES = (
    LedgerEntry("stem", "conv2d", "bias", -0.5),
    LedgerEntry("stage", "conv2d", "bias", 0.25),
    LedgerEntry("", "cat", "constant", 1.0),
    LedgerEntry("head", "linear", "stabiliser", 0.125),
)


def described(card: LedgerCard) -> dict[str, Any]:
    # Neither the picture nor stored items matter to a ledger.
    return card.describe(None, str)  # type: ignore[arg-type]


def test_shares_are_those_of_the_ledger() -> None:
    ledger = Ledger(4.0, 3.0, ENTRIES)
    shares = LedgerCard(ledger).shares()
    assert shares == [
        ("inputs", 3.0),
        ("constants in cat", 1.0),
        ("bias of conv2d", -0.25),
        ("lost: ε of linear", 0.125),
        ("error", 0.125),
    ]
    assert sum(share for _, share in shares) == ledger.score


def test_small_causes_are_summed_up() -> None:
    shares = dict(LedgerCard(Ledger(4.0, 3.0, ENTRIES), most=1).shares())
    assert shares["2 other causes"] == -0.125
    assert sum(shares.values()) == 4.0


def test_the_page_gets_bars_on_both_sides_of_zero_and_a_table() -> None:
    part = described(LedgerCard(Ledger(4.0, 3.0, ENTRIES), "Title", most=3))
    assert (part["kind"], part["title"]) == ("ledger", "Title")
    assert "sums to 3, 75.0 % of the score 4." in part["note"]
    assert (part["bars"]["smallest"], part["bars"]["largest"]) == (-0.25, 3.0)
    assert part["table"]["title"] == "The largest entries"
    assert part["table"]["rows"] == [
        ["constant", "cat", "", 1.0, "25.0 %"],
        ["bias", "conv2d", "stem", -0.5, "-12.5 %"],
        ["bias", "conv2d", "stage", 0.25, "6.2 %"],
    ]


@pytest.mark.parametrize("score", [0.0, float("nan")])
def test_a_score_without_shares_is_shown_all_the_same(score: float) -> None:
    part = described(LedgerCard(Ledger(score, score, ENTRIES)))
    assert part["table"]["title"] == "All entries"
    assert len(part["bars"]["values"]) == 5
