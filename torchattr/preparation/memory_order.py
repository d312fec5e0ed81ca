"""Channels-last memory of image batches."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def to_channels_last(value: Any) -> Any:
    """Return an image batch in channels-last memory, and any other value unchanged."""
    if isinstance(value, Tensor) and value.dim() == 4 and value.is_floating_point():
        return value.contiguous(memory_format=torch.channels_last)
    return value
