from __future__ import annotations

import torch
from helpers import noise

from torchattr.quantus.features import elements, ranked


def test_neighbouring_elements() -> None:
    found = elements(torch.zeros(3, 2, 2, 3), 5)
    assert found.shape == (1, 2, 2, 3)
    assert found.flatten().tolist() == [0] * 5 + [1] * 5 + [2] * 2


def test_elements_in_the_order_of_a_map() -> None:
    x, maps = noise(2, 3, 2, 2), noise(2, 1, 2, 2, seed=2)
    found = ranked(maps, x, 5)
    for row, numbers in zip(maps.expand_as(x).flatten(1), found.flatten(1), strict=True):
        order = sorted(range(12), key=lambda i: -float(row[i]))
        for place, element in enumerate(order):
            assert int(numbers[element]) == place // 5
