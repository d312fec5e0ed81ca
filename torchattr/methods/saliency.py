"""Saliency: the gradient itself."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from torchattr.core.targets import Target
from torchattr.core.types import TensorsT
from torchattr.methods.base import GradientAttribution
from torchattr.methods.registry import register_method


@register_method("saliency")
class Saliency(GradientAttribution):
    """The gradient of the target with respect to the input, `|∂s/∂x|`, shaped like the input.

    Simonyan, Vedaldi and Zisserman 2014, arXiv:1312.6034.

    It is *not* a contribution: it shows how the score would react to a small change, and its sum
    is unrelated to the score.

    >>> import torch, torchattr as ta
    >>> model = torch.nn.Linear(3, 2)
    >>> torch.equal(
    ...     ta.Saliency(model).attribute(torch.ones(1, 3), target=1)[0], model.weight[1].abs()
    ... )
    True
    """

    def attribute(  # type: ignore[override]  # Captum's order: `abs` comes third
        self,
        inputs: TensorsT,
        target: Target = None,
        abs: bool = True,
        additional_forward_args: Any = None,
    ) -> TensorsT:
        """Return the gradient, shaped like the inputs.

        Args:
            inputs: as for every method, see :class:`Attribution`.
            target: as for every method.
            abs: return magnitudes; otherwise the signed gradient.
            additional_forward_args: as for every method.
        """
        return self._attribute(inputs, target, additional_forward_args, abs=abs)

    def finish(self, inputs: Tensor, grads: Tensor, *, abs: bool = True) -> Tensor:
        return grads.abs() if abs else grads
