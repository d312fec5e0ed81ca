"""Input invariance: whether an explanation ignores a shift that the model ignores."""

from __future__ import annotations

from copy import copy
from typing import Any

import torch
from torch import Tensor

from torchattr.core.arguments import checked_flags
from torchattr.core.checked_numbers import as_number
from torchattr.core.inputs import as_arguments, as_value
from torchattr.core.types import Forward
from torchattr.errors import InputError, InputTypeError, ModelError
from torchattr.evaluate.explained_copies import rows_of
from torchattr.evaluate.measured_inputs import measured_inputs
from torchattr.evaluate.measured_maps import number_or_tensor, undefined
from torchattr.evaluate.shifted_model import shifted_copy
from torchattr.methods import Attribution, TargetScores

TOLERANCE = 1e-3
"""How much the scores of the shifted model may differ by rounding, as a share of the largest."""


@checked_flags
def input_invariance(
    method: Attribution,
    inputs: Tensor,
    target: Any = None,
    *,
    shift: float | Tensor = -1.0,
    shifted: Forward | None = None,
    norm_ord: float = 2.0,
    relative: bool = True,
    **options: Any,
) -> Tensor:
    """Measure how an explanation changes as the input is shifted, and the model takes it back.

    `‖Φ₂(x + m) − Φ₁(x)‖ / ‖Φ₁(x)‖` for a model `f₂` with `f₂(x + m) = f₁(x)`, whose first layer
    absorbs the shift by its bias; 0 or more, 0 for an invariant method, the lower, the better.
    Kindermans et al. 2019, arXiv:1711.00867.

    It is *not* a fault of every method that it fails: input × gradient, and whatever has a fixed
    baseline, depend on what the input's 0 means; a baseline shifted with the input restores it.

    Quantus 0.6 shifts all elements but the first, changes the bias by one number for each channel,
    which is wrong at the border of a padded convolution, and fails without a bias.

    Args:
        method: an object of a method. It and its model stay as they are: the explanation of the
            shifted inputs is that of a copy with the same options and layers.
        inputs: a tensor.
        target: as for every method; `None` is the class predicted for the unshifted inputs.
        shift: `m`: a number, or a tensor that broadcasts to one example.
        shifted: `f₂`, if the first layer of the model is no convolution or linear layer, or does
            not see the input itself.
        norm_ord: the order of the norm, as of `torch.linalg.vector_norm`.
        relative: divide by the size of the unshifted explanation.
        **options: the method's own arguments, the same for both.

    Returns:
        `(N,)`; relative to an explanation of zeros it is NaN, with a warning.

    Raises:
        InputTypeError: no method, or inputs that are not one tensor.
        ModelError: the copy does not compute of the shifted inputs what the model does of the
            others, so that nothing can be said about the explanation.
        InputError: a shift, or explanations, that are not finite.

    >>> import torch, torchattr as ta
    >>> model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Tanh(), torch.nn.Linear(4, 2))
    >>> x = torch.rand(2, 3)
    >>> bool(input_invariance(ta.Saliency(model), x, target=1).max() < 1e-5)
    True
    >>> bool(input_invariance(ta.InputXGradient(model), x, target=1).min() > 0.1)
    True
    """
    given = measured_inputs(inputs)
    _check(method, inputs)
    (x,) = given.tensors
    norm_ord = as_number(norm_ord, "norm_ord")
    added = as_value(number_or_tensor(shift, "shift"), x)
    if not torch.isfinite(added).all():
        raise InputError("shift holds NaN or infinite values")
    added = added.expand(1, *x.shape[1:])
    moved = (x + added).detach()
    other = _rebound(method, added, shifted)
    arguments = as_arguments(options.get("additional_forward_args"))
    scores = TargetScores(method.model, given, target, arguments, method.output)
    _check_scores(scores, other, moved)
    fixed = {**options, "target": scores.target}
    clean = rows_of(method.attribute(x, **fixed), 1, len(x))[0]
    changed = rows_of(other.attribute(moved, **fixed), 1, len(x))[0]
    found = torch.linalg.vector_norm(changed - clean, norm_ord, dim=1)
    if not relative:
        return found
    size = torch.linalg.vector_norm(clean, norm_ord, dim=1)
    because = "the explanation is 0 everywhere"
    return undefined(found / size, size > 0, "input_invariance", because)


def _check(method: Any, inputs: Any) -> None:
    if not isinstance(method, Attribution):
        raise InputTypeError(
            "method must be an object of a method, such as Saliency(model), which can be made for"
            f" another model, got {type(method).__name__}"
        )
    if not isinstance(inputs, Tensor):
        raise InputTypeError(
            "inputs must be a single tensor, whose shift a first layer can absorb, got a tuple"
        )


def _rebound(method: Attribution, added: Tensor, shifted: Forward | None) -> Attribution:
    """Return the method on the shifted model."""
    if shifted is None:
        _, rebound = shifted_copy(method.model, added, method)
        return rebound
    rebound = copy(method)
    rebound.model = shifted
    return rebound


def _check_scores(scores: TargetScores, other: Attribution, moved: Tensor) -> None:
    """Check that the shifted model does the same.

    Raises:
        ModelError: it does not.
    """
    again = copy(scores)
    again.model = other.model
    found = again.of([moved])[0]
    difference = float((found - scores.clean).abs().max())
    if not difference <= TOLERANCE * max(float(scores.clean.abs().max()), 1e-30):
        raise ModelError(
            "the shifted model must compute of the shifted inputs what the model does of the"
            f" others, but a score differs by {difference:.3g}: the model does something to its"
            " input before its first convolution or linear layer; pass the shifted model with"
            " shifted=..."
        )
