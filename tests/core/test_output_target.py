"""Targets that are functions of the output, and what fixes them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import torchattr as ta
from torchattr.core.output_target import (
    Entries,
    OutputTarget,
    as_classes,
    class_rows,
    listed,
)
from torchattr.core.targets import Classes, each, names_functions, select_scores
from torchattr.errors import InputTypeError, TargetError

OUTPUT = torch.tensor([[1.0, 3.0, 2.0], [5.0, 2.0, 4.0]])


@dataclass(frozen=True, eq=False, repr=False)
class Squared(OutputTarget):
    """The square of the predicted score, times a weight for each example."""

    weights: Tensor

    def entries(self, output: Tensor, count: int) -> Entries:
        return self.weights, torch.zeros(count, dtype=torch.long)

    def decide(self, output: Tensor, *entries: Tensor) -> Entries:
        return entries[0], output.argmax(1)

    def value(self, output: Tensor, *entries: Tensor) -> Tensor:
        return entries[0] * output[torch.arange(len(output)), entries[1]] ** 2


SQUARED = Squared(torch.tensor([1.0, 2.0]))


def test_the_unchanged_output_decides() -> None:
    fixed = SQUARED.fixed(OUTPUT)
    assert SQUARED(OUTPUT).tolist() == [9, 50]
    assert fixed(OUTPUT).tolist() == [9, 50]
    assert fixed(-OUTPUT + torch.tensor([0.0, 0, 9])).tolist() == [9, 50]


def test_each_fixes_targets_also_among_classes() -> None:
    (fixed,), several = each(SQUARED, OUTPUT)
    assert not several
    assert select_scores(OUTPUT, fixed).tolist() == [9, 50]
    (first, second), several = each(Classes(SQUARED, 1), OUTPUT)
    assert several
    assert second == 1
    assert select_scores(OUTPUT, first).tolist() == [9, 50]
    assert each(fixed, OUTPUT)[0] == [fixed]


def test_a_fixed_target_follows_its_examples() -> None:
    fixed = SQUARED.fixed(OUTPUT)
    assert fixed.of_rows(slice(1, 2))(OUTPUT[1:]).tolist() == [50]
    twice = fixed.with_entries(lambda entry: entry.repeat(2))
    assert twice(torch.cat([OUTPUT, 2 * OUTPUT])).tolist() == [9, 50, 36, 200]


def test_functions_are_told_from_classes() -> None:
    assert names_functions(SQUARED)
    assert names_functions(SQUARED.fixed(OUTPUT))
    assert names_functions(Classes(1, SQUARED))
    assert not any(map(names_functions, (None, 1, [1, 2], Classes(1, 2), len)))


@pytest.mark.parametrize("category", [1, [1, 0], (1, 0), torch.tensor([1, 0]), np.array([1, 0])])
def test_classes_of_rows(category: Any) -> None:
    expected = [1, 1] if isinstance(category, int) else [1, 0]
    assert class_rows(category, OUTPUT, 2, "category").tolist() == expected


@pytest.mark.parametrize(
    ("category", "message"),
    [
        (3, r"category 3 is out of range.*\(2, 3\); allowed are 0 to 2$"),
        (-1, r"category -1 is out of range.*0 to 2; the class that -1 counts to .* is 2"),
        ([0, 1, 2], r"category has 3 entries for a batch of 2"),
        (torch.zeros(2, 1).long(), r"got shape \(2, 1\)"),
    ],
)
def test_classes_that_do_not_fit_are_refused(category: Any, message: str) -> None:
    with pytest.raises(TargetError, match=message):
        class_rows(category, OUTPUT, 2, "category")


@pytest.mark.parametrize("category", ["cat", 1.5, True, [0.5], torch.zeros(2), None, object()])
def test_what_is_no_class_is_refused(category: Any) -> None:
    with pytest.raises(InputTypeError, match="category must be a class index"):
        as_classes(category, "category")


def test_an_output_without_classes_is_refused() -> None:
    with pytest.raises(TargetError, match=r"needed is \(N, classes, ...\)"):
        class_rows(0, torch.zeros(2), 2, "category")


def test_repr_shows_tensors_by_their_shape() -> None:
    assert repr(SQUARED) == "Squared(weights=<Tensor (2,)>)"
    assert repr(ta.Segment(3)) == "Segment(category=3)"
    assert repr(ta.Loss(torch.sum, 1)) == "Loss(function=sum, labels=1)"


def test_many_examples_are_listed_in_short() -> None:
    assert listed(torch.tensor([False, True])) == "example 1"
    assert listed(torch.ones(10)) == "examples 0, 1, 2, 3, 4, 5, 6, 7 and 2 more"


def test_what_was_decided_in_inference_mode_may_enter_a_graph() -> None:
    with torch.inference_mode():
        fixed = Squared(torch.tensor([1.0, 2.0])).fixed(OUTPUT)
    output = OUTPUT.clone().requires_grad_()
    fixed(output).sum().backward()
    assert output.grad is not None
    assert output.grad.count_nonzero() == 2
