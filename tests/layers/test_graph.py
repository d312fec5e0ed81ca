"""Calls whose backwards are fused, and calls whose backwards must not be."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from helpers import assert_same, noise, seeded
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

import torchattr as ta
from torchattr.layers import TapPoint, Trace, rule_table
from torchattr.layers.autograd import runs_rules
from torchattr.layers.graph import nodes_of
from torchattr.layers.rules.relu import ReLUDeconvolution, ReLUGradient, ReLUGuided

pytestmark = pytest.mark.usefixtures("outputs_are_the_models_own")

TABLES = [{}, rule_table({"relu": "guided"}), rule_table({"relu": "deconvolution"})]
X = noise(2, 3, 16, 16)


class Gradient(ReLUGradient):
    """A subclass of a rule with fused pairs: it behaves like its base, but is not fused."""


class Guided(ReLUGuided):
    """Such a subclass of the guided rule."""


class Deconvolution(ReLUDeconvolution):
    """Such a subclass of the deconvnet's rule."""


ALONE = [{"relu": Gradient()}, {"relu": Guided()}, {"relu": Deconvolution()}]


def conv() -> nn.Conv2d:
    return nn.Conv2d(3, 4, 3, padding=1)


def head(spatial: int) -> list[nn.Module]:
    return [nn.Flatten(), nn.Linear(4 * spatial, 5)]


def with_norm() -> nn.BatchNorm2d:
    norm = nn.BatchNorm2d(4)
    with torch.no_grad():
        for tensor in (norm.weight, norm.bias, norm.running_mean):
            tensor.normal_()
        norm.running_var.uniform_(0.5, 2)
    return norm


NETS: dict[str, tuple[Callable[[], list[nn.Module]], int]] = {
    "pool": (lambda: [conv(), nn.ReLU(), nn.MaxPool2d(2), *head(64)], 1),
    "in tap": (lambda: [conv(), nn.ReLU(True), nn.MaxPool2d(2), *head(64)], 1),
    "overlapping": (lambda: [conv(), nn.ReLU(), nn.MaxPool2d(3, 1, 1), *head(256)], 1),
    "relu6": (lambda: [conv(), nn.ReLU6(), nn.MaxPool2d(2), *head(64)], 0),
    "wide": (lambda: [conv(), nn.ReLU(), nn.MaxPool2d(12), *head(1)], 0),
    "norm": (lambda: [conv(), with_norm(), nn.ReLU(), *head(256)], 1),
    "norm, in tap": (lambda: [conv(), with_norm(), nn.ReLU6(True), *head(256)], 1),
    "norm and pool": (lambda: [conv(), with_norm(), nn.ReLU(), nn.MaxPool2d(2), *head(64)], 1),
    "plain": (lambda: [conv(), nn.ReLU(), conv_after(), nn.ReLU(), *head(256)], 0),
}


def conv_after() -> nn.Conv2d:
    return nn.Conv2d(4, 4, 3, padding=1)


def made(name: str) -> nn.Module:
    return seeded(lambda: nn.Sequential(*NETS[name][0]())).double().eval()


def paired(trace: Trace) -> int:
    nodes = list(nodes_of(trace.output))
    return sum(node.state.is_done_above for node in nodes if runs_rules(node))


def maps(trace: Trace) -> list[Tensor]:
    found = []
    for number in range(3):
        (grad,) = trace.gradients(
            trace.output[:, 1], trace.input_edges, table=number, of_output=True
        )
        assert grad is not None
        found.append(grad)
    return found


@pytest.mark.parametrize("name", NETS)
def test_pairs_give_what_each_alone_gives(name: str) -> None:
    model = made(name)
    together, alone = Trace(model, (X,), tables=TABLES), Trace(model, (X,), tables=ALONE)
    assert paired(together) == NETS[name][1]
    assert paired(alone) == 0
    for one, other in zip(maps(together), maps(alone), strict=True):
        assert bool(one.any())
        assert_same(one, other, 1e-14)


def test_channels_last_pairs() -> None:
    for name in ("pool", "norm"):
        model = made(name)
        last = X.to(memory_format=torch.channels_last)
        together, alone = Trace(model, (last,), tables=TABLES), Trace(model, (X,), tables=ALONE)
        assert paired(together) == 1
        for one, other in zip(maps(together), maps(alone), strict=True):
            assert_same(one, other, 1e-12)


def test_the_mask_is_given_back_where_a_pool_gates() -> None:
    def sizes(name: str) -> list[int]:
        trace = Trace(made(name), (X,), tables=TABLES)
        nodes = [node for node in nodes_of(trace.output) if runs_rules(node)]
        return [t.untyped_storage().nbytes() for node in nodes for t in node.saved_tensors]

    assert sizes("pool") == [2 * 4 * 64, 0]
    assert sizes("relu6") == [2 * 4 * 64, 2 * 4 * 256 // 8]


class Branches(nn.Module):
    """Two calls read the rectifier; or its output is returned, too."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.conv, self.relu, self.pool = conv(), nn.ReLU(), nn.MaxPool2d(2)
        self.norm = with_norm()
        self.head = nn.Linear(256, 5)
        self.kind = kind

    def forward(self, x: Tensor) -> Any:
        if self.kind == "norm":
            normed = self.norm(self.conv(x))
            return self.head(F.adaptive_avg_pool2d(self.relu(normed) + normed, 8).flatten(1))
        rectified = self.relu(self.conv(x))
        pooled = self.pool(rectified)
        if self.kind == "skip":
            return self.head((pooled + F.avg_pool2d(rectified, 2)).flatten(1))
        return (self.head(pooled.flatten(1)), rectified)[self.kind == "given"]


@pytest.mark.parametrize("kind", ["skip", "norm", "given"])
def test_what_another_reads_stays_as_it_is(kind: str) -> None:
    model = seeded(Branches, kind).double().eval()
    trace, alone = Trace(model, (X,), tables=TABLES), Trace(model, (X,), tables=ALONE)
    assert paired(trace) == 0
    scores, scores_alone = (t.output.flatten(1).sum(1) for t in (trace, alone))
    for number in range(3):
        (one,) = trace.gradients(scores, trace.input_edges, table=number)
        (other,) = alone.gradients(scores_alone, alone.input_edges, table=number)
        assert_same(one, other)


@pytest.mark.parametrize("name", ["relu", "norm"])
def test_recorded_layers_are_read_and_start_gradients_as_ever(name: str) -> None:
    model = seeded(Branches, "plain").double().eval()
    if name == "norm":
        model = nn.Sequential(conv(), with_norm(), nn.ReLU(), *head(256)).double().eval()
    layer = model[1] if isinstance(model, nn.Sequential) else model.relu
    tap = TapPoint(layer)
    trace = Trace(model, (X,), tables=TABLES, taps=[tap])
    assert paired(trace) == 0
    (call,) = trace.calls(tap)
    leaf = call.values[0].detach().requires_grad_()
    if isinstance(model, nn.Sequential):
        rest = model[2:](leaf)
    else:
        rest = model.head(model.pool(leaf).flatten(1))
    (expected,) = torch.autograd.grad(rest[:, 1].sum(), leaf)
    (found,) = trace.gradients(trace.output[:, 1], call.edges, of_output=True)
    assert_same(found, expected)
    (from_layer,) = trace.gradients(call.values[0].flatten(1).sum(1), trace.input_edges)
    inner = X.clone().requires_grad_()
    whole = model[:2](inner) if isinstance(model, nn.Sequential) else model.conv(inner).relu()
    (expected,) = torch.autograd.grad(whole.sum(), inner)
    assert_same(from_layer, expected, 1e-14)


def test_indices_that_the_model_asks_for() -> None:
    def model(x: Tensor) -> Tensor:
        pooled, indices = F.max_pool2d(x.relu(), 2, return_indices=True)
        return F.linear(F.max_unpool2d(pooled, indices, 2).flatten(1), noise(5, 768))

    trace, alone = Trace(model, (X,), tables=TABLES), Trace(model, (X,), tables=ALONE)
    assert paired(trace) == 1
    for one, other in zip(maps(trace), maps(alone), strict=True):
        assert_same(one, other)


def test_a_checkpointed_part_pairs_too() -> None:
    part = seeded(lambda: nn.Sequential(conv(), nn.ReLU(), nn.MaxPool2d(2))).double()
    last = seeded(lambda: nn.Sequential(*head(64))).double()

    def checkpointed(x: Tensor) -> Tensor:
        return last(checkpoint(part, x, use_reentrant=False))

    def plain(x: Tensor) -> Tensor:
        return last(part(x))

    for method in (ta.Saliency, ta.GuidedBackprop, ta.Deconvolution):
        one = method(checkpointed).attribute(X, target=1)
        assert_same(one, method(plain).attribute(X, target=1))


def test_hooks_of_the_models_own_see_gradients_as_ever() -> None:
    seen: list[Tensor] = []
    part = seeded(lambda: nn.Sequential(conv(), nn.ReLU())).double()
    last = seeded(lambda: nn.Sequential(nn.MaxPool2d(2), *head(64))).double()

    def model(x: Tensor) -> Tensor:
        hidden = part(x)
        if hidden.requires_grad:
            hidden.register_hook(seen.append)
        return last(hidden)

    trace = Trace(model, (X,), tables=TABLES)
    assert paired(trace) == 0
    maps(trace)
    leaf = part(X).detach().requires_grad_()
    (expected,) = torch.autograd.grad(last(leaf)[:, 1].sum(), leaf)
    assert_same(seen[0], expected)
