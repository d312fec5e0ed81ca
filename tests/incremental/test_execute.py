"""Frontier values have the strides that the model's own forward gives them."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from helpers import noise
from torch import Tensor

from torchattr.incremental.execute import as_strided_like

LAYOUTS: dict[str, Callable[[Tensor], Tensor]] = {
    "contiguous": lambda x: x.contiguous(),
    "channels last": lambda x: x.contiguous(memory_format=torch.channels_last),
    "rows and columns swapped": lambda x: x.transpose(2, 3).contiguous().transpose(2, 3),
    "batch inside": lambda x: x.transpose(0, 1).contiguous().transpose(0, 1),
    "batch last": lambda x: x.movedim(0, -1).contiguous().movedim(-1, 0),
    "a chunk": lambda x: torch.cat([x, x], dim=1).chunk(2, dim=1)[1],
    "every second column": lambda x: x.repeat_interleave(2, dim=3)[..., ::2],
    "pooled": lambda x: F.max_pool2d(x.contiguous(memory_format=torch.channels_last), 1),
}


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("sides", [(4, 5), (1, 5), (4, 1), (1, 1)])
@pytest.mark.parametrize("name", LAYOUTS)
def test_strides_are_those_of_the_models_own_forward(
    name: str, sides: tuple[int, int], channels: int
) -> None:
    lay = LAYOUTS[name]
    clean, copies = noise(2, channels, *sides), noise(6, channels, *sides, seed=2)
    own = lay(copies)
    given = lay(clean)
    found = as_strided_like(copies, given.shape, given.stride())
    assert torch.equal(found, copies)
    assert found.stride() == own.stride()


@pytest.mark.parametrize("name", ["contiguous", "channels last", "a chunk", "pooled"])
def test_strides_from_a_single_example(name: str) -> None:
    for sides in ((6, 5), (1, 1), (6, 1)):
        clean, copies = noise(1, 1, *sides), noise(4, 1, *sides, seed=2)
        given, own = LAYOUTS[name](clean), LAYOUTS[name](copies)
        assert as_strided_like(copies, given.shape, given.stride()).stride() == own.stride()
