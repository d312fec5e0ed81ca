"""Guided backpropagation: the gradient with a different ReLU backward."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from torchattr.methods.base import GradientAttribution
from torchattr.methods.registry import register_method


@register_method("guided_backprop")
class GuidedBackprop(GradientAttribution):
    """The gradient with each ReLU's backward replaced by `g · [x > 0] · [g > 0]`.

    Springenberg, Dosovitskiy, Brox and Riedmiller 2015, arXiv:1412.6806.

    It is *not* class-discriminative: it shows sharply what the network detects, nearly the same
    for every class, and hardly changes when upper layers are randomised (Adebayo et al. 2018,
    arXiv:1810.03292). Negative values arise below the first ReLU.

    >>> import torch, torchattr as ta
    >>> model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.ReLU(), torch.nn.Linear(4, 2))
    >>> ta.GuidedBackprop(model).attribute(torch.ones(1, 3), target=1).shape
    torch.Size([1, 3])
    """

    rules: ClassVar[Mapping[str, Any]] = {"relu": "guided"}
