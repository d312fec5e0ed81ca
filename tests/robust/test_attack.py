"""Losses as targets, and masks."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from helpers import assert_same, noise, refused

from torchattr.core.inputs import as_inputs
from torchattr.errors import InputTypeError, ShapeError, TargetError
from torchattr.robust import cross_entropy
from torchattr.robust.attack import as_masks, loss_target

SCORES = noise(3, 4)


def test_cross_entropy_is_pytorchs() -> None:
    labels = [1, 0, 3]
    expected = F.cross_entropy(SCORES, torch.tensor(labels), reduction="none")
    assert_same(cross_entropy(SCORES, labels), expected, 1e-12)
    dense = noise(2, 4, 3)
    expected = -dense.log_softmax(1)[:, 2, 1]
    assert_same(cross_entropy(dense, (2, 1)), expected, 1e-12)


def test_a_loss_of_the_batch_is_divided_among_its_examples() -> None:
    inputs = as_inputs(noise(3, 2))
    mean = loss_target(
        lambda output, labels: F.cross_entropy(output, labels), torch.ones(3).long(), inputs
    )
    assert_same(mean(SCORES).sum(), F.cross_entropy(SCORES, torch.ones(3).long()), 1e-12)


def test_what_is_no_loss_is_refused() -> None:
    inputs = as_inputs(noise(3, 2))
    with refused(TargetError, "loss_func", "(2,)"):
        loss_target(lambda output, labels: output[:2, 0], 0, inputs)(SCORES)
    with refused(InputTypeError, "loss_func", "float"):
        loss_target(lambda output, labels: 1.0, 0, inputs)(SCORES)  # type: ignore[arg-type,return-value]
    with refused(TargetError, "(3, 1)", "loss_func"):
        cross_entropy(SCORES[:, :1], 0)


def test_masks_must_fit() -> None:
    inputs = as_inputs(noise(3, 2))
    with refused(ShapeError, "mask", "(3, 5)"):
        as_masks(torch.ones(3, 5), inputs)
    with refused(ShapeError, "2 tensors for 1"):
        as_masks((torch.ones(3, 2), torch.ones(3, 2)), inputs)
    assert as_masks(None, inputs) == [None]
