"""Repeating a batch with its per-example arguments."""

from __future__ import annotations

import torch

import torchattr as ta
from torchattr.methods._perturbation.batch_repeat import (
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
