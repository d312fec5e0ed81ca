"""The form of maps that are stored: channels reduced or not, at the layer's size or the input's."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

from torch import Tensor

from torchattr.core.arguments import check_choice
from torchattr.errors import ShapeError
from torchattr.methods import enlarge
from torchattr.show import LUMA

Reduce: TypeAlias = Literal["sum", "luma", "max_abs", "none"]
"""How channels become one value a pixel; `none` keeps them."""

Keep: TypeAlias = Literal["layer", "pixels"]
"""The resolution of maps: that which the method returns, or the input's."""


@dataclass(frozen=True)
class MapForm:
    """How a method's result becomes the map that is stored.

    Raises:
        InputError: an unknown reduction or resolution.

    >>> import torch
    >>> MapForm("sum", "layer").of(torch.ones(2, 1, 3, 4, 4), "saliency", (8, 8)).shape
    torch.Size([2, 1, 4, 4])
    >>> MapForm("sum", "pixels").of(torch.ones(2, 1, 3, 4, 4), "saliency", (8, 8)).shape
    torch.Size([2, 1, 8, 8])
    """

    reduce: Reduce = "sum"
    keep: Keep = "layer"

    def __post_init__(self) -> None:
        check_choice("reduce", self.reduce, get_args(Reduce))
        check_choice("keep", self.keep, get_args(Keep))

    def of(self, result: Tensor, name: str, size: Sequence[int]) -> Tensor:
        """Return the maps `(N, T, h, w)` of a result `(N, T, C, h, w)`.

        With `reduce="none"`, channels stay, and results without any are kept as they are.

        Args:
            result: what the method returned.
            name: the method, for messages.
            size: the spatial extents of the input.

        Raises:
            ShapeError: a result of another shape.
        """
        maps = result.detach().float()
        if self.reduce != "none":
            maps = _REDUCTIONS[self.reduce](_with_channels(maps, name, self.reduce))
        if self.keep == "layer":
            return maps
        if maps.dim() < 4:
            raise ShapeError(
                f"keep='pixels' needs maps with two spatial dimensions, but {name} returns"
                f" {tuple(result.shape[1:])} for each picture; pass keep='layer'"
            )
        single = maps.reshape(-1, 1, *maps.shape[-2:])
        return enlarge(single, size).reshape(*maps.shape[:-2], *size)


def _with_channels(maps: Tensor, name: str, reduce: str) -> Tensor:
    if maps.dim() != 5:
        raise ShapeError(
            f"reduce={reduce!r} needs maps (targets, C, h, w), but {name} returns"
            f" {tuple(maps.shape[1:])} for each picture; pass reduce='none'"
        )
    if reduce == "luma" and maps.shape[2] not in (1, 3):
        raise ShapeError(
            f"reduce='luma' needs three channels or a single one, but {name} returns"
            f" {maps.shape[2]}; pass reduce='sum' or 'max_abs'"
        )
    return maps


def _luma(maps: Tensor) -> Tensor:
    if maps.shape[2] == 1:
        return maps[:, :, 0]
    red, green, blue = (maps[:, :, channel] * weight for channel, weight in enumerate(LUMA))
    return red + green + blue


_REDUCTIONS: Mapping[str, Callable[[Tensor], Tensor]] = {
    "sum": lambda maps: maps.sum(2),
    "luma": _luma,
    "max_abs": lambda maps: maps.abs().amax(2),
}
