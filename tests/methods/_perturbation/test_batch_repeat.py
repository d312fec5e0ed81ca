"""Repeating a batch with its per-example arguments."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from helpers import assert_same, noise
from torch import nn

import torchattr as ta
from torchattr.methods._perturbation.batch_repeat import (
    Copies,
    repeat_arguments,
    repeat_rows,
    repeat_target,
    several,
)


def test_rows_are_repeated_in_blocks() -> None:
    assert repeat_rows(torch.tensor([[1, 2], [3, 4]]), 2).tolist() == [[1, 2], [3, 4]] * 2


def test_only_arguments_with_rows_are_repeated() -> None:
    table = torch.zeros(5, 3)
    found = repeat_arguments((torch.arange(2), table, "mode", torch.tensor(2.0)), 3, 2)
    assert found[0].tolist() == [0, 1] * 3
    assert found[1] is table
    assert found[2:] == ("mode", torch.tensor(2.0))
    assert repeat_arguments((table,), 1, 5) == (table,)


def test_targets_with_entries_for_examples_are_repeated() -> None:
    assert repeat_target(3, 2) == 3
    assert repeat_target((1, 2), 2) == (1, 2)
    assert repeat_target(None, 2) is None
    assert repeat_target([1, 2], 2) == [1, 2, 1, 2]
    assert repeat_target([(1, 0), (2, 0)], 2) == [(1, 0), (2, 0)] * 2
    assert repeat_target(torch.tensor([1, 2]), 2).tolist() == [1, 2, 1, 2]
    assert repeat_target(torch.tensor(4), 2).tolist() == 4
    neuron = ta.Neuron("0", 1)
    assert repeat_target(neuron, 2) is neuron
    bundled = repeat_target(several([[1, 2], 5]), 2)
    assert bundled.indices == ([1, 2, 1, 2], 5)


def test_a_callable_is_asked_block_by_block() -> None:
    seen = []

    def target(output: torch.Tensor) -> torch.Tensor:
        seen.append(len(output))
        return output[:, 0]

    output = torch.arange(12.0).reshape(6, 2)
    assert torch.equal(repeat_target(target, 3)(output), output[:, 0])
    assert seen == [2, 2, 2]


SIDE_BY_SIDE = Copies(2, side_by_side=True)


@pytest.mark.parametrize("side_by_side", [False, True])
def test_a_selector_of_a_neuron_is_asked_copy_by_copy(side_by_side: bool) -> None:
    own = torch.tensor([1, 0])

    def selector(values: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
        rows, state = values
        return rows[torch.arange(2), own] * state.sum()

    copies = Copies(3, side_by_side)
    rows, state = torch.tensor([[1.0, 2.0], [3.0, 4.0]]), torch.tensor([2.0])
    found: Any = copies.of_target(ta.Neuron("0", selector))
    given = (copies.of_rows(rows), state)
    assert found.selector(given).tolist() == copies.of_rows(selector((rows, state))).tolist()
    assert copies.of_target(ta.Neuron("0", (1, 2))) == ta.Neuron("0", (1, 2))


NEURON = ta.Neuron("0", lambda values: values[torch.arange(3), torch.tensor([1, 2, 0])])


@pytest.mark.parametrize(
    ("method", "options"),
    [
        (ta.IntegratedGradients, {"n_steps": 4}),
        (ta.IntegratedGradients, {"n_steps": 4, "internal_batch_size": 6}),
        (ta.FeatureAblation, {"perturbations_per_eval": 3}),
        (ta.GradientShap, {"baselines": torch.zeros(1, 4).double(), "n_samples": 3}),
    ],
)
def test_neurons_by_example_in_copies(method: Any, options: Any) -> None:
    model: Any = nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2)).double()
    x = noise(3, 4)
    found = method(model).attribute(x, target=NEURON, **options)
    of_units = method(model[0]).attribute(x, target=[1, 2, 0], **options)
    assert_same(found, of_units, 1e-12)


def test_copies_of_an_example_may_follow_each_other() -> None:
    assert (
        SIDE_BY_SIDE.of_rows(torch.tensor([[1, 2], [3, 4]])).tolist() == [[1, 2]] * 2 + [[3, 4]] * 2
    )
    assert SIDE_BY_SIDE.of_target([5, 6]) == [5, 5, 6, 6]
    assert SIDE_BY_SIDE.of_target(torch.tensor([5, 6])).tolist() == [5, 5, 6, 6]
    assert SIDE_BY_SIDE.of_target(several([[1, 2], 5])).indices == ([1, 1, 2, 2], 5)
    assert SIDE_BY_SIDE.of_arguments((torch.arange(2), "mode"), 2)[0].tolist() == [0, 0, 1, 1]
    rows = torch.arange(6)
    for copies in (Copies(3), Copies(3, side_by_side=True)):
        assert [one.tolist() for one in copies.split(copies.of_rows(rows))] == [rows.tolist()] * 3


def test_targets_of_copies_that_follow_each_other() -> None:
    seen = []

    def target(output: torch.Tensor) -> torch.Tensor:
        seen.append(output[:, 0].tolist())
        return output[:, 0] + torch.tensor([0.0, 100, 200])

    output = torch.arange(12.0).reshape(6, 2)
    found = SIDE_BY_SIDE.of_target(target)(output)
    assert seen == [[0, 4, 8], [2, 6, 10]]
    assert found.tolist() == [0, 2, 104, 106, 208, 210]
    fixed = ta.Difference([0, 1], 2).fixed(torch.zeros(2, 3))
    both = SIDE_BY_SIDE.of_target(fixed)(torch.tensor([[5.0, 3, 1]]).expand(4, 3))
    assert both.tolist() == [4, 4, 2, 2]
