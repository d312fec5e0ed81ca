"""What belongs to one example of a batch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor

import torchattr as ta
from torchattr.core.inputs import Inputs
from torchattr.core.targets import bundle, each
from torchattr.methods._relevance.example import ExampleAlone

SECOND = ExampleAlone(1, 3)
OUTPUT = torch.arange(12.0).view(3, 4)
CLASSES = torch.tensor([0, 3, 1])


def test_inputs_keep_their_form() -> None:
    found = SECOND.of_inputs(Inputs((OUTPUT, OUTPUT[:, :1]), True))
    assert found.is_tuple
    assert [tensor.tolist() for tensor in found.tensors] == [[[4, 5, 6, 7]], [[4]]]


@dataclass
class Further:
    scale: Tensor
    table: Tensor


def test_arguments_are_cut_also_inside_of_containers() -> None:
    table = torch.ones(2, 3)
    given = (OUTPUT, {"scale": OUTPUT, "name": "x"}, [OUTPUT, 2.0], Further(OUTPUT, table), table)
    whole, named, listed, further, other = SECOND.of_arguments(given)
    for own in (whole, named["scale"], listed[0], further.scale):
        assert own.tolist() == [[4, 5, 6, 7]]
    assert (named["name"], listed[1]) == ("x", 2.0)
    assert further.table is other is table
    assert given[3].scale is OUTPUT


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        (2, 2),
        ((2,), (2,)),
        ([0, 3, 1], [3]),
        ([(0,), (3,), (1,)], [(3,)]),
        (CLASSES, torch.tensor([3])),
        (CLASSES.numpy(), torch.tensor([3])),
        (torch.tensor([2]), torch.tensor([2])),
        (None, None),
    ],
)
def test_targets(target: Any, expected: Any) -> None:
    assert SECOND.of_target(target) == expected


def test_several_targets() -> None:
    (best, second), _ = each(ta.TopK(2), OUTPUT)
    found = SECOND.of_target(bundle([best, 1, second]))
    assert [int(one) for one in found.indices] == [3, 1, 2]


def test_functions_see_a_batch_and_give_the_value_of_the_example() -> None:
    def own(output: Tensor) -> Tensor:
        return output[torch.arange(3), CLASSES]

    assert SECOND.of_target(own)(OUTPUT[1:2]).tolist() == [7]
    neuron = SECOND.of_target(ta.Neuron("0", lambda values: own(values["a"]) * values["b"]))
    given = {"a": OUTPUT[1:2], "b": torch.tensor(2.0)}
    assert neuron.selector(given).tolist() == [14]
    assert SECOND.of_target(ta.Neuron("0", 2)) == ta.Neuron("0", 2)


def test_targets_with_choices_have_those_of_the_example() -> None:
    (fixed,), _ = each(ta.Difference([0, 3, 1], 2), OUTPUT)
    assert SECOND.of_target(fixed)(OUTPUT[1:2]).tolist() == [1]
