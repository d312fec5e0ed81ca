"""Guided backpropagation and the deconvnet: the gradient with another rectifier backward."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from torchattr.methods.base import GradientAttribution
from torchattr.methods.registry import register_method


@register_method("guided_backprop")
class GuidedBackprop(GradientAttribution):
    """The gradient with each ReLU's backward replaced by `g · [x > 0] · [g > 0]`.

    Springenberg, Dosovitskiy, Brox and Riedmiller 2015, arXiv:1412.6806.

    It is *not* class-discriminative: it shows what the network sees sharply, nearly the same for
    every class, and hardly changes when upper layers are randomised (Adebayo et al. 2018,
    arXiv:1810.03292). Negative values come from below the first ReLU.

    >>> import torch, torchattr as ta
    >>> model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.ReLU(), torch.nn.Linear(4, 2))
    >>> ta.GuidedBackprop(model).attribute(torch.ones(1, 3), target=1).shape
    torch.Size([1, 3])
    """

    rules: ClassVar[Mapping[str, Any]] = {"relu": "guided"}


@register_method("deconvolution")
class Deconvolution(GradientAttribution):
    """The deconvnet: the gradient with each ReLU's backward replaced by `g · [g > 0]`.

    Equal to transposed convolution, rectification and unpooling by switches, layer by layer, from
    the target down. Zeiler and Fergus 2014, arXiv:1311.2901.

    It is *not* the gradient of anything: the signal is rectified on its way down without looking
    at the forward pass, which enters through the max-pools' switches only.

    >>> import torch, torchattr as ta
    >>> model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.ReLU(), torch.nn.Linear(4, 2))
    >>> ta.Deconvolution(model).attribute(torch.ones(1, 3), target=1).shape
    torch.Size([1, 3])
    """

    rules: ClassVar[Mapping[str, Any]] = {"relu": "deconvolution"}
