"""Infidelity of square removal: every square of a grid replaced on its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from torchattr.core.inputs import as_value
from torchattr.core.types import Forward
from torchattr.evaluate.blocks import blocks
from torchattr.evaluate.deletions import DeletionOptions, Deletions
from torchattr.evaluate.replacement import as_replaced

if TYPE_CHECKING:
    from typing_extensions import Unpack


def square_infidelity(
    model: Forward,
    inputs: Tensor,
    attributions: Tensor,
    target: Any = None,
    *,
    size: int | tuple[int, int] = 16,
    **options: Unpack[DeletionOptions],
) -> Tensor:
    """Return how far attributions are from predicting what the removal of squares does, `(N,)`.

    `mean_q (Σ_{i in q} (x_i − b_i) Φ_i − (s(x) − s(x with q ← b)))²` over the squares `q` of a
    grid, 0 or more: 0 is perfect, the lower, the better. The square removal of Yeh et al. 2019,
    arXiv:1901.09392, of one size and without overlaps. `Φ` are in units of the score by input, as
    gradients are.

    It is *not* comparable between methods of different scale, nor between sizes or baselines.

    Quantus 0.6 leaves the squares before each one replaced, too.

    Args:
        model: as for every method.
        inputs: pictures `(N, C, h, w)`.
        attributions: shaped like the pictures, or of one channel.
        target: as for every method.
        size: the side of a square in pixels, or its height and width.
        options: see :class:`torchattr.evaluate.DeletionOptions`; raw scores, and 0 as baseline.

    Returns:
        `(N,)`, or `(N, targets)` for several targets.

    Raises:
        ShapeError, InputTypeError, InputError, OutputError: as for
            :func:`torchattr.evaluate.deletion_curve`.

    >>> import torch
    >>> x, weights = torch.rand(1, 1, 4, 4), torch.rand(1, 1, 4, 4)
    >>> found = square_infidelity(lambda x: (x * weights).sum((2, 3)), x, weights, size=2)
    >>> bool(found < 1e-9)
    True
    """
    chosen: DeletionOptions = {"feature_mask": blocks(inputs, size), **options}
    deletions = Deletions(model, inputs, attributions, target, **chosen)
    (x,) = deletions.inputs.tensors
    (base,) = as_replaced(chosen.get("baselines", 0), deletions.inputs)
    away = x.detach() - as_value(base, x)
    predicted = torch.stack(
        [deletions.features.sums([away * own[0]])[0] for own in deletions.attributions]
    ).double()
    values = deletions.of(deletions.features, "Deletion").double()
    effect = (deletions.scores.clean.double() - values).permute(1, 2, 0)
    squares = (predicted.transpose(0, 1) - effect).square()
    members = deletions.features.members[:, None].to(squares.device)
    return deletions.in_form((squares * members).sum(-1) / members.sum(-1))
