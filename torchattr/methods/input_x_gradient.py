"""Input times gradient."""

from __future__ import annotations

from torch import Tensor

from torchattr.methods.base import GradientAttribution
from torchattr.methods.registry import register_method


@register_method("input_x_gradient")
class InputXGradient(GradientAttribution):
    """The input times its gradient, `x · ∂s/∂x`, shaped like the input.

    Shrikumar, Greenside, Shcherbina and Kundaje 2016, arXiv:1605.01713.

    Its sum is the score only for a piecewise linear model without biases; with biases it is *not*
    a complete account of the score.

    >>> import torch, torchattr as ta
    >>> model = torch.nn.Linear(3, 2, bias=False)
    >>> x = torch.ones(1, 3)
    >>> bool(ta.InputXGradient(model).attribute(x, target=1).sum().isclose(model(x)[0, 1]))
    True
    """

    def finish(self, inputs: Tensor, grads: Tensor) -> Tensor:
        return inputs.detach() * grads
