"""Channels-last memory changes the order of image batches alone, and no result."""

from __future__ import annotations

from typing import Any

import torch
from foldable import Net, network
from helpers import noise

import torchattr as ta
from torchattr.preparation.memory_order import to_channels_last

PICTURES = noise(2, 3, 14, 14)


def test_pictures_alone_are_to_channels_last() -> None:
    assert to_channels_last(PICTURES).is_contiguous(memory_format=torch.channels_last)
    for other in (noise(2, 3), torch.ones(1, 1, 1, 1, dtype=torch.int), "name"):
        assert to_channels_last(other) is other


def test_convolutions_run_on_what_is_to_channels_last() -> None:
    formats: dict[str, list[bool]] = {}
    for chosen in (False, True):
        fast = ta.prepare(network(Net), PICTURES, channels_last=chosen)
        assert fast.report.configuration.channels_last is chosen
        weight = fast._prepared_forward.folds[0].weights()[0]
        seen: Any = formats.setdefault(str(chosen), [])
        seen.append(weight.is_contiguous(memory_format=torch.channels_last))
        hook = lambda m, a, y, seen=seen: seen.append(  # noqa: E731
            y.is_contiguous(memory_format=torch.channels_last)
        )
        fast.bn2.register_forward_hook(hook)
        fast(PICTURES)
    assert formats == {"False": [False, False], "True": [True, True]}
