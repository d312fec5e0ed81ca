"""Replaying a model: what must equal the clean forward, and what may differ."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from helpers import noise, seeded
from torch import Tensor, nn
from variants import compared, patches

from torchattr.incremental import Diverged
from torchattr.incremental.arguments import Ref
from torchattr.incremental.replay import alike

X = noise(1, 3, 8, 9)
ONE = patches(np.random.default_rng(5), 2, X)[1:]
CONV = seeded(nn.Conv2d, 3, 4, 3, padding=1).double().requires_grad_(False)


@pytest.mark.parametrize(
    ("recorded", "given", "expected"),
    [
        (Ref(0), torch.ones(2), True),
        (1, 1, True),
        (1, 4, False),
        (1, True, True),
        (2.0, 2.0, True),
        ("replicate", "reflect", False),
        ([1, 2], [1, 2], True),
        ([1, 2], [1, 2, 3], False),
        (slice(0, 2), slice(0, 2), True),
        (slice(0, 2), slice(0, 3), False),
        (slice(0, torch.tensor(2)), slice(0, torch.tensor(3)), False),
        ({"dim": 1}, {"dim": 1}, True),
        ({"dim": 1}, {"dims": 1}, False),
        (torch.ones(2), torch.ones(2), True),
        (torch.ones(1, 2), torch.ones(4, 2), False),
        (torch.ones(2), torch.zeros(2), False),
        (torch.ones(2), None, False),
        (np.arange(3), np.arange(3), True),
        (np.arange(3), np.arange(4), False),
        (None, None, True),
        (torch.float32, torch.float32, True),
    ],
)
def test_arguments_are_compared(recorded: Any, given: Any, expected: bool) -> None:
    assert alike(recorded, given, 1, 1) == expected


def test_the_size_of_the_batch_may_differ() -> None:
    assert alike([2, -1], [8, -1], 4, 1)
    assert not alike([2, -1], [6, -1], 4, 1)
    assert alike(torch.ones(1, 2), torch.ones(4, 2), 1, 4)
    assert not alike(torch.ones(1, 2), torch.zeros(4, 2), 1, 4)
    assert not alike(torch.ones(2, 2), torch.ones(4, 2), 1, 4)


def by_item(x: Tensor) -> Tensor:
    y = CONV(x)
    return CONV(x) * (1 + y.mean().item())


def by_branch(x: Tensor) -> Tensor:
    y = CONV(x)
    return y.relu() if y.mean() > float(CONV(X).mean()) - 1e-9 else y.sigmoid()


def by_slice(x: Tensor) -> Tensor:
    y = CONV(x)
    return y[:, : 1 + int(y.mean() < float(CONV(X).mean()) - 1e-9)]


def longer(x: Tensor) -> Tensor:
    y = CONV(x)
    return y if y.mean() > float(CONV(X).mean()) - 1e-9 else y.relu()


def by_numpy(x: Tensor) -> Tensor:
    y = CONV(x)
    return y * torch.from_numpy(y.numpy().mean((2, 3)))[:, :, None, None]


def up_and_down(model: Any) -> None:
    for baseline in (5.0, -5.0):
        compared(model, X, ONE, baseline=baseline).agree()


@pytest.mark.parametrize("model", [by_item, by_branch, by_slice, longer, by_numpy])
def test_a_model_that_runs_otherwise_is_noticed(model: Any) -> None:
    with pytest.raises(Diverged, match="the model"):
        up_and_down(model)


def lost_result(x: Tensor) -> Tensor:
    y = CONV(x)
    y.mul_(y.flatten(1).softmax(1).amax(1)[:, None, None, None])
    return y * 2


def viewed(x: Tensor) -> Tensor:
    return CONV(x).view(len(x), -1).softmax(1)


def last_channels(x: Tensor) -> Tensor:
    y = CONV(x.to(memory_format=torch.channels_last)).contiguous(memory_format=torch.channels_last)
    return y.permute(0, 2, 3, 1).view(len(x), -1).softmax(1)


def transposed(x: Tensor) -> Tensor:
    return CONV(x).mT.mT.relu()


@pytest.mark.parametrize("model", [lost_result, viewed, last_channels, transposed])
@pytest.mark.parametrize("cut", [None, 1, 2, 3, 4])
def test_what_is_handed_over_is_as_the_model_needs_it(model: Any, cut: int | None) -> None:
    masks = patches(np.random.default_rng(1), 5, X)
    result = compared(model, X, masks, cut=cut)
    result.agree()
    assert result.recomputed.followed
