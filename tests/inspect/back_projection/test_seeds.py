"""Chosen maps of each example, and the signal that starts in them."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from helpers import refused

from torchattr.errors import InputError, InputTypeError, ShapeError
from torchattr.inspect.back_projection.seeds import Seeds

VALUES = torch.tensor(
    [
        [[[1.0, 5.0], [2.0, 3.0]], [[9.0, 0.0], [0.0, 0.0]]],
        [[[0.0, 0.0], [0.0, 8.0]], [[4.0, 4.0], [4.0, 7.0]]],
    ]
)
"""Two examples of two maps of 2 × 2."""


def test_the_strongest_element_of_each_map() -> None:
    seeds = Seeds.chosen(VALUES, None, "max")
    assert seeds.channels.tolist() == [[0, 1], [0, 1]]
    assert seeds.activations.tolist() == [[5, 9], [8, 7]]
    assert seeds.positions is not None
    assert seeds.positions.tolist() == [[[0, 1], [0, 0]], [[1, 1], [1, 1]]]


def test_the_strongest_maps_of_each_example_come_first() -> None:
    assert Seeds.chosen(VALUES, "top2", "max").channels.tolist() == [[1, 0], [0, 1]]
    # Whole maps are ranked by their mean.
    assert Seeds.chosen(VALUES, "top1", "map").channels.tolist() == [[0], [1]]


def test_a_position_may_count_from_the_end() -> None:
    seeds = Seeds.chosen(VALUES, 1, (-1, 0))
    assert seeds.activations.tolist() == [[0], [4]]
    assert seeds.positions is not None
    assert seeds.positions.tolist() == [[[1, 0]], [[1, 0]]]


def test_a_signal_is_zero_but_at_its_seeds() -> None:
    seeds = Seeds.chosen(VALUES, [1, 0], "max")
    signal = seeds.columns(1, 2).signal(VALUES, 2)
    assert signal.shape == (4, 2, 2, 2)
    expected = torch.zeros(4, 2, 2, 2)
    expected[0, 0, 0, 1], expected[1, 0, 1, 1] = 5, 8
    assert torch.equal(signal, expected)


def test_a_whole_map_keeps_its_values() -> None:
    signal = Seeds.chosen(VALUES, 1, "map").signal(VALUES, 1)
    assert torch.equal(signal[:, 1], VALUES[:, 1])
    assert not signal[:, 0].any()


@pytest.mark.parametrize(
    ("error", "channels", "start"),
    [
        (InputError, 2, "max"),
        (InputError, "top3", "max"),
        (InputError, [], "max"),
        (InputError, 0, "best"),
        (InputTypeError, [True], "max"),
        (ShapeError, 0, (0, 2)),
        (ShapeError, 0, (0,)),
    ],
)
def test_what_cannot_be_chosen_is_refused(error: type, channels: Any, start: Any) -> None:
    with refused(error):
        Seeds.chosen(VALUES, channels, start)
