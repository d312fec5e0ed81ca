"""The ledger's own sums, views and text."""

from __future__ import annotations

import pytest

from torchattr import Ledger
from torchattr.layers import LedgerEntry

ENTRIES = (
    LedgerEntry("fc", "linear", "bias", 0.5),
    LedgerEntry("conv1", "conv2d", "bias", -2.0),
    LedgerEntry("conv1", "conv2d", "stabiliser", 0.25),
    LedgerEntry("", "Tensor.add", "constant", 1.0),
    LedgerEntry("conv2", "conv2d", "dead", 0.125),
)
LEDGER = Ledger(10.0, 10.0625, ENTRIES)


def test_error_is_what_is_missing() -> None:
    assert LEDGER.error == 0.0625
    assert Ledger(1.0, 0.75, ()).error == 0.25


def test_by_reason_begins_with_the_inputs_and_sums_to_the_score() -> None:
    shares = LEDGER.by_reason()
    assert shares == {
        "inputs": 10.0625,
        "bias": -1.5,
        "stabiliser": 0.25,
        "constant": 1.0,
        "dead": 0.125,
        "error": 0.0625,
    }
    assert next(iter(shares)) == "inputs"
    assert list(shares)[-1] == "error"
    assert sum(shares.values()) == LEDGER.score


def test_by_layer_and_operation_are_sorted_by_magnitude() -> None:
    assert list(LEDGER.by_layer().items()) == [
        ("conv1", -1.75),
        ("", 1.0),
        ("fc", 0.5),
        ("conv2", 0.125),
    ]
    assert list(LEDGER.by_operation().items()) == [
        ("conv2d", -1.625),
        ("Tensor.add", 1.0),
        ("linear", 0.5),
    ]


def test_largest_entries() -> None:
    assert LEDGER.largest(2) == [ENTRIES[1], ENTRIES[3]]
    assert len(LEDGER.largest()) == 5
    assert LEDGER.largest(0) == []


def test_table() -> None:
    assert LEDGER.table(2).splitlines() == [
        "score                 +10",
        "inputs           +10.0625",
        "bias                 -1.5",
        "stabiliser          +0.25",
        "constant               +1",
        "dead               +0.125",
        "error             +0.0625",
        "bias                   -2  conv2d in conv1",
        "constant               +1  Tensor.add",
    ]
    assert len(LEDGER.table().splitlines()) == 7 + 5
    assert len(LEDGER.table(0).splitlines()) == 7


def test_repr() -> None:
    assert repr(LEDGER) == (
        "Ledger(score 10: inputs 10.06, bias -1.5, stabiliser 0.25, constant 1, dead 0.125,"
        " error 0.0625)"
    )
    assert repr(Ledger(1.0, 1.0, ())) == "Ledger(score 1: inputs 1, error 0)"


def test_entries_in_another_unit() -> None:
    assert ENTRIES[1].scaled(0.5) == LedgerEntry("conv1", "conv2d", "bias", -1.0)


def test_is_immutable() -> None:
    with pytest.raises(AttributeError):
        LEDGER.score = 1.0  # type: ignore[misc]
