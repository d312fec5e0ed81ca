"""The imputation of pixels, against the dense system of its equations."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from imputed_by_hand import by_hand
from torch import Tensor

from torchattr.errors import InputError
from torchattr.evaluate.imputation import imputed


def pictures(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.95])
def test_equals_the_dense_system(share: float) -> None:
    x = pictures(3, 2, 9, 7)
    removed = torch.rand(3, 1, 9, 7, generator=torch.Generator().manual_seed(2)) < share
    found = imputed(x, removed)
    for n in range(3):
        for channel in range(2):
            expected = by_hand(x[n, channel].numpy(), removed[n, 0].numpy())
            assert np.abs(found[n, channel].numpy() - expected).max() < 1e-8


def test_a_large_hole() -> None:
    x = pictures(1, 1, 40, 40)
    removed = torch.ones(1, 1, 40, 40, dtype=torch.bool)
    removed[..., :2] = False
    expected = by_hand(x[0, 0].numpy(), removed[0, 0].numpy())
    assert np.abs(imputed(x, removed)[0, 0].numpy() - expected).max() < 1e-7


def test_what_is_known_stays_and_nothing_is_written_over() -> None:
    x = pictures(2, 3, 8, 8).float()
    before = x.clone()
    removed = torch.zeros(2, 1, 8, 8, dtype=torch.bool)
    removed[1, 0, 2:6, 3:5] = True
    found = imputed(x, removed)
    assert found.dtype == torch.float32
    assert torch.equal(x, before)
    assert torch.equal(found[0], x[0])
    known = ~removed.expand_as(x)
    assert torch.equal(found[known], x[known])
    assert not torch.equal(found, x)


def test_a_constant_picture_is_restored() -> None:
    x = torch.full((1, 1, 12, 12), 0.7, dtype=torch.float64)
    removed = torch.rand(1, 1, 12, 12, generator=torch.Generator().manual_seed(3)) < 0.9
    assert torch.allclose(imputed(x.masked_fill(removed, 9.0), removed), x, rtol=0, atol=1e-8)


def test_nothing_and_everything_removed() -> None:
    x = pictures(2, 1, 4, 4)
    nothing = torch.zeros(2, 1, 4, 4, dtype=torch.bool)
    found = imputed(x, nothing)
    assert torch.equal(found, x)
    assert found.data_ptr() != x.data_ptr()
    everything = nothing.clone()
    everything[1] = True
    with pytest.raises(InputError, match="all pixels of a picture are removed"):
        imputed(x, everything)
