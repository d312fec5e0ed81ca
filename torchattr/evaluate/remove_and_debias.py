"""ROAD: the score as pixels are removed and imputed from their neighbours."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from torchattr.core.checked_numbers import as_list, as_number
from torchattr.core.types import Forward
from torchattr.errors import InputError, InputTypeError, ShapeError
from torchattr.evaluate.curves import Curve
from torchattr.evaluate.deletions import Deletions, ScoreOptions
from torchattr.evaluate.imputation import imputed
from torchattr.evaluate.ranked_masks import Ranking, counts_of
from torchattr.methods import SeededStreams, checked_seed

if TYPE_CHECKING:
    from typing_extensions import Unpack

FRACTIONS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.7, 0.9)


def road(
    model: Forward,
    inputs: Tensor,
    attributions: Tensor,
    target: Any = None,
    *,
    fractions: Sequence[float] = FRACTIONS,
    order: Ranking = "most",
    noise: float = 0.01,
    seed: int = 0,
    perturbations_per_eval: int | None = None,
    **options: Unpack[ScoreOptions],
) -> Curve:
    """Measure how the score falls as pixels are removed in a way that the rest does not betray.

    `s(x with the first q·n pixels imputed)` for fractions `q`: a removed pixel becomes the mean of
    its neighbours, by a linear system for all of them, plus noise `N(0, noise²)`. Rong et al. 2022,
    arXiv:2202.00449 ("remove and debias"). With `order="most"`, the lower the curve, the better;
    with `"least"`, the higher; :func:`torchattr.evaluate.both_orders` measures the two.

    A picture with black holes shows by their shape where the map was strong; imputed holes hardly
    do. It is *not* free of that altogether, and a smooth object can be restored from its border.

    The paper reports the accuracy over many pictures; here it is the score of each. Quantus 0.6
    reports whether the class is still predicted, for 1 to 99 % in steps of 2.

    Args:
        model: as for every method.
        inputs: pictures `(N, C, h, w)`.
        attributions: `(N, C, h, w)` or `(N, 1, h, w)`, for several targets `(N, targets, ...)`.
        target: as for every method.
        fractions: shares of the pixels to remove, rising, between 0 and 1.
        order: which pixels are removed first.
        noise: standard deviation of what is added to imputed pixels, in the units of `inputs`.
        seed: of the noise, which is the same for each example of a batch.
        perturbations_per_eval: maximum number of fractions per forward; `None` uses as many as
            memory allows.
        options: see :class:`torchattr.evaluate.ScoreOptions`; a softmax by default.

    Returns:
        the curve with the score of the unchanged pictures as its beginning; NaN with a warning for
        maps whose pixels are all worth the same.

    Raises:
        ShapeError: inputs that are not pictures, or attributions that do not fit them.
        InputTypeError: an argument of the wrong type.
        InputError: fractions or noise out of range, attributions that are not finite.
        OutputError: as for :func:`torchattr.evaluate.deletion_curve`.

    >>> import torch, torchattr as ta
    >>> model = torch.nn.Sequential(
    ...     torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(144, 2)
    ... )
    >>> x = torch.rand(2, 3, 8, 8)
    >>> road(model, x, ta.Saliency(model).attribute(x)).scores.shape
    torch.Size([2, 8])
    """
    shares = _checked_fractions(fractions)
    noise = as_number(noise, "noise")
    if not noise >= 0:
        raise InputError(f"noise must be at least 0, got {noise}")
    streams = SeededStreams([checked_seed(seed)])
    _check_pictures(inputs)
    settled: ScoreOptions = {"activation": "softmax", **options}
    at_once = perturbations_per_eval
    deletions = Deletions(
        model, inputs, attributions, target, perturbations_per_eval=at_once, **settled
    )
    along = torch.tensor([0.0, *shares], dtype=torch.float64)
    counts = counts_of(along[1:], deletions.sizes)

    def scores(ranks: list[Tensor]) -> Tensor:
        made = partial(_changed, inputs, ranks[0], counts, noise, streams)
        found = deletions.of_made(made, len(shares), "ROAD")
        return torch.cat([deletions.scores.clean[None], found])

    found = deletions.by_order(order, scores, "road")
    return Curve("deletion", along.expand(len(inputs), -1), found)


def _changed(
    pictures: Tensor,
    ranks: Tensor,
    counts: Tensor,
    noise: float,
    streams: SeededStreams,
    start: int,
    stop: int,
) -> list[Tensor]:
    """Return the pictures with the first pixels of their orders imputed, copy after copy.

    Args:
        pictures: the batch.
        ranks: of each pixel, `(N, 1, h, w)`.
        counts: how many pixels each step removes, `(steps, N)`.
        noise: standard deviation of what is added.
        streams: where that is drawn from.
        start: the first step to return.
        stop: the step after the last one.
    """
    changed = []
    # Imputed one after another: the solver takes far more memory than the pictures.
    for step in range(start, stop):
        removed = ranks < counts[step].to(ranks.device).reshape(-1, 1, 1, 1)
        added = noise * streams.normal_like(0, step, step + 1, pictures)[0]
        changed.append(torch.where(removed, imputed(pictures, removed) + added, pictures.detach()))
    return [torch.cat(changed)]


def _check_pictures(inputs: Any) -> None:
    if not isinstance(inputs, Tensor):
        raise InputTypeError(f"inputs must be a tensor of pictures, got {type(inputs).__name__}")
    if inputs.dim() != 4 or not inputs.is_floating_point():
        raise ShapeError(
            f"inputs must be floating pictures (N, C, h, w), got {inputs.dtype} of the shape"
            f" {tuple(inputs.shape)}"
        )


def _checked_fractions(fractions: Any) -> list[float]:
    given = as_list(fractions, "fractions", "a sequence of floats")
    if not given:
        raise InputTypeError("fractions must be a sequence of floats, got none")
    shares = [float(as_number(share, "fractions")) for share in given]
    rising = all(a < b for a, b in zip([0.0, *shares], [*shares, 1.0], strict=True))
    if not rising:
        raise InputError(f"fractions must rise between 0 and 1, got {shares}")
    return shares
