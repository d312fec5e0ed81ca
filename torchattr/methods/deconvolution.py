"""The deconvnet: the gradient with a different ReLU backward."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from torchattr.methods.base import GradientAttribution
from torchattr.methods.registry import register_method


@register_method("deconvolution")
class Deconvolution(GradientAttribution):
    """The deconvnet: the gradient with each ReLU's backward replaced by `g · [g > 0]`.

    Equal to transposed convolution, rectification and unpooling by switches, layer by layer, from
    the target down. Zeiler and Fergus 2014, arXiv:1311.2901.

    It is *not* the gradient of anything: the signal is rectified on its way down, independently of
    the forward pass, which only enters through the max-pools' switches.

    >>> import torch, torchattr as ta
    >>> model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.ReLU(), torch.nn.Linear(4, 2))
    >>> ta.Deconvolution(model).attribute(torch.ones(1, 3), target=1).shape
    torch.Size([1, 3])
    """

    rules: ClassVar[Mapping[str, Any]] = {"relu": "deconvolution"}
