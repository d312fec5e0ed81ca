"""The fast gradient sign method."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor

from torchattr.core.inputs import Inputs, as_inputs
from torchattr.core.types import Forward, OutputKey, TensorsT
from torchattr.errors import InputError, InputTypeError
from torchattr.methods import Saliency, checked_number
from torchattr.robust.attack import (
    Attack,
    Loss,
    as_masks,
    cross_entropy,
    loss_target,
    where_masked,
)


class FGSM(Attack):
    """One step of size ε along the sign of the loss's gradient: `clamp(x + ε · sign(∂L/∂x))`.

    Goodfellow, Shlens and Szegedy 2015, arXiv:1412.6572. A targeted attack steps against it,
    towards the label.

    It is *not* the smallest change that succeeds, nor sure to succeed.

    Args:
        model: as for every method, see :class:`torchattr.Attribution`.
        loss_func: from the model's scores and the labels to the loss of each example, or of the
            batch; the cross-entropy of the softmax by default.
        lower_bound: smallest value of an input.
        upper_bound: largest value of an input.
        output: as for every method.

    >>> model = torch.nn.Linear(3, 2)
    >>> x = torch.zeros(1, 3)
    >>> changed = FGSM(model).perturb(x, 0.1, target=0)
    >>> bool(model(changed)[0, 0] - model(changed)[0, 1] < model(x)[0, 0] - model(x)[0, 1])
    True
    """

    zero_thresh: ClassVar[float] = 0.0
    """Gradients up to this magnitude count as 0, and leave an element unchanged."""

    def __init__(
        self,
        model: Forward,
        loss_func: Loss | None = None,
        lower_bound: float = float("-inf"),
        upper_bound: float = float("inf"),
        *,
        output: OutputKey = None,
    ) -> None:
        lower_bound = checked_number(lower_bound, "lower_bound", finite=False)
        upper_bound = checked_number(upper_bound, "upper_bound", finite=False)
        if loss_func is not None and not callable(loss_func):
            raise InputTypeError(
                "loss_func must be a function of the scores and the labels, or None, got"
                f" {type(loss_func).__name__} {loss_func!r}"
            )
        if lower_bound > upper_bound:
            raise InputError(f"lower_bound {lower_bound} is above upper_bound {upper_bound}")
        self._gradient = Saliency(model, output=output)
        self.loss_func = loss_func
        self._bounds = (lower_bound, upper_bound)

    def perturb(
        self,
        inputs: TensorsT,
        epsilon: float,
        target: Any,
        additional_forward_args: Any = None,
        targeted: bool = False,
        mask: Any = None,
    ) -> TensorsT:
        """Return the changed inputs, in their form.

        Args:
            inputs: as for every method.
            epsilon: size of the step.
            target: the right label to get away from, or with `targeted` the label to get to, in any
                form of a target; a `loss_func` is given it as it is.
            additional_forward_args: as for every method.
            targeted: decrease the loss instead.
            mask: 0 where an input must not change; broadcasts to it, one for each input.

        Raises:
            TargetError: labels that do not fit the output.
            ShapeError: a mask that does not fit its input.
        """
        epsilon = checked_number(epsilon, "epsilon")
        given = as_inputs(inputs)
        steps = self.directions(given, target, additional_forward_args, mask)
        size = -epsilon if targeted else epsilon
        changed = [
            self.bound(x.detach() + size * step)
            for x, step in zip(given.tensors, steps, strict=True)
        ]
        found: TensorsT = given.restore(changed)
        return found

    def bound(self, tensor: Tensor) -> Tensor:
        """Return an input within its bounds."""
        return tensor.clamp(*self._bounds)

    def directions(
        self, inputs: Inputs, target: Any, additional_forward_args: Any, mask: Any
    ) -> list[Tensor]:
        """Return the sign of the loss's gradient at each input, 0 where it must not change."""
        masks = as_masks(mask, inputs)
        loss = loss_target(self.loss_func or self.default_loss, target, inputs)
        grads = self._gradient.attribute(
            inputs.tensors, loss, abs=False, additional_forward_args=additional_forward_args
        )
        signs = [grad.sign().where(grad.abs() > self.zero_thresh, 0) for grad in grads]
        return [
            where_masked(one, sign, torch.zeros_like(sign))
            for one, sign in zip(masks, signs, strict=True)
        ]

    def default_loss(self, output: Tensor, target: Any) -> Tensor:
        """Return the loss that is increased if there is no `loss_func`."""
        return cross_entropy(output, target)
