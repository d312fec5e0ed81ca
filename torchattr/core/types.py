"""Type aliases for arguments and results."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any, Literal, TypeAlias, TypeVar

from torch import Tensor, nn

Tensors: TypeAlias = "Tensor | tuple[Tensor, ...]"
TensorsT = TypeVar("TensorsT", bound=Tensors)
"""A tensor gives a tensor, a tuple gives a tuple."""
Baselines: TypeAlias = "Tensor | float | Sequence[Tensor | float] | None"
Forward: TypeAlias = "nn.Module | Callable[..., Any]"
Index: TypeAlias = "int | tuple[int | slice, ...]"
SingleTarget: TypeAlias = (
    int
    | tuple[int, ...]
    | Tensor
    | list[int]
    | list[tuple[int, ...]]
    | Callable[[Any], Tensor]
    | None
)
Layer: TypeAlias = "str | nn.Module"
Selection: TypeAlias = "Layer | re.Pattern[str] | type[nn.Module] | int | slice"
Layers: TypeAlias = "Selection | Sequence[Selection]"
OutputKey: TypeAlias = "str | int | Callable[[Any], Tensor] | None"
Activation: TypeAlias = Literal["softmax", "sigmoid", "none"]
