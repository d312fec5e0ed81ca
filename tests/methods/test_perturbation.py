"""The perturbation engine: what is replaced, in what types, and how much at once."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from helpers import assert_same, noise, refused
from peers import Counting, classifier, rows
from torch import Tensor
from tqdm import tqdm

import torchattr as ta
from torchattr.errors import InputTypeError
from torchattr.inputs import Inputs, as_inputs
from torchattr.methods.features import Masks
from torchattr.methods.perturbation import Perturbation, attribute_features, check_at_once
from torchattr.methods.scores import NotPerExample, Scores
from torchattr.methods.segments import Segments, single_elements


def of(x: Tensor, baseline: Any = 0) -> Perturbation:
    return Perturbation(as_inputs(x, differentiable=False), [baseline], single_elements([x]))


def test_copies_come_one_after_another() -> None:
    x = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    (found,) = of(x, torch.tensor([[7.0, 8.0]])).perturbed(0, 2)
    assert found.tolist() == [[7, 2], [7, 4], [1, 8], [3, 8]]


def test_an_input_that_no_feature_touches_is_copied_as_it_is() -> None:
    a, b = rows(2), noise(2, 3)
    both = Perturbation(Inputs((a, b), True), [0, 0], single_elements([a, b]))
    changed, untouched = both.perturbed(0, 2)
    assert untouched.shape == (4, 3)
    assert torch.equal(untouched, torch.cat([b, b]))
    assert changed.eq(0).sum() == 4


@pytest.mark.parametrize(
    ("kind", "baseline", "expected"),
    [
        (torch.float16, 0.5, torch.float16),
        (torch.float32, torch.zeros(1).double(), torch.float32),
        (torch.float64, 1, torch.float64),
        (torch.int64, 1, torch.int64),
        (torch.bool, 0, torch.bool),
        (torch.int32, 0.5, torch.float32),
    ],
)
def test_types_are_those_of_the_input(
    kind: torch.dtype, baseline: Any, expected: torch.dtype
) -> None:
    (found,) = of(torch.ones(2, 3).to(kind), baseline).perturbed(0, 2)
    assert found.dtype == expected


def test_values_are_in_the_order_of_the_masks() -> None:
    x = rows(2)
    given = as_inputs(x)
    scores = Scores(lambda v: v.sum(1), given, None, ())
    with tqdm(disable=True) as bar:
        values = of(x).values(scores, 4, bar)
    assert values.shape == (6, 2, 1)
    assert_same((scores.clean - values)[:, :, 0].T, x, 1e-12)


def test_shares_mix_the_input_with_the_baseline() -> None:
    class Shares(Masks):
        def __len__(self) -> int:
            return 3

        def masks(self, start: int, stop: int) -> list[Tensor | None]:
            return [torch.tensor([0.0, 0.25, 1.0])[start:stop].reshape(-1, 1, 1)]

    x, baseline = torch.tensor([[4.0], [8.0]]).half(), torch.tensor([[0.0], [-8.0]])
    (found,) = Perturbation(as_inputs(x), [baseline], Shares()).perturbed(0, 3)
    assert found.dtype == torch.float16
    assert found.flatten().tolist() == [4, 8, 3, 4, 0, -8]


def test_results_do_not_depend_on_the_batching() -> None:
    model, x = classifier(), rows()
    ablation = ta.FeatureAblation(model)
    one = ablation.attribute(x, target=1, perturbations_per_eval=1)
    for at_once in (2, 4, 5, 6, 7, None):
        again = ablation.attribute(x, target=1, perturbations_per_eval=at_once)
        assert_same(again, one, 1e-14 * 10)


def test_the_default_is_bounded_on_a_cpu() -> None:
    model = Counting(classifier())
    many = torch.arange(6)
    ta.FeatureAblation(model).attribute(rows(20), target=1, feature_mask=many)
    assert model.seen == [20, 60, 60]


def test_masks_of_single_examples_need_rows_for_them() -> None:
    x = rows(2)
    features = Segments([x.shape], [torch.arange(12).reshape(2, 6)])
    options: Any = {"key": None, "at_once": None, "progress": None}
    with refused(NotPerExample, "feature_mask", "1 values"):
        attribute_features(lambda v: v.sum(), as_inputs(x), [0], features, None, None, **options)


def test_the_number_at_once_is_checked() -> None:
    check_at_once(None)
    check_at_once(1)
    with refused(ta.InputError, "at least 1", "-2"):
        check_at_once(-2)
    with refused(InputTypeError, "bool"):
        check_at_once(True)
