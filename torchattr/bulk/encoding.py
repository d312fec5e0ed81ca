"""How maps become numbers of fewer bits, and numbers become maps again."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from torchattr.core.arguments import check_choice

_FLOAT16_EXPONENTS = (-4, 15)
"""Of the largest value of a map that float16 holds as it is, with eight more bits below."""

_LEVELS = 255


@dataclass(frozen=True, eq=False)
class EncodedMaps:
    """Maps as they are stored: each is `(values - zero) * scale`.

    Attributes:
        values: `(N, T, ...)` of the stored dtype.
        scale, zero: `(N, T)`; `None` if values are stored as they are.
    """

    values: Tensor
    scale: Tensor | None = None
    zero: Tensor | None = None

    def on_cpu(self) -> EncodedMaps:
        """Return the same on the CPU."""
        scale, zero = (None if one is None else one.cpu() for one in (self.scale, self.zero))
        return EncodedMaps(self.values.cpu(), scale, zero)

    @classmethod
    def joined(cls, parts: Sequence[EncodedMaps]) -> EncodedMaps:
        """Return maps of several batches, one after the other."""
        rows = [[one.values, one.scale, one.zero] for one in parts]
        columns = [[one for one in column if one is not None] for column in zip(*rows, strict=True)]
        scale, zero = (torch.cat(one) if one else None for one in columns[1:])
        return cls(torch.cat(columns[0]), scale, zero)


class Encoding(ABC):
    """A way to store maps. Final classes only.

    Attributes:
        dtype: of the stored values.
        is_scaled: whether each map has a scale and a zero.
        fill: what stands for a map that is missing.
    """

    dtype: ClassVar[str]
    is_scaled: ClassVar[bool] = True
    fill: ClassVar[float] = np.nan

    @abstractmethod
    def encode(self, maps: Tensor) -> EncodedMaps:
        """Return finite maps `(N, T, ...)` as they are stored."""


class Float32(Encoding):
    """Maps as they are."""

    dtype = "float32"
    is_scaled = False

    def encode(self, maps: Tensor) -> EncodedMaps:
        return EncodedMaps(maps)


class Float16(Encoding):
    """Half precision, with a power of two as scale for maps that would leave its range.

    The scale of all others is 1.

    >>> encoded = Float16().encode(torch.tensor([[[3.0, 1e-9]], [[2e6, 1.0]]]))
    >>> encoded.values.dtype, encoded.scale.tolist()
    (torch.float16, [[1.0], [2097152.0]])
    """

    dtype = "float16"

    def encode(self, maps: Tensor) -> EncodedMaps:
        _, exponents = torch.frexp(_amax(maps.abs()))
        low, high = _FLOAT16_EXPONENTS
        fits = ((exponents >= low) & (exponents <= high)) | (exponents == 0)
        scale = torch.ldexp(torch.ones_like(exponents, dtype=torch.float32), exponents)
        scale = torch.where(fits, 1.0, scale)
        return EncodedMaps((maps / _over(scale, maps)).half(), scale, torch.zeros_like(scale))


class UInt8(Encoding):
    """256 levels from each map's smallest value to its largest, among which zero is exact.

    A value is off by at most one level.

    >>> encoded = UInt8().encode(torch.tensor([[[-1.0, 0.0, 3.0]]]))
    >>> encoded.values.tolist(), encoded.zero.tolist()
    ([[[0, 64, 255]]], [[64.0]])
    """

    dtype = "uint8"
    fill = 0

    def encode(self, maps: Tensor) -> EncodedMaps:
        low, high = _amax(-maps).clamp(min=0), _amax(maps).clamp(min=0)
        scale = low / _LEVELS + high / _LEVELS
        scale = torch.where(scale > 0, scale, 1.0)
        zero = (low / scale).round()
        levels = (maps / _over(scale, maps)).round() + _over(zero, maps)
        return EncodedMaps(levels.clamp(0, _LEVELS).byte(), scale, zero)


ENCODINGS: Mapping[str, Encoding] = {one.dtype: one for one in (Float32(), Float16(), UInt8())}


def checked_dtype(dtype: Any) -> str:
    """Return a dtype that maps can be stored as.

    Raises:
        InputError: any other.
    """
    check_choice("dtype", dtype, ENCODINGS)
    return str(dtype)


def decoded(
    values: np.ndarray, scale: np.ndarray | None = None, zero: np.ndarray | None = None
) -> np.ndarray:
    """Return maps `(N, T, ...)` in float32 from what was stored; missing ones are NaN.

    >>> decoded(np.array([[[0, 64, 255]]], "uint8"), np.array([[0.5]]), np.array([[64.0]]))
    array([[[-32. ,   0. ,  95.5]]], dtype=float32)
    """
    maps = values.astype(np.float32)
    if scale is None or zero is None:
        return maps
    shape = (*scale.shape, *(1,) * (values.ndim - scale.ndim))
    return (maps - zero.reshape(shape).astype(np.float32)) * scale.reshape(shape).astype(np.float32)


def _amax(maps: Tensor) -> Tensor:
    """Return the largest value of each map, `(N, T)`."""
    return maps.flatten(2).amax(2)


def _over(values: Tensor, maps: Tensor) -> Tensor:
    """Return values `(N, T)` so that they broadcast to maps."""
    return values.reshape(*values.shape, *(1,) * (maps.dim() - values.dim()))
