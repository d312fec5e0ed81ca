"""What is checked of contributions before they are returned."""

from __future__ import annotations

import pytest
import torch
from helpers import refused

from torchattr.errors import ModelError, TorchattrWarning
from torchattr.methods._gradient.comparison import (
    check_complete,
    check_finite,
    contributions,
    missing,
)

FOUND = [torch.tensor([[1.0, 2.0], [3.0, -1.0]])]
RISE, SCORES = torch.tensor([[3.0], [2.0]]), [torch.tensor([9.0, 9.0])]


def test_what_is_missing() -> None:
    assert missing(FOUND, RISE + 1).tolist() == [[-1], [-1]]
    assert missing(FOUND, torch.tensor([[4.0]])).tolist() == [[1]]
    check_complete("DeepLift", FOUND, RISE, SCORES)


def test_what_does_not_sum_up_is_warned_of() -> None:
    with pytest.warns(TorchattrWarning, match=r"DeepLift: the attributions of example 1 do not"):
        check_complete("DeepLift", FOUND, torch.tensor([[3.0], [3.0]]), SCORES)


def test_what_is_not_finite_is_refused() -> None:
    with refused(ModelError, "not finite", "float64"):
        check_finite("DeepLift", [FOUND[0] / 0])


def test_several_targets_stand_after_the_batch() -> None:
    x, x0 = torch.ones(2, 3), torch.zeros(2, 3)
    (found,) = contributions([torch.ones(2, 4, 3)], [x], [x0])
    assert found.shape == (2, 4, 3)
