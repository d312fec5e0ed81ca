"""Localisation: how much of a map lies on what it should show, by masks."""

from __future__ import annotations

from typing import Any, Literal, get_args

import torch
from torch import Tensor

from torchattr.core.arguments import checked_flags
from torchattr.core.checked_numbers import checked_pair
from torchattr.errors import InputError, ShapeError
from torchattr.evaluate.measured_maps import as_maps, as_masks, is_varied, undefined
from torchattr.evaluate.ranks import midranks

Sign = Literal["absolute", "positive"]


def relevance_mass(maps: Any, masks: Any, *, sign: Sign = "absolute") -> Tensor:
    """Measure the share of a map that lies in its mask: `Σ_mask a / Σ a`.

    One value for each map, 0 to 1; the higher, the better. Arras, Osman and Samek 2022,
    arXiv:2003.07258 ("relevance mass accuracy"). A map that is the same everywhere reaches the
    share of the mask's area: compare with that. Quantus 0.6 normalises maps first and sums them
    with their signs, which may leave the range.

    It does *not* tell whether the model used the object: a right map of a model that looks at the
    background scores low.

    Args:
        maps: `(N, h, w)`, or `(N, C, h, w)`, whose channels are summed first.
        masks: what each map should show, bools `(N, h, w)` or `(N, 1, h, w)`.
        sign: `"absolute"` takes `a = |map|`, `"positive"` the positive part.

    Returns:
        `(N,)`; NaN with a warning where `Σ a` is 0.

    Raises:
        InputTypeError, ShapeError: no maps or masks, or masks of another size than the maps.
        InputError: values that are not finite, a mask of nothing or everything, an unknown sign.

    >>> import torch
    >>> mask = torch.tensor([[[True, False], [False, False]]])
    >>> relevance_mass(torch.tensor([[[3.0, 1.0], [-2.0, 0.0]]]), mask).tolist()
    [0.5]
    """
    found = _taken(as_maps(maps), sign)
    inside = as_masks(masks, found)
    return _share(found, inside, "relevance_mass")


@checked_flags
def attribution_localisation(maps: Any, masks: Any, *, weighted: bool = False) -> Tensor:
    """Measure the share of a map's positive part that lies in its mask.

    `Σ_mask a⁺ / Σ a⁺`, weighted by `area / mask's area`, so that a map that is the same everywhere
    reaches 1. Kohlbrenner et al. 2020, arXiv:1910.09840. 0 to 1, weighted to `area / mask's area`;
    the higher, the better. Unweighted it is :func:`relevance_mass` with `sign="positive"`, whose
    arguments and errors these are, and what it does *not* tell. The weights of Quantus 0.6 depend
    on the batch.

    >>> import torch
    >>> mask = torch.tensor([[[True, False], [False, False]]])
    >>> maps = torch.tensor([[[3.0, 1.0], [-2.0, 0.0]]])
    >>> attribution_localisation(maps, mask).tolist()
    [0.75]
    >>> attribution_localisation(maps, mask, weighted=True).tolist()
    [3.0]
    """
    found = _taken(as_maps(maps), "positive")
    inside = as_masks(masks, found)
    share = _share(found, inside, "attribution_localisation")
    return share / inside.double().mean((1, 2)) if weighted else share


def relevance_rank(maps: Any, masks: Any) -> Tensor:
    """Measure the share of a map's largest elements that lie in its mask, as many as that has.

    `|top K ∩ mask| / K` for `K = |mask|`, 0 to 1; the higher, the better. Arras, Osman and Samek
    2022, arXiv:2003.07258 ("relevance rank accuracy"). Of equal elements at the border of the top,
    each has the same share in it; Quantus 0.6 takes those that its sort finds first.

    It does *not* see how large the elements are, nor whether the model used the object.

    Arguments and errors are those of :func:`relevance_mass`, without `sign`; NaN with a warning for
    constant maps, which have no ranks.

    >>> import torch
    >>> mask = torch.tensor([[[True, True], [False, False]]])
    >>> relevance_rank(torch.tensor([[[3.0, 1.0], [2.0, 0.0]]]), mask).tolist()
    [0.5]
    """
    found = as_maps(maps)
    inside = as_masks(masks, found)
    sizes = inside.flatten(1).sum(1)
    values = _hits(found, inside, sizes) / sizes
    return undefined(values, is_varied(found), "relevance_rank", "the map is constant")


def top_k_intersection(maps: Any, masks: Any, k: int = 1000) -> Tensor:
    """Measure the share of a map's `k` largest elements that lie in its mask.

    0 to 1; the higher, the better. A mask of fewer than `k` elements cannot reach 1. Theiner,
    Müller-Budack and Ewerth 2022, arXiv:2104.14995. Ties (other than in Quantus 0.6), what it does
    *not* see, the other arguments, errors and NaN are those of :func:`relevance_rank`.

    Args:
        maps: the maps.
        masks: what each map should show.
        k: number of elements, at least 1 and at most those of a map.

    >>> import torch
    >>> mask = torch.tensor([[[True, True], [False, False]]])
    >>> top_k_intersection(torch.tensor([[[3.0, 1.0], [2.0, 0.0]]]), mask, k=1).tolist()
    [1.0]
    """
    found = as_maps(maps)
    inside = as_masks(masks, found)
    count = found[0].numel()
    if not 1 <= k <= count:
        raise InputError(f"k must be from 1 to {count}, the elements of a map, got {k}")
    sizes = torch.full((len(found),), k, device=found.device)
    values = _hits(found, inside, sizes) / k
    return undefined(values, is_varied(found), "top_k_intersection", "the map is constant")


def localisation_auc(maps: Any, masks: Any) -> Tensor:
    """Measure how well a map tells its mask from the rest: the area below its ROC curve.

    The probability that an element of the mask is larger than one outside of it, where equal ones
    count half, 0 to 1: 0.5 is chance, 1 the best. Fawcett 2006, doi:10.1016/j.patrec.2005.10.010.

    Arguments, errors, NaN and what it does *not* see are those of :func:`relevance_rank`.

    >>> import torch
    >>> mask = torch.tensor([[[True, True], [False, False]]])
    >>> localisation_auc(torch.tensor([[[3.0, 1.0], [2.0, 0.0]]]), mask).tolist()
    [0.75]
    """
    found = as_maps(maps)
    inside = as_masks(masks, found).flatten(1)
    ranks = midranks(found.flatten(1))
    within, total = inside.sum(1), inside.shape[1]
    above = (ranks * inside).sum(1) - within * (within + 1) / 2
    values = above / (within * (total - within))
    return undefined(values, is_varied(found), "localisation_auc", "the map is constant")


def cell_shares(maps: Any, grid: tuple[int, int] = (2, 2)) -> Tensor:
    """Measure the share of each cell of a grid in a map's positive part.

    `Σ_cell a⁺ / Σ a⁺`, `(N, rows, columns)`, 0 to 1, sums of 1; in the right cell the higher, the
    better. For a grid of pictures of different classes, the share of the explained one's cell is
    the localisation score of the grid pointing game: Böhle, Fritz and Schiele 2021,
    arXiv:2104.00032; Rao, Böhle and Schiele 2022, arXiv:2205.10435
    (:func:`torchattr.evaluate.grid_localisation`). The sum over the cells of the explained class is
    "focus": Arias-Duart et al. 2021, arXiv:2109.15035. Chance is the cell's area.

    It does *not* tell whether the map is right within a cell.

    The authors' code and Quantus 0.6 take 0 where nothing is positive.

    Args:
        maps: `(N, h, w)`, or `(N, C, h, w)`, whose channels are summed first.
        grid: number of rows and of columns, which divide height and width.

    Returns:
        `(N, rows, columns)`; NaN with a warning for maps without positive elements.

    Raises:
        InputTypeError, InputError: no maps, or values that are not finite.
        ShapeError: no maps, or cells of different sizes.

    >>> import torch
    >>> cell_shares(torch.tensor([[[3.0, 1.0], [-2.0, 0.0]]])).tolist()
    [[[0.75, 0.25], [0.0, 0.0]]]
    """
    found = _taken(as_maps(maps), "positive")
    rows, columns = checked_pair(grid, "grid", "the numbers of rows and columns", least=0)
    height, width = found.shape[1:]
    if min(rows, columns) < 1 or height % rows or width % columns:
        raise ShapeError(
            f"a grid of {rows} x {columns} cells does not divide maps of {height} x {width}"
        )
    cells = found.unflatten(2, (columns, -1)).unflatten(1, (rows, -1)).sum((2, 4))
    total = cells.sum((1, 2))
    shares = cells / total[:, None, None]
    positive = (total > 0)[:, None, None].expand_as(shares)
    return undefined(shares, positive, "cell_shares", "no element is positive")


def _taken(maps: Tensor, sign: str) -> Tensor:
    if sign not in get_args(Sign):
        raise InputError(f"sign must be 'absolute' or 'positive', got {sign!r}")
    return maps.abs() if sign == "absolute" else maps.clamp(min=0)


def _share(found: Tensor, inside: Tensor, metric: str) -> Tensor:
    total = found.sum((1, 2))
    share = (found * inside).sum((1, 2)) / total
    return undefined(share, total > 0, metric, "what it sums is 0 everywhere")


def _hits(maps: Tensor, inside: Tensor, sizes: Tensor) -> Tensor:
    """Return how many of each map's largest elements lie inside, on average over orders of ties."""
    flat, within = maps.flatten(1), inside.flatten(1)
    limits = flat.sort(dim=1, descending=True).values.gather(1, sizes[:, None] - 1)
    above, tied = flat > limits, flat == limits
    room = (sizes - above.sum(1)).double()
    # The quotient comes last: of ties that are all inside it is then exact.
    return (above & within).sum(1) + room * (tied & within).sum(1) / tied.sum(1)
