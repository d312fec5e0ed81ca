"""What the path methods have in common: batches, deltas, and the title of their messages."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from helpers import assert_same, refused
from peers import Counting, classifier, mixed, rows

import torchattr as ta
from torchattr.core.inputs import as_inputs
from torchattr.errors import InputTypeError, TorchattrWarning
from torchattr.methods import PathAttribution
from torchattr.methods.path_attribution import check_internal_batch

METHODS = [ta.IntegratedGradients, ta.GradientShap]


class Midpoint(PathAttribution):
    """The gradient halfway from zero, of as many equal copies as asked for."""

    def attribute(self, inputs: Any, target: Any = None, copies: int = 1) -> Any:
        given = as_inputs(inputs)
        scores = self._scores(given, target, ())

        def evaluate(first: int, last: int) -> list[Any]:
            points = [(x / 2).repeat(last - first, 1) for x in given.tensors]
            grads = self._gradients(points, (), scores, given.batch_size)
            return [grad.reshape(last - first, *inputs.shape).sum(0) for grad in grads]

        sums = self._summed(copies, evaluate, scores, given, None, "copy")
        return given.restore([total / copies for total in sums])


def test_a_subclass_needs_only_its_points() -> None:
    model, x = classifier(), rows()
    found = Midpoint(model).attribute(x, 1, copies=100)
    assert_same(found, ta.Saliency(model).attribute(x / 2, 1, abs=False), 1e-12)
    assert repr(Midpoint(model, False)) == "Midpoint(Sequential, multiply_by_inputs=False)"
    counting = Counting(model, limit=5)
    Midpoint(counting).attribute(x, 1, copies=4)
    assert counting.seen[-4:] == [3, 3, 3, 3]


def test_messages_name_the_method() -> None:
    for method in (*METHODS, Midpoint):
        with refused(ta.NoRuleMatched, method.__name__, "gelu"):
            method(classifier(), rules={"gelu": "guided"}).attribute(rows(), target=1)


@pytest.mark.parametrize("method", METHODS)
def test_the_delta_is_the_sum_minus_the_rise(method: Any) -> None:
    inputs, starts = (rows(), rows()[:, :4]), (0.5, rows(1, 4)[:, :4])
    maps = method(mixed).attribute(inputs, starts, target=[0, 2, 1])
    found = method(mixed).compute_convergence_delta(maps, starts, inputs, [0, 2, 1])
    ends, begins = mixed(*inputs), mixed(torch.full((3, 6), 0.5).double(), starts[1].expand(3, 4))
    rise = (ends - begins)[range(3), [0, 2, 1]]
    assert_same(found, maps[0].sum(1) + maps[1].sum(1) - rise, 1e-12)


def test_internal_batches_are_checked() -> None:
    check_internal_batch(None, 9, "step")
    check_internal_batch(9, 9, "step")
    with pytest.warns(TorchattrWarning, match="smaller than the batch of 9, so each step"):
        check_internal_batch(8, 9, "step")
    with refused(InputTypeError, "internal_batch_size", "an int or None", "float"):
        check_internal_batch(8.0, 9, "step")
    with refused(ta.InputError, "internal_batch_size", "at least 1"):
        check_internal_batch(0, 9, "step")
