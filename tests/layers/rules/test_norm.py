"""The scales of all batch-norms of a forward, which are computed together."""

from __future__ import annotations

import pytest
import torch
from helpers import assert_same, noise
from torch import Tensor, nn

from torchattr.layers import Trace, nodes_of
from torchattr.layers.autograd import runs_rules
from torchattr.layers.rules.norm import scale_of

X = noise(2, 3, 4, 4)


def norm(eps: float, *, affine: bool = True) -> nn.BatchNorm2d:
    made = nn.BatchNorm2d(3, eps=eps, affine=affine, dtype=torch.float64)
    with torch.no_grad():
        assert made.running_var is not None
        made.running_var.uniform_(0.5, 2)
        for parameter in made.parameters():
            parameter.uniform_(0.5, 2)
    return made


def gradient(trace: Trace) -> Tensor:
    (found,) = trace.gradients(trace.output.flatten(1).sum(1), trace.input_edges)
    assert found is not None
    return found


@pytest.mark.parametrize("affine", [True, False], ids=["all affine", "one without weight"])
def test_each_scale_is_that_of_its_own_norm(affine: bool) -> None:
    shared = norm(1e-3)
    layers = [shared, norm(1e-5), norm(0.1, affine=affine), shared]
    model = nn.Sequential(*layers).eval()
    trace = Trace(model, (X,))
    calls = [node.state.call for node in nodes_of(trace.output) if runs_rules(node)]
    assert len(calls) == len(layers)
    with torch.no_grad():
        for call, layer in zip(calls, reversed(layers), strict=True):
            assert layer.running_var is not None
            alone = (layer.running_var + layer.eps).rsqrt()
            expected = alone if layer.weight is None else alone * layer.weight
            assert torch.equal(scale_of(call), expected)
    live = X.clone().requires_grad_()
    (plain,) = torch.autograd.grad(model(live).sum(), live)
    for _ in range(2):
        assert_same(gradient(trace), plain, relative=1e-12)


def test_scales_are_those_of_the_forward_that_ran() -> None:
    layer = norm(1e-5)
    model = nn.Sequential(layer).eval()
    before = gradient(Trace(model, (X,)))
    with torch.no_grad():
        layer.weight.mul_(2)
    assert_same(gradient(Trace(model, (X,))), 2 * before)
