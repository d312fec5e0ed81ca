"""Evaluating perturbed copies: the order of the scores, the chunk size, the refusals."""

from __future__ import annotations

import pytest
import torch
from helpers import assert_same, refused
from peers import Counting, classifier, rows

import torchattr as ta
from torchattr.core import device_faults
from torchattr.core.inputs import Inputs, as_inputs
from torchattr.errors import DeviceLost, InputTypeError
from torchattr.methods._perturbation.evaluate_copies import (
    check_at_once,
    check_incremental,
    evaluate_copies,
)
from torchattr.methods._perturbation.perturbation import Perturbation
from torchattr.methods._perturbation.scores import NotPerExample, TargetScores
from torchattr.methods._perturbation.segments import as_segments


def test_values_are_in_the_order_of_the_masks() -> None:
    x = rows(2)
    given = as_inputs(x)
    scores = TargetScores(lambda v: v.sum(1), given, None, ())
    values, _ = evaluate_copies(
        Perturbation(as_inputs(x), [0], as_segments(Inputs((x,), True), None)),
        scores,
        at_once=4,
        progress=None,
    )
    assert values.shape == (6, 2, 1)
    assert_same((scores.clean - values)[:, :, 0].T, x, 1e-12)


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
    own = torch.arange(12).reshape(2, 6)
    with refused(NotPerExample, "feature_mask", "1 values"):
        ta.FeatureAblation(lambda v: v.sum()).attribute(x, feature_mask=own)


def test_the_number_at_once_is_checked() -> None:
    check_at_once(None)
    check_at_once(1)
    with refused(ta.InputError, "at least 1", "-2"):
        check_at_once(-2)
    with refused(InputTypeError, "bool"):
        check_at_once(True)


@pytest.mark.parametrize("way", ["yes", None, 1, "True"])
def test_how_to_recompute_is_checked(way: object) -> None:
    with refused(ta.InputError, "incremental", "'auto'", repr(way)):
        check_incremental(way)


@pytest.mark.parametrize("incremental", [False, True])
def test_a_gpu_that_is_lost_among_the_copies_is_named_at_once(
    monkeypatch: pytest.MonkeyPatch, incremental: bool
) -> None:
    monkeypatch.setattr(device_faults, "_reported", [])
    model = Counting(classifier(), limit=3, error=RuntimeError("CUDA error: misaligned address"))
    with refused(DeviceLost, "misaligned address"):
        ta.FeatureAblation(model).attribute(rows(), target=1, incremental=incremental)
    assert sum(count > 3 for count in model.seen) == 1
