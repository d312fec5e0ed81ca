"""Infidelity of square removal, against a loop over the squares."""

from __future__ import annotations

import pytest
import torch
from helpers import assert_same, noise, seeded
from measured import SmallNet

import torchattr as ta
from torchattr.evaluate import square_infidelity

X = noise(3, 2, 6, 8)
MAPS = noise(3, 2, 6, 8, seed=2)


@pytest.mark.parametrize("base", [0.0, 0.7])
@pytest.mark.parametrize("size", [3, (4, 5)])
def test_it_is_its_definition(size: int | tuple[int, int], base: float) -> None:
    net = seeded(SmallNet).double()
    height, width = (size, size) if isinstance(size, int) else size
    expected = []
    for x, own, target in zip(X, MAPS, (2, 0, 1), strict=True):
        clean, errors = float(net(x[None])[0, target].detach()), []
        for top in range(0, 6, height):
            for left in range(0, 8, width):
                changed = x.clone()
                changed[:, top : top + height, left : left + width] = base
                predicted = float(((x - changed) * own).sum())
                loss = clean - float(net(changed[None])[0, target].detach())
                errors.append((predicted - loss) ** 2)
        expected.append(sum(errors) / len(errors))
    found = square_infidelity(net, X, MAPS, [2, 0, 1], size=size, baselines=base)
    assert_same(found, torch.tensor(expected, dtype=torch.float64), 1e-10)


def test_targets_have_their_own_and_channels_share() -> None:
    net = seeded(SmallNet).double()
    several = noise(3, 2, 2, 6, 8, seed=3)
    best = net(X).topk(2).indices
    found = square_infidelity(net, X, several, ta.TopK(2), size=4)
    for k in range(2):
        own = square_infidelity(net, X, several[:, k], best[:, k], size=4)
        assert_same(found[:, k], own, 1e-12)
    one = square_infidelity(net, X, MAPS[:, :1], 1, size=4)
    assert_same(one, square_infidelity(net, X, MAPS[:, :1].expand_as(X), 1, size=4), 1e-12)
