"""The scores of a target, for a batch and for copies of it."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from helpers import assert_same, refused
from peers import classifier, rows

import torchattr as ta
from torchattr.core.inputs import as_inputs
from torchattr.core.outputs import activated_by
from torchattr.methods._perturbation.scores import NotPerExample, TargetScores, require_copies


def test_clean_values_and_those_of_copies() -> None:
    model, x = classifier(), rows()
    scores = TargetScores(model, as_inputs(x), [0, 2, 1], ())
    expected = model(x).detach()[range(3), [0, 2, 1]]
    assert scores.clean.shape == (3, 1)
    assert not scores.several
    assert scores.per_example
    assert_same(scores.clean[:, 0], expected, 1e-12)
    again = scores.of([torch.cat([x, x])], 2)
    assert again.shape == (2, 3, 1)
    assert_same(again[1, :, 0], expected, 1e-12)


def test_the_target_is_fixed_by_the_batch() -> None:
    model, x = classifier(), rows()
    scores = TargetScores(model, as_inputs(x), ta.TopK(2), ())
    assert scores.several
    assert scores.clean.shape == (3, 2)
    changed = scores.of([-x])[0]
    best = model(x).topk(2).indices
    assert_same(changed, model(-x).detach().gather(1, best), 1e-12)
    other = TargetScores(model, as_inputs(-x), scores.target, ())
    assert_same(other.clean, changed, 1e-12)


def test_a_neuron() -> None:
    model, x = classifier(), rows()
    scores = TargetScores(model, as_inputs(x), ta.Neuron("0", 5), ())
    assert_same(scores.clean[:, 0], model[0](x).detach()[:, 5], 1e-12)
    assert scores.target == ta.Neuron("0", 5)
    assert scores.of([torch.cat([x, x])], 2).shape == (2, 3, 1)


def test_numbers_count_as_tensors() -> None:
    assert TargetScores(lambda x: 2.5, as_inputs(rows()), None, ()).clean.tolist() == [[2.5]]
    whole = TargetScores(lambda x: 7, as_inputs(rows()), None, ())
    assert whole.clean.dtype == torch.int64
    assert not whole.per_example


def test_copies_of_what_aggregates_are_refused() -> None:
    scores = TargetScores(lambda x: x.sum(0), as_inputs(rows(2)), None, ())
    assert not scores.per_example
    assert scores.of([rows(2)]).shape == (1, 6, 1)
    with refused(NotPerExample, "(6,)", "batch of 4"):
        scores.of([rows(4)], 2)
    require_copies(torch.zeros(5, 2), 5)
    with refused(NotPerExample, "batch of 5"):
        require_copies(torch.zeros(()), 5)


@pytest.mark.parametrize("classes", [1, 3])
@pytest.mark.parametrize("squeeze", [lambda s: s.squeeze(), lambda s: s.squeeze(0)])
def test_a_squeezed_example_is_a_row(squeeze: Any, classes: int) -> None:
    model, x = classifier(), rows(1)
    scores = TargetScores(lambda v: squeeze(model(v)[:, :classes]), as_inputs(x), None, ())
    assert scores.per_example
    assert scores.repeatable
    assert_same(scores.clean[:, 0], model(x).detach()[:, :classes].max(1).values, 1e-12)
    for count in (1, 2, 5):
        found = scores.of([torch.cat([x] * count)], count)
        assert_same(found, scores.clean.expand(count, 1, 1), 1e-12)


def test_what_aggregates_has_a_row_for_each_value() -> None:
    for forward in (lambda v: v[:1], lambda v: v.sum(0).reshape(2, 3), lambda v: v.prod(0)):
        scores = TargetScores(forward, as_inputs(rows()), None, ())
        assert scores.clean.shape == (6, 1)
        assert not scores.per_example
        assert not scores.repeatable
        assert_same(scores.clean[:, 0], forward(rows()).reshape(6), 1e-12)


def test_as_many_values_as_examples_are_still_no_rows() -> None:
    scores = TargetScores(lambda v: v[:1, :3], as_inputs(rows(3)), None, ())
    assert scores.clean.shape == (3, 1)
    assert not scores.per_example


@pytest.mark.parametrize("target", [None, 1])
def test_what_is_made_of_scores_is_made_of_their_rows(target: Any) -> None:
    model, x = classifier(), rows(1)
    then = activated_by("softmax")
    expected = TargetScores(model, as_inputs(x), target, (), None, then)
    assert_same(
        expected.clean[0],
        model(x).detach().softmax(1).max(1).values
        if target is None
        else model(x).detach().softmax(1)[:, 1],
        1e-12,
    )
    squeezed = TargetScores(lambda v: model(v).squeeze(), as_inputs(x), target, (), None, then)
    assert_same(squeezed.clean, expected.clean, 1e-12)
    for count in (1, 3):
        assert_same(squeezed.of([torch.cat([x] * count)], count)[-1], expected.clean, 1e-12)


def test_numbers_are_made_something_of_like_tensors() -> None:
    scores = TargetScores(lambda v: 2.0, as_inputs(rows(1)), None, (), None, torch.sigmoid)
    assert_same(scores.clean, torch.tensor([[2.0]]).double().sigmoid(), 1e-12)
    assert_same(scores.of([rows(1)])[0], scores.clean, 1e-12)
