"""ShapleyCAM: the product with the second derivative, against the whole matrix."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from cam_networks import Deep, Pooled, images, layer_pair, seeded
from helpers import refused
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.attention import SDPBackend, sdpa_kernel

import torchattr as ta


class Tail(nn.Module):
    """What follows the layer `norm` of `Deep`, with the rest of its sum."""

    def __init__(self, net: Any, x: Tensor) -> None:
        super().__init__()
        self.net, self.side = net, net.side(net.stem(x)).detach()

    def forward(self, values: Tensor) -> Tensor:
        h = torch.relu(self.net.last(values + self.side))
        return self.net.head(h.amax((2, 3)))


@pytest.mark.parametrize("log_probability", [True, False])
def test_curvature_is_that_of_the_whole_matrix(log_probability: bool) -> None:
    net, x = seeded(Deep), images()
    found = ta.ShapleyCAM(net, "norm", log_probability=log_probability).attribute(x, target=1)
    for number in range(2):
        one = x[number : number + 1]
        tail = Tail(net, one)

        def score(values: Tensor, tail: nn.Module = tail) -> Tensor:
            scores = tail(values)
            more = scores.log_softmax(1)[0, 1] if log_probability else 0
            return scores[0, 1] + more

        values = ta.LayerActivation(net, "norm").attribute(one)
        matrix = torch.autograd.functional.hessian(score, values).reshape(values.numel(), -1)
        slope = torch.autograd.functional.jacobian(score, values)
        product = (matrix @ values.reshape(-1)).view_as(values)
        weights = (slope - product / 2).mean((2, 3), keepdim=True)
        expected = (weights * values).sum(1, keepdim=True)
        torch.testing.assert_close(found[number : number + 1], expected)
    if not log_probability:
        # The part behind the layer is piecewise linear.
        torch.testing.assert_close(found, ta.GradCAM(net, "norm").attribute(x, target=1))


def test_curved_networks_several_layers_and_targets() -> None:
    net, x = seeded(Pooled, nn.GELU), images()
    method = ta.ShapleyCAM(net, ["stem", "body"])
    several = method.attribute(x, target=ta.Classes(2, 0))
    for number, target in enumerate((2, 0)):
        for name, found in method.attribute(x, target=target).items():
            torch.testing.assert_close(several[name][:, number], found)
    explained = ta.explain(net, x, ["shapley_cam"], targets=2, layer="stem")["shapley_cam"]
    torch.testing.assert_close(explained, several["stem"][:, :1])
    values, gradients = layer_pair(net, net.get_submodule("stem"), x, 2)
    plain = (gradients.mean((2, 3), keepdim=True) * values).sum(1, keepdim=True)
    assert not torch.allclose(several["stem"][:, 0], plain)


def test_what_cannot_be_is_said() -> None:
    net, x = seeded(Pooled), images()
    with refused(ta.TargetError, "log_probability", "class"):
        ta.ShapleyCAM(net, "body").attribute(x, target=lambda scores: scores[:, 0])

    class Opaque(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            return x * 2

        @staticmethod
        @once_differentiable
        def backward(ctx: Any, grad: Tensor) -> Tensor:
            return grad * 2

    class Custom(Pooled):
        def forward(self, x: Tensor) -> Tensor:
            return Opaque.apply(super().forward(x))

    with refused(ta.LayerError, "differentiates twice", "GradCAM"):
        ta.ShapleyCAM(seeded(Custom), "body").attribute(x, target=1)
    with refused(ta.LayerError, "training mode"):
        ta.ShapleyCAM(seeded(Pooled).train(), "body").attribute(x, target=1)


def test_fused_attention_is_refused_with_the_way_out() -> None:
    class Attending(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body, self.head = nn.Conv2d(3, 8, 4, 4), nn.Linear(8, 3)

        def forward(self, x: Tensor) -> Tensor:
            tokens = self.body(x).flatten(2).transpose(1, 2)[:, None].contiguous()
            mixed = nn.functional.scaled_dot_product_attention(tokens, tokens, tokens)
            return self.head(mixed[:, 0].mean(1))

    method, x = ta.ShapleyCAM(seeded(Attending), "body"), torch.rand(2, 3, 16, 16).double()
    with refused(ta.LayerError, "differentiates twice", "sdpa_kernel(SDPBackend.MATH)", "GradCAM"):
        method.attribute(x, target=1)
    with sdpa_kernel(SDPBackend.MATH):
        assert method.attribute(x, target=1).any()
