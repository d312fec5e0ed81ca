"""The perturbation engine: which elements are replaced, dtypes, and chunk sizes."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from helpers import noise
from peers import rows
from torch import Tensor

from torchattr.core.inputs import Inputs, as_inputs
from torchattr.methods._perturbation.features import FeatureMasks
from torchattr.methods._perturbation.perturbation import Perturbation
from torchattr.methods._perturbation.segments import as_segments


def of(x: Tensor, baseline: Any = 0) -> Perturbation:
    return Perturbation(
        as_inputs(x, differentiable=False), [baseline], as_segments(Inputs((x,), True), None)
    )


def test_copies_come_one_after_another() -> None:
    x = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    (found,) = of(x, torch.tensor([[7.0, 8.0]])).perturbed(0, 2)
    assert found.tolist() == [[7, 2], [7, 4], [1, 8], [3, 8]]


def test_an_input_that_no_feature_touches_is_copied_as_it_is() -> None:
    a, b = rows(2), noise(2, 3)
    both = Perturbation(
        Inputs((a, b), True),
        [0, 0],
        as_segments(
            Inputs(
                (
                    a,
                    b,
                ),
                True,
            ),
            None,
        ),
    )
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


def test_shares_mix_the_input_with_the_baseline() -> None:
    class Shares(FeatureMasks):
        def __len__(self) -> int:
            return 3

        def masks(self, start: int, stop: int) -> list[Tensor | None]:
            return [torch.tensor([0.0, 0.25, 1.0])[start:stop].reshape(-1, 1, 1)]

    x, baseline = torch.tensor([[4.0], [8.0]]).half(), torch.tensor([[0.0], [-8.0]])
    (found,) = Perturbation(as_inputs(x), [baseline], Shares()).perturbed(0, 3)
    assert found.dtype == torch.float16
    assert found.flatten().tolist() == [4, 8, 3, 4, 0, -8]
