"""Targets from which no gradient reaches the inputs."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from networks import Net, conv, head, pictures, pooled
from torch import Tensor

import torchattr as ta
from torchattr.errors import OutputError

X = pictures(2, 3, 8, 8)


def net_of(run: Any) -> Net:
    return Net(run, first=conv(), second=conv(8), head=head())


CUT = net_of(lambda net, x: pooled(net, net.second(net.first(x).relu()).detach()))

METHODS = {
    "saliency": lambda net: ta.Saliency(net),
    "guided": lambda net: ta.GuidedBackprop(net, strict=False),
    "input x gradient": lambda net: ta.InputXGradient(net),
    "integrated": lambda net: ta.IntegratedGradients(net),
    "shap": lambda net: ta.GradientShap(net),
    "tunnel": lambda net: ta.NoiseTunnel(ta.Saliency(net)),
    "cam in the cut part": lambda net: ta.GradCAM(net, "second"),
    "guided cam": lambda net: ta.GuidedGradCAM(net, "second", strict=False),
}


@pytest.mark.parametrize("method", METHODS)
def test_every_method_refuses_and_names_the_cause(method: str) -> None:
    with pytest.raises(ta.DisconnectedError, match="a tensor was detached") as error:
        METHODS[method](CUT).attribute(X, target=1)
    assert "FeatureAblation, Occlusion and RISE" in str(error.value)
    assert not str(error.value).startswith("GradientAttribution")


def test_what_needs_no_gradient_goes_on() -> None:
    maps = ta.Occlusion(CUT).attribute(X, target=1, sliding_window_shapes=(3, 4, 4))
    assert maps.any()
    with pytest.raises(ta.DisconnectedError, match="detached"):
        ta.explain(CUT, X, ["saliency"], ta.Classes([1]))


def test_prepared_models() -> None:
    with pytest.raises(OutputError, match=r"no path from the model.s output to example_inputs"):
        ta.prepare(CUT, X)


def test_neurons_before_the_cut_are_explained() -> None:
    assert ta.Saliency(CUT).attribute(X, target=ta.Neuron("second", (1, 2, 3))).any()
    with pytest.raises(ta.DisconnectedError):
        ta.Saliency(CUT).attribute(X, target=ta.Neuron("head", (1,)))


@pytest.mark.parametrize(
    "run",
    [
        lambda net, x: pooled(net, net.first(x)) // 0.1,
        lambda net, x: torch.heaviside(pooled(net, net.first(x)), torch.zeros((), dtype=x.dtype)),
        lambda net, x: pooled(net, net.first(x)) + pooled(net, net.first(x)) // 0.1,
    ],
)
def test_functions_without_derivative(run: Any) -> None:
    with pytest.raises(ta.DisconnectedError, match="cannot differentiate"):
        ta.Saliency(net_of(run)).attribute(X, target=1)


class Sign(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.sign()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        return grads[0]


CONNECTED = {
    "straight through": lambda net, x: pooled(net, Sign.apply(net.first(x))),
    "straight through by detach": lambda net, x: pooled(
        net, net.first(x) + (net.first(x).round() - net.first(x)).detach()
    ),
    "fake quantised": lambda net, x: pooled(
        net, torch.fake_quantize_per_tensor_affine(net.first(x).float(), 0.1, 0, -128, 127).double()
    ),
    "scaled by item": lambda net, x: pooled(net, net.first(x) / net.first(x).max().item()),
    "scaled by numpy": lambda net, x: pooled(net, net.first(x) * x.detach().numpy().std()),
    "one branch": lambda net, x: pooled(net, net.first(x) + net.first(x).detach().exp()),
    "where": lambda net, x: pooled(
        net, torch.where(net.first(x) > 0, net.first(x), net.first(x).detach())
    ),
    "into new memory": lambda net, x: pooled(net, x.new_zeros(2, 8, 8, 8).copy_(net.first(x))),
}  # fmt: skip


@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize("name", CONNECTED)
def test_what_is_connected_has_plain_gradients(name: str, frozen: bool) -> None:
    net = net_of(CONNECTED[name]).requires_grad_(not frozen)
    leaf = X.clone().requires_grad_()
    (wanted,) = torch.autograd.grad(net(leaf)[:, 1].sum(), leaf)
    torch.testing.assert_close(ta.Saliency(net).attribute(X, target=1), wanted.abs())


def test_an_input_that_is_not_used() -> None:
    net = net_of(lambda net, x, y: pooled(net, net.first(x)) * y.shape[2])
    with pytest.warns(ta.DisconnectedWarning, match="input 1"):
        maps = ta.Saliency(net).attribute((X, X), target=1)
    assert not maps[1].any()


def test_an_example_that_is_cut_off() -> None:
    net = net_of(
        lambda net, x: pooled(net, torch.cat([net.first(x[:1]), net.first(x[1:]).detach()]))
    )
    with pytest.warns(ta.DisconnectedWarning, match="example 1,"):
        ta.Saliency(net).attribute(X, target=1)


def test_closed_gates_are_no_cut() -> None:
    net = net_of(lambda net, x: pooled(net, F.relu(net.first(x) - 100)))
    assert not ta.Saliency(net).attribute(X, target=1).any()


def test_one_of_several_targets_that_is_cut_off() -> None:
    def run(net: Any, x: Tensor) -> Tensor:
        scores = pooled(net, net.first(x))
        return torch.cat([scores[:, :2], scores[:, 2:].detach()], 1)

    net = net_of(run)
    with pytest.warns(ta.DisconnectedWarning):
        ta.Saliency(net).attribute(X, target=ta.Classes([0, 2]))


def test_layers_off_the_way() -> None:
    net = net_of(lambda net, x: {"a": pooled(net, net.first(x)), "b": net.second(net.first(x))})
    with pytest.raises(ta.DisconnectedError, match="not on the path to it"):
        ta.GradCAM(net, "second", output="a").attribute(X, target=1)
