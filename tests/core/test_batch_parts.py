"""Parts of batches: what belongs to some of the examples."""

from __future__ import annotations

import torch

from torchattr.core.batch_parts import (
    can_be_cut,
    part_of_arguments,
    part_of_methods,
    part_of_target,
)
from torchattr.core.targets import Neuron, bundle

SOME = slice(1, 3)


def test_targets() -> None:
    assert part_of_target(2, SOME) == 2
    assert part_of_target([1, 2, 3, 0], SOME) == [2, 3]
    assert part_of_target(torch.tensor([4, 5, 6]), SOME).tolist() == [5, 6]
    both = part_of_target(bundle([[1, 2, 3], 7]), SOME)
    assert both.indices == ([2, 3], 7)
    assert can_be_cut([1, 2, 3], 3)
    assert not can_be_cut([1, 2, 3], 4)
    assert not can_be_cut(lambda output: output[:, 0], 3)
    assert not can_be_cut(Neuron("0", lambda values: values[:, 0]), 3)
    assert can_be_cut(Neuron("0", 2), 3)


def test_arguments_and_options() -> None:
    rows, shared = torch.arange(4), torch.zeros(1)
    assert [*map(len, part_of_arguments([rows, shared], 4, SOME))] == [2, 1]
    options = part_of_methods({"saliency": {"mask": rows, "n": 3}}, 4, SOME)
    assert options["saliency"]["mask"].tolist() == [1, 2]
    assert options["saliency"]["n"] == 3
    assert part_of_methods(["saliency"], 4, SOME) == ["saliency"]
