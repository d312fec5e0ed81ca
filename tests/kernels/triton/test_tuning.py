"""When tiles are measured."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from torchattr.kernels.triton.tuning import CHOICES, LARGE, fastest, is_worth_measuring, tile_shape


def test_when_tiles_are_not_measured(compiling: pytest.MonkeyPatch) -> None:
    def full(tile: object) -> float:
        raise torch.OutOfMemoryError

    assert fastest(full, CHOICES) == CHOICES[0]
    run = SimpleNamespace(is_cuda=True, numel=lambda: LARGE)
    compiling.setattr(torch.cuda, "is_current_stream_capturing", lambda: False)
    assert is_worth_measuring(run)
    assert not is_worth_measuring(SimpleNamespace(is_cuda=True, numel=lambda: LARGE - 1))
    compiling.setattr(torch.cuda, "is_current_stream_capturing", lambda: True)
    assert not is_worth_measuring(run)


@pytest.mark.parametrize(("length", "shape"), [(1, (64, 8)), (64, (8, 64)), (130, (64, 8))])
def test_tiles_waste_least_and_are_then_the_widest(length: int, shape: tuple[int, int]) -> None:
    assert tile_shape(length) == shape
