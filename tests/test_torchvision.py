"""torchvision's classification families: right, or loud, on every one of them."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from functools import lru_cache
from typing import Any

import pytest
import torch
from helpers import assert_same, autograd, noise, rectifiers
from torch import Tensor, nn

import torchattr as ta
from torchattr.layers import Trace, rule_table

models = pytest.importorskip("torchvision").models

pytestmark = pytest.mark.slow

FAMILIES = {
    "alexnet": 64,
    "convnext_tiny": 64,
    "densenet121": 64,
    "efficientnet_b0": 64,
    "efficientnet_v2_s": 64,
    "googlenet": 64,
    "inception_v3": 96,
    "maxvit_t": 224,
    "mnasnet0_5": 64,
    "mobilenet_v2": 64,
    "mobilenet_v3_small": 64,
    "regnet_x_400mf": 64,
    "regnet_y_400mf": 64,
    "resnet18": 64,
    "resnext50_32x4d": 64,
    "shufflenet_v2_x0_5": 64,
    "squeezenet1_1": 64,
    "swin_t": 64,
    "swin_v2_t": 64,
    "vgg11": 64,
    "vgg11_bn": 64,
    "vit_b_32": 224,
    "wide_resnet50_2": 64,
}
UNCOVERED = {
    *("convnext_tiny", "efficientnet_b0", "efficientnet_v2_s", "maxvit_t"),
    *("swin_t", "swin_v2_t", "vit_b_32"),
}
"""These have no rectifier between the input and the output, but other activations."""
PARTLY = {"mobilenet_v3_small"}
"""These have both."""


@lru_cache(maxsize=4)
def built(name: str) -> nn.Module:
    """Build a model in float64 whose batch-norms have seen a few batches of noise.

    With statistics that do not fit, signals explode or vanish, and a comparison shows nothing.
    """
    options: dict[str, Any] = (
        {"init_weights": False} if name in ("googlenet", "inception_v3") else {}
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = getattr(models, name)(num_classes=10, **options).double()
        calibrate(model, FAMILIES[name])
        if name == "vit_b_32":
            nn.init.normal_(model.heads.head.weight)  # zero to begin with
    return model.eval()


def calibrate(model: nn.Module, size: int) -> None:
    norms = [part for part in model.modules() if isinstance(part, nn.BatchNorm2d)]
    for part in norms:
        part.momentum = None
        part.reset_running_stats()
    if norms:
        model.eval()
        for part in norms:
            part.train()
        with torch.no_grad():
            model(torch.randn(8, 3, size, size, dtype=torch.float64))


def picture(name: str) -> Tensor:
    size = FAMILIES[name]
    return noise(1, 3, size, size, seed=3)


def rectifier_nodes(model: nn.Module, x: Tensor) -> int:
    """Count the rectifiers between input and output in the graph that PyTorch itself builds."""
    frozen = deepcopy(model).requires_grad_(False)
    waiting = [frozen(x.clone().requires_grad_().clone()).grad_fn]
    seen = set(waiting)
    while waiting:
        below = {node for node, _ in waiting.pop().next_functions if node is not None} - seen
        seen |= below
        waiting += below
    return sum(
        node.name().startswith("ReluBackward")
        or (node.name().startswith("HardtanhBackward") and node._saved_min_val == 0)
        for node in seen
    )


def quietly(attribute: Callable[[], Tensor], name: str) -> Tensor:
    if name in PARTLY:
        with pytest.warns(ta.CoverageWarning, match="keep their own gradient"):
            return attribute()
    return attribute()


@pytest.mark.parametrize("name", FAMILIES)
def test_saliency_is_the_gradient(name: str) -> None:
    model, x = built(name), picture(name)
    result = ta.Saliency(model).attribute(x, target=1, abs=False)
    assert_same(result, autograd(model, x, lambda output: output[:, 1]), 1e-12)


@pytest.mark.parametrize("name", FAMILIES)
def test_every_rectifier_is_rewritten_or_the_refusal_is_loud(name: str) -> None:
    model, x = built(name), picture(name)
    count = rectifier_nodes(model, x)
    coverage = Trace(model, (x,), tables=[rule_table({"relu": "guided"})]).coverage
    assert coverage.calls["relu"] == count
    assert (coverage.own["relu"], coverage.hidden, coverage.custom) == (0, {}, {})
    method = ta.GuidedBackprop(model)
    if name in UNCOVERED:
        assert count == 0
        with pytest.raises(ta.NoRuleMatched, match="rewrote nothing"):
            method.attribute(x, target=1)
    else:
        assert count > 0
        result = quietly(lambda: method.attribute(x, target=1), name)
        assert not torch.allclose(result, ta.Saliency(model).attribute(x, target=1, abs=False))


@pytest.mark.parametrize("rule", ["guided", "deconvolution"])
@pytest.mark.parametrize(
    "name", ["googlenet", "inception_v3", "densenet121", "resnet18", "vgg11_bn", "squeezenet1_1"]
)
def test_rules_equal_the_handwritten_rectifier(name: str, rule: str) -> None:
    """A copy under PyTorch's own autograd, in which each rectifier is written by hand."""
    model, x = built(name), picture(name)
    method = ta.GuidedBackprop if rule == "guided" else ta.Deconvolution
    result = method(model).attribute(x, target=1)
    with rectifiers(rule):
        expected = autograd(deepcopy(model), x, lambda output: output[:, 1])
    assert_same(result, expected, 1e-12)
    plain = ta.Saliency(model).attribute(x, target=1, abs=False)
    assert (result - plain).abs().max() > 0.01 * result.abs().max()
