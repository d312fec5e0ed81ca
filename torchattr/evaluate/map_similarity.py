"""How alike two maps are: rank correlation, correlation, or structural similarity."""

from __future__ import annotations

from typing import Any, Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from torchattr.core.arguments import check_choice, checked_flags
from torchattr.errors import ShapeError
from torchattr.evaluate.measured_maps import is_varied, undefined
from torchattr.evaluate.ranks import midranks

Similarity = Literal["spearman", "pearson", "ssim"]

WINDOW = 11
SIGMA = 1.5
_STABILISERS = (0.01**2, 0.03**2)
"""Wang et al. 2004: a Gaussian window of 11 pixels, and K1 = 0.01, K2 = 0.03 of a range of 1."""


@checked_flags
def map_similarity(
    maps: Any, others: Any, *, kind: Similarity = "spearman", absolute: bool = False
) -> Tensor:
    """Return how alike each map is to another one, `(N,)`, in -1..1: 1 for equal maps.

    `"spearman"` is the correlation of ranks, `"pearson"` that of values, `"ssim"` the mean of the
    structural similarity, Wang et al. 2004, doi:10.1109/TIP.2003.819861, of both maps stretched to
    0..1, with a Gaussian window of 11 pixels (of fewer for maps smaller than that).

    It is *not* a distance between explanations: a rank correlation weighs the order of a thousand
    elements near 0 like that of the few that matter, and all three are high for maps that have only
    the picture's edges in common.

    Args:
        maps: `(N, h, w)`, or with channels `(N, C, h, w)`, which are summed.
        others: what each is compared with, of the same size.
        kind: what is compared.
        absolute: compare magnitudes, so that a map equals its negative; those of channels are
            summed.

    Raises:
        ShapeError: no maps, or of different sizes.
        InputError: an unknown `kind`.

    Warns `UndefinedMetricWarning` where a map is constant, NaN or infinite; the result is NaN.

    >>> import torch
    >>> ramp = torch.arange(12.0).view(1, 3, 4)
    >>> map_similarity(ramp, ramp**2), map_similarity(ramp, -ramp, absolute=True)
    (tensor([1.], dtype=torch.float64), tensor([1.], dtype=torch.float64))
    """
    reference = ReferenceMaps(as_planes(maps, "maps", absolute), kind)
    values, defined = reference.similarity(as_planes(others, "others", absolute))
    return undefined(values, defined, "the similarity", "a map is constant, NaN or infinite")


class ReferenceMaps:
    """Maps that others are compared with, whose own ranks and moments are found once.

    Args:
        maps: `(N, h, w)` in double precision.
        kind: what is compared.

    Raises:
        InputError: an unknown `kind`.
    """

    def __init__(self, maps: Tensor, kind: Similarity) -> None:
        check_choice("similarity", kind, get_args(Similarity))
        self._kind = kind
        self._shape = maps.shape
        self._standard, self._comparable = self._standardised(maps)

    def similarity(self, others: Tensor) -> tuple[Tensor, Tensor]:
        """Return the similarity to each of other maps, and whether it is defined.

        Raises:
            ShapeError: they have another size.
        """
        if others.shape != self._shape:
            raise ShapeError(
                f"maps of the shape {tuple(self._shape)} were compared with others of"
                f" {tuple(others.shape)}; enlarge the smaller by torch.nn.functional.interpolate"
            )
        standard, comparable = self._standardised(others)
        if self._kind == "ssim":
            values = structural_similarity(self._standard, standard)
        else:
            values = (self._standard * standard).flatten(1).sum(1).clamp(-1, 1)
        return values, comparable & self._comparable

    def similarity_or_nan(self, others: Tensor | None) -> Tensor:
        """Return the similarity to each of other maps, NaN where it is undefined; `None`: of all.

        Raises:
            ShapeError: they have another size.
        """
        if others is None:
            return self._standard.new_full((len(self._standard),), torch.nan)
        values, defined = self.similarity(others)
        return values.masked_fill(~defined, torch.nan)

    def _standardised(self, maps: Tensor) -> tuple[Tensor, Tensor]:
        """Return maps without what the comparison ignores, and whether they are comparable."""
        comparable = is_comparable(maps)
        usable = maps.where(comparable[:, None, None], 0)
        if self._kind == "ssim":
            return _stretched(usable), comparable
        flat = usable.flatten(1)
        flat = midranks(flat) if self._kind == "spearman" else flat
        centred = flat - flat.mean(1, keepdim=True)
        return F.normalize(centred, dim=1, eps=torch.finfo(centred.dtype).tiny), comparable


def as_planes(values: Any, name: str, absolute: bool) -> Tensor:
    """Return maps or their magnitudes as `(N, h, w)` in double precision, summed over channels.

    Raises:
        ShapeError: another shape, or no map.
    """
    maps = torch.as_tensor(values).detach()
    if maps.dim() not in (3, 4) or not maps.numel():
        raise ShapeError(
            f"{name} must be maps (N, h, w) or (N, C, h, w) of at least one value, got"
            f" the shape {tuple(maps.shape)}"
        )
    planes = maps.double().abs() if absolute else maps.double()
    return planes.sum(1) if planes.dim() == 4 else planes


def is_comparable(maps: Tensor) -> Tensor:
    """Whether each map is finite, and holds more than one value beyond rounding."""
    return is_varied(maps) & torch.isfinite(maps.flatten(1)).all(1)


def structural_similarity(a: Tensor, b: Tensor) -> Tensor:
    """Return the mean structural similarity of maps `(N, h, w)` between 0 and 1.

    Windows lie within the maps; a map that is smaller than one has a smaller window.
    """
    rows, columns = (_window(size, a) for size in a.shape[1:])

    def smooth(maps: Tensor) -> Tensor:
        down = F.conv2d(maps[:, None], rows.view(1, 1, -1, 1))
        return F.conv2d(down, columns.view(1, 1, 1, -1))[:, 0]

    mean_a, mean_b = smooth(a), smooth(b)
    spread_a, spread_b = smooth(a * a) - mean_a**2, smooth(b * b) - mean_b**2
    joint = smooth(a * b) - mean_a * mean_b
    c1, c2 = _STABILISERS
    luminance = (2 * mean_a * mean_b + c1) / (mean_a**2 + mean_b**2 + c1)
    return (luminance * (2 * joint + c2) / (spread_a + spread_b + c2)).flatten(1).mean(1)


def _window(size: int, like: Tensor) -> Tensor:
    """Return a Gaussian window that sums to 1, of an odd number of elements up to a size."""
    length = min(WINDOW, size - 1 + size % 2)
    places = torch.arange(length, dtype=like.dtype, device=like.device) - length // 2
    weights = torch.exp(-(places**2) / (2 * SIGMA**2))
    return weights / weights.sum()


def _stretched(maps: Tensor) -> Tensor:
    flat = maps.flatten(1)
    low, spread = (
        flat.amin(1, keepdim=True),
        flat.amax(1, keepdim=True) - flat.amin(1, keepdim=True),
    )
    return ((flat - low) / spread.where(spread > 0, 1)).view_as(maps)
