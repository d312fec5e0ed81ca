"""Pairs are found from the operations that run; every other batch-norm has a reason."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from foldable import (
    Concatenated,
    Net,
    NormFirst,
    OtherReader,
    Rewriter,
    SharedConv,
    SharedNorm,
    SharedPair,
    TiedWeight,
    calibrated,
    network,
)
from helpers import assert_same, noise
from torch import nn
from torch.nn.utils import parametrizations, prune
from torchvision.ops import FrozenBatchNorm2d

import torchattr as ta
from torchattr.preparation.pairs import Pair


def report(model: nn.Module, *shape: int) -> Any:
    return ta.prepare(model, noise(2, *(shape or (3, 14, 14))), channels_last=False).report


def test_pairs_have_the_names_of_both() -> None:
    pairs = (Pair("conv1", "bn1"), Pair("conv2", "bn2"))
    assert report(network(Net)).folded == pairs


REASONS: dict[type[nn.Module], tuple[str, str]] = {
    OtherReader: ("bn1", "is also read by add"),
    Rewriter: ("bn1", "is also read by mul_"),
    SharedConv: ("bn2", "conv2 ran 2 times"),
    SharedNorm: ("bn1", "it ran 2 times"),
    SharedPair: ("bn2", "it ran 2 times"),
    TiedWeight: ("bn2", "weight of conv2 is used 2 times"),
    Concatenated: ("bn2", "not the output of a convolution"),
    NormFirst: ("bn2", "not the output of a convolution"),
}


@pytest.mark.parametrize("kind", REASONS)
def test_what_is_left_has_its_reason(kind: type[nn.Module]) -> None:
    name, reason = REASONS[kind]
    assert reason in report(network(kind)).left[name]


class OwnConv(nn.Conv2d):
    pass


class OwnNorm(nn.BatchNorm2d):
    """Normalises by other statistics than its own."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        held = (self.running_mean, self.running_var, self.weight + 1, self.bias)
        return F.batch_norm(input, *held, self.training, 0.1, self.eps)


class Pruned(Net):
    def __init__(self) -> None:
        super().__init__()
        prune.l1_unstructured(self.conv1, "weight", 0.5)


class OldWeightNorm(Net):
    """The weight is recomputed by a hook, as by `torch.nn.utils.weight_norm`."""

    def __init__(self) -> None:
        super().__init__()
        weight = self.conv1.weight
        del self.conv1._parameters["weight"]
        self.conv1.weight_v = nn.Parameter(weight.detach())
        self.conv1.weight = self.conv1.weight_v * 2
        self.conv1.register_forward_pre_hook(_doubled)


def _doubled(module: Any, args: Any) -> None:
    module.weight = module.weight_v * 2


class Parametrised(Net):
    def __init__(self) -> None:
        super().__init__()
        parametrizations.weight_norm(self.conv1)


class OwnClasses(Net):
    def __init__(self) -> None:
        super().__init__()
        self.conv1 = OwnConv(3, 6, 3)
        self.bn2 = OwnNorm(6)


class HookedConv(Net):
    def __init__(self) -> None:
        super().__init__()
        self.conv1.register_forward_hook(lambda module, args, output: output * 2)
        self.bn2.register_forward_pre_hook(lambda module, args: (args[0] + 1,))


class BatchStatistics(Net):
    def __init__(self) -> None:
        super().__init__(track_running_stats=False)


class Unused(Net):
    def features(self, x: torch.Tensor) -> torch.Tensor:
        return F.relu(self.bn1(self.conv1(x)))


class FunctionalNorm(Net):
    """Normalises the convolution's output by a function that uses the module's statistics."""

    def features(self, x: torch.Tensor) -> torch.Tensor:
        bn = self.bn1
        y = F.batch_norm(self.conv1(x), bn.running_mean, bn.running_var, bn.weight, bn.bias)
        return F.relu(self.bn2(self.conv2(F.relu(y))))


ODD: dict[type[nn.Module], dict[str, str]] = {
    Pruned: {"bn1": "conv1 is recomputed"},
    OldWeightNorm: {"bn1": "conv1 is recomputed"},
    Parametrised: {"bn1": "conv1 is a ParametrizedConv2d"},
    OwnClasses: {"bn1": "conv1 is a OwnConv", "bn2": "a OwnNorm does not normalise"},
    HookedConv: {"bn1": "conv1 has hooks on its output", "bn2": "it has hooks on its input"},
    BatchStatistics: {"bn1": "no running statistics", "bn2": "no running statistics"},
    Unused: {"bn2": "did not run"},
    FunctionalNorm: {"bn1": "did not run"},
}


@pytest.mark.parametrize("kind", ODD)
def test_odd_parts_are_left_and_right(kind: type[nn.Module]) -> None:
    torch.manual_seed(0)
    model, x = calibrated(kind(), 3, 14, 14), noise(2, 3, 14, 14)
    fast = ta.prepare(model, x, channels_last=False)
    for name, reason in ODD[kind].items():
        assert reason in fast.report.left[name]
    assert len(fast.report.folded) == 2 - len(ODD[kind])
    torch.testing.assert_close(fast(x), model(x), rtol=1e-10, atol=1e-10)


class NormAct(nn.BatchNorm2d):
    """A batch-norm with an activation, as timm has it."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        return F.relu_(super().forward(input))


class Scaling(nn.BatchNorm2d):
    """A batch-norm that does something to its input first."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        return super().forward(input * 2)


class Adding(nn.BatchNorm2d):
    """A batch-norm that also reads its input."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        return super().forward(input) + input.mean()


class Frozen(nn.Module):
    """Fixed statistics that are all buffers."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.eps = 1e-3
        for name in ("weight", "bias", "running_mean", "running_var"):
            self.register_buffer(name, torch.rand(channels) + 0.5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        held = (self.running_mean, self.running_var, self.weight, self.bias)
        return F.batch_norm(x, *held, eps=self.eps).relu()


NORMS: dict[Any, str | None] = {
    NormAct: None,
    Frozen: None,
    nn.SyncBatchNorm: None,
    Scaling: "not the output of a convolution",
    Adding: "is also read by mean",
    FrozenBatchNorm2d: "does not normalise",
}
"""Modules that normalise as a batch-norm does, and why some are not folded."""


@pytest.mark.parametrize("norm", NORMS)
def test_what_a_norm_does_besides_stays(norm: Any) -> None:
    torch.manual_seed(0)
    model = Net()
    model.bn1, model.bn2 = norm(6), norm(6)
    model.double().eval().apply(_drawn)
    x = noise(2, 3, 14, 14)
    fast = ta.prepare(model, x, channels_last=False)
    reason = NORMS[norm]
    assert len(fast.report.folded) == (0 if reason else 2)
    assert all(reason is not None and reason in why for why in fast.report.left.values())
    assert_same(fast(x), model(x), 1e-10)
    for method in (ta.Saliency, ta.GuidedBackprop):
        expected = method(model).attribute(x, target=1)
        assert_same(method(fast).attribute(x, target=1), expected, 1e-10)


def _drawn(part: nn.Module) -> None:
    """Return other statistics than a fresh norm has."""
    if isinstance(getattr(part, "running_mean", None), torch.Tensor):
        part.running_mean.normal_()
        part.running_var.uniform_(0.5, 2)


def test_other_statistics_than_those_of_the_pair_are_not_folded() -> None:
    class Switching(nn.BatchNorm2d):
        """Normalises batches of three by other statistics."""

        def forward(self, input: torch.Tensor) -> torch.Tensor:
            mean = self.running_mean + 1 if input.shape[0] == 3 else self.running_mean
            held = (mean, self.running_var, self.weight, self.bias)
            return F.batch_norm(input, *held, False, 0.1, self.eps)

    model = Net()
    model.bn1 = Switching(6)
    calibrated(model, 3, 14, 14).apply(_drawn)
    fast = ta.prepare(model, noise(2, 3, 14, 14), channels_last=False)
    assert len(fast.report.folded) == 2
    x = noise(3, 3, 14, 14)
    assert_same(fast(x), model(x), 1e-10)


def test_hooks_that_come_later_see_true_values() -> None:
    model, x = network(Net), noise(2, 3, 14, 14)
    fast = ta.prepare(model, x, channels_last=False)
    for one in (model, fast):
        one.conv1.register_forward_hook(lambda module, args, output: output * 2)
        one.bn2.register_forward_pre_hook(lambda module, args: (args[0] + 1,))
    torch.testing.assert_close(fast(x), model(x), rtol=1e-10, atol=1e-10)
