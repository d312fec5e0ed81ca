"""Names for the shapes that arguments and results take."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from torch import Tensor, nn

Tensors: TypeAlias = "Tensor | tuple[Tensor, ...]"
Forward: TypeAlias = "nn.Module | Callable[..., Any]"
Index: TypeAlias = "int | tuple[int | slice, ...]"
SingleTarget: TypeAlias = (
    "int | tuple[int, ...] | Tensor | list[int] | list[tuple[int, ...]]"
    " | Callable[[Any], Tensor] | None"
)
Layer: TypeAlias = "str | nn.Module"
Layers: TypeAlias = "Layer | Sequence[Layer]"
OutputKey: TypeAlias = "str | int | Callable[[Any], Tensor] | None"
