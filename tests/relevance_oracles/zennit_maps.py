"""Relevance by zennit, in float64, without its remainders of a batch-norm's `eps`."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from copy import deepcopy
from typing import Any, Literal

import torch
from torch import Tensor, nn

Canonizer = Literal["vgg", "resnet", "sequential"]
BatchNorm = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


def zennit_maps(
    model: nn.Module,
    x: Tensor,
    target: int,
    composite_name: str,
    canonizer: Canonizer | None = None,
    zero_params: Sequence[str] | None = None,
    low: float | None = None,
    high: float | None = None,
    **options: Any,
) -> Tensor:
    """Return the relevance of a batch, which starts with one at the target.

    `composite_name` is that of a class of `zennit.composites`; `low` and `high` are for those with
    a box. The canonizers know the networks of torchvision alone.
    """
    from zennit import composites
    from zennit.attribution import Gradient

    boxed = {} if low is None else {"low": low, "high": high}
    canonizers = [] if canonizer is None else [_canonizer(canonizer)]
    if zero_params is not None:
        options["zero_params"] = list(zero_params)
    composite = getattr(composites, composite_name)(canonizers=canonizers, **boxed, **options)
    copy = without_eps(deepcopy(model).double().eval()).requires_grad_(False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with Gradient(copy, composite, attr_output=lambda y: _one_at(target, y)) as attributor:
            found: Tensor = attributor(x.double())[1]
    return found.detach()


def without_eps(model: nn.Module) -> nn.Module:
    """Move the `eps` of every batch-norm to its variances, where it changes nothing.

    Versions of zennit below 1.0 merge a batch-norm into the layer before, but leave it its `eps`,
    with which it divides by `sqrt(1 + eps)`.
    """
    norms: list[Any] = [one for one in model.modules() if isinstance(one, BatchNorm)]
    for norm in norms:
        norm.running_var += norm.eps
        norm.eps = 0.0
    return model


def _one_at(target: int, scores: Tensor) -> Tensor:
    start = torch.zeros_like(scores)
    start[:, target] = 1.0
    return start


def _canonizer(name: Canonizer) -> Any:
    from zennit.canonizers import SequentialMergeBatchNorm
    from zennit.torchvision import ResNetCanonizer, VGGCanonizer

    known = {"vgg": VGGCanonizer, "resnet": ResNetCanonizer, "sequential": SequentialMergeBatchNorm}
    return known[name]()
