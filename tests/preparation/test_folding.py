"""Folding is exact, whatever the model does with the outputs of its convolutions."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from foldable import (
    FOLDED,
    SHAPES,
    Branching,
    Functional,
    Net,
    OtherReader,
    Sequential,
    Transposed,
    calibrated,
    network,
)
from helpers import assert_same, noise, refused, sent_back, weighted
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

import torchattr as ta
from torchattr.errors import ModelError
from torchattr.preparation import Prepared, flipped_gates

ROUNDING = 1e-10
METHODS = (ta.Saliency, ta.GuidedBackprop, ta.Deconvolution, ta.InputXGradient)


def prepared(model: nn.Module, x: Tensor, **options: Any) -> Prepared:
    return ta.prepare(model, x, **{"channels_last": False, **options})


class Counted(TorchFunctionMode):
    """Counts the calls of batch-norm."""

    def __init__(self) -> None:
        super().__init__()
        self.norms = 0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.norms += func is F.batch_norm
        return func(*args, **(kwargs or {}))


def norms_run(model: nn.Module, x: Tensor) -> int:
    with Counted() as counted, torch.no_grad():
        model(x)
    return counted.norms


@pytest.mark.parametrize("kind", SHAPES)
@pytest.mark.parametrize("channels_last", [False, True])
def test_every_method_gives_the_same(kind: type[nn.Module], channels_last: bool) -> None:
    model, x = network(kind), noise(3, *SHAPES[kind])
    fast = prepared(model, x, channels_last=channels_last)
    assert len(fast.report.folded) == FOLDED[kind]
    assert norms_run(fast, x) == norms_run(model, x) - FOLDED[kind]
    assert_same(fast(x), model(x), ROUNDING)
    for method in METHODS:
        expected = method(model).attribute(x, target=weighted)
        assert_same(method(fast).attribute(x, target=weighted), expected, ROUNDING)
    flips = flipped_gates(model, fast, [x])
    assert flips.forward.gates > 0
    assert (flips.forward.flipped, flips.guided.flipped, flips.deconvolution.flipped) == (0, 0, 0)


def only(result: Any) -> Tensor:
    return result[0] if isinstance(result, tuple) else result


@pytest.mark.parametrize("kind", [Net, Functional, OtherReader])
@pytest.mark.parametrize("layer", ["conv1", "bn1", "conv2", "bn2"])
@pytest.mark.parametrize("of_input", [False, True])
def test_layers_inside_a_pair_have_their_true_values(
    kind: type[nn.Module], layer: str, of_input: bool
) -> None:
    model, x = network(kind), noise(2, 3, 14, 14)
    fast = prepared(model, x)
    options = {"attribute_to_layer_input": of_input}
    for method, target in ((ta.GradCAM, {"target": 2}), (ta.LayerActivation, {})):
        ours = method(fast, layer=layer).attribute(x, **target, **options)
        expected = method(model, layer=layer).attribute(x, **target, **options)
        # What is passed by keyword is given as a tuple.
        assert_same(*map(only, (ours, expected)), ROUNDING)


class Block(nn.Module):
    """A block that returns the output of its convolution; its batch-norm runs outside."""

    def __init__(self) -> None:
        super().__init__()
        self.part = nn.Sequential(nn.Conv2d(3, 4, 3))
        self.bn = nn.BatchNorm2d(4)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.bn(self.part(x))).flatten(1)


def test_a_hook_around_the_convolution_sees_its_true_output() -> None:
    model, x = calibrated(Block(), 3, 8, 8), noise(2, 3, 8, 8)
    fast = prepared(model, x)
    assert len(fast.report.folded) == 1
    expected = ta.GradCAM(model, layer="part").attribute(x, target=weighted)
    assert_same(ta.GradCAM(fast, layer="part").attribute(x, target=weighted), expected, ROUNDING)
    seen: list[Tensor] = []
    with fast.part.register_forward_hook(lambda module, args, output: seen.append(output + 0)):
        fast(x)
    assert_same(seen[0], model.part(x), ROUNDING)


def test_another_way_through_the_model_reads_what_the_convolution_gives() -> None:
    model, x = network(Branching), noise(2, 3, 14, 14)
    fast = prepared(model, x)
    assert len(fast.report.folded) == 2
    other = x + 3
    assert not torch.allclose(model.conv1(other), model.bn1(model.conv1(other)))
    assert_same(fast(other), model(other), ROUNDING)
    for method in METHODS:
        expected = method(model).attribute(other, target=0)
        assert_same(method(fast).attribute(other, target=0), expected, ROUNDING)


class Early(Net):
    """On some inputs, changes the convolution's output before the batch-norm."""

    before: Any = staticmethod(lambda model, y: y)

    def features(self, x: Tensor) -> Tensor:
        y = self.conv1(x)
        y = self.before(y) if x.amax() > 50 else self.bn1(y)
        return F.relu(self.bn2(self.conv2(F.relu(y))))


@pytest.mark.parametrize(
    "before",
    [
        lambda model, y: model.bn2(y),
        lambda model, y: model.bn1(y.mul_(2)),
        lambda model, y: (y.mul_(2), model.bn1(y))[1],
        lambda model, y: model.bn1(model.bn2(y)),
    ],
)
def test_only_its_own_batch_norm_takes_what_nobody_has_touched(before: Any) -> None:
    torch.manual_seed(0)
    model, x = calibrated(Early(), 3, 14, 14), noise(2, 3, 14, 14)
    fast = prepared(model, x)
    assert len(fast.report.folded) == 2
    x[:, 0, 0, 0] = 51
    for one in (model, fast._prepared_forward.model):
        one.before = before.__get__(one)
    assert_same(fast(x), model(x), ROUNDING)
    expected = ta.GuidedBackprop(model).attribute(x, target=weighted)
    assert_same(ta.GuidedBackprop(fast).attribute(x, target=weighted), expected, ROUNDING)


def test_a_hook_may_keep_what_it_was_given() -> None:
    model, x = network(Net), noise(2, 3, 14, 14)
    fast, kept = prepared(model, x), []
    fast.conv1.register_forward_hook(lambda module, args, output: kept.append(output))
    fast.bn2.register_forward_pre_hook(lambda module, args: kept.append(args[0]))
    assert_same(fast(x), model(x), ROUNDING)
    assert_same(kept[0], model.conv1(x))
    assert_same(kept[1], model.conv2(F.relu(model.bn1(model.conv1(x)))), ROUNDING)


class Late(Net):
    """On some inputs, reads the convolution's output after the batch-norm."""

    after: Any = staticmethod(lambda model, x, y: 0)

    def features(self, x: Tensor) -> Tensor:
        y = self.conv1(x)
        hidden = F.relu(self.bn2(self.conv2(F.relu(self.bn1(y)))))
        return hidden + self.after(x, y) if x.amax() > 50 else hidden


READERS = {
    "sum": lambda model, x, y: y,
    "list": lambda model, x, y: torch.stack([y, y]).sum(0),
    "keyword": lambda model, x, y: torch.mul(input=y, other=2),
    "attribute": lambda model, x, y: y.mT.mT,
    "item": lambda model, x, y: y[:, :1],
    "again": lambda model, x, y: model.bn1(y),
    "other norm": lambda model, x, y: model.bn2(y),
    "method": lambda model, x, y: y.abs().sum().item(),
}


@pytest.fixture
def late() -> tuple[nn.Module, Prepared, Tensor]:
    """A model, its prepared copy, and an input on which it reads its convolution late."""
    torch.manual_seed(0)
    model = calibrated(Late(), 3, 14, 14)
    x = noise(2, 3, 14, 14)
    other = x.clone()
    other[:, 0, 0, 0] = 51
    return model, prepared(model, x), other


@pytest.mark.parametrize("name", READERS)
def test_a_late_reader_sees_the_true_output(late: Any, name: str) -> None:
    model, fast, x = late
    assert len(fast.report.folded) == 2
    for one in (model, fast._prepared_forward.model):
        one.after = READERS[name].__get__(one)
    assert_same(fast(x), model(x), ROUNDING)
    expected = ta.GuidedBackprop(model).attribute(x, target=0)
    assert_same(ta.GuidedBackprop(fast).attribute(x, target=0), expected, ROUNDING)


def test_a_reader_that_comes_too_late_is_refused(late: Any) -> None:
    _, fast, x = late
    fast._prepared_forward.model.after = lambda x, y: x.zero_().sum() + y
    with refused(ModelError, "overwriting", "fold=False"):
        fast(x)


class Hidden(torch.autograd.Function):
    """A function whose application function modes do not see."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return 2 * x

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        return 2 * grad


def unseen(x: Tensor) -> Tensor:
    """Read a tensor in a way that function modes do not see."""
    with torch._C.DisableTorchFunction():
        return 2 * x


def test_a_gradient_that_comes_unseen_is_refused(late: Any) -> None:
    model, fast, x = late
    model.after = fast._prepared_forward.model.after = lambda x, y: Hidden.apply(y)
    assert_same(fast(x), model(x), ROUNDING)
    with refused(ModelError, "autograd", "fold=False"):
        ta.Saliency(fast).attribute(x, target=0)
    again = prepared(model, x)
    assert "is also read by mul" in again.report.left["bn1"]
    expected = ta.Saliency(model).attribute(x, target=0)
    assert_same(ta.Saliency(again).attribute(x, target=0), expected, ROUNDING)


def test_an_unseen_reader_gets_no_number_that_looks_right(late: Any) -> None:
    model, fast, x = late
    model.after = fast._prepared_forward.model.after = lambda x, y: unseen(y)
    assert fast(x).isnan().all()
    # On the example inputs it is detected at once.
    with refused(ModelError, "output differs", "fold=False"):
        prepared(model, x)
    assert_same(prepared(model, x, fold=False)(x), model(x))


def test_a_reader_without_a_graph_keeps_it_for_the_next(late: Any) -> None:
    model, fast, x = late

    def after(x: Tensor, y: Tensor) -> Tensor:
        with torch.no_grad():
            y.mul_(3)
        return y

    model.after = fast._prepared_forward.model.after = after
    assert_same(fast(x), model(x), ROUNDING)
    expected = ta.Saliency(model).attribute(x, target=0)
    assert_same(ta.Saliency(fast).attribute(x, target=0), expected, ROUNDING)


class Returned(Net):
    def forward(self, x: Tensor) -> Any:
        y = self.conv1(x)
        return {"scores": self.bn1(y).flatten(1), "before": [y]}


def test_what_the_model_returns_is_true() -> None:
    model, x = calibrated(Returned(), 3, 6, 6), noise(2, 3, 6, 6)
    fast = prepared(model, x, output="scores")
    assert "returns it" in fast.report.left["bn1"]
    assert_same(fast(x)["before"][0], model(x)["before"][0])


def test_rules_for_convolutions_meet_the_original_ones() -> None:
    class Positive(ta.LayerRule):
        def backward(self, call: Any, grad: Tensor, *saved: Tensor) -> Tensor:
            (sent,) = call.vjp(grad, torch.ones(call.shape, dtype=grad.dtype))
            return sent * (1 + call.weight.abs().mean())

    model, x = network(Net), noise(2, 3, 14, 14)
    fast = prepared(model, x)
    for rules in ({"conv": Positive()}, {"batch_norm": "gradient"}):
        expected = ta.InputXGradient(model, rules=rules, memory="lean").attribute(x, target=1)
        assert_same(ta.InputXGradient(fast, rules=rules).attribute(x, target=1), expected)


def test_a_part_of_a_prepared_model_runs_by_itself() -> None:
    model, x = network(Sequential), noise(2, 3, 14, 14)
    fast = prepared(model, x)
    assert_same(fast[0](x), model[0](x))
    assert_same(fast[1](fast[0](x)), model[1](model[0](x)))


def test_folded_weights_follow_the_weights_that_they_come_from() -> None:
    model, x = network(Net), noise(2, 3, 14, 14)
    fast = prepared(model, x)
    before = fast(x)
    with torch.no_grad():
        model.conv1.weight.mul_(1.5)
        model.bn2.running_mean.add_(0.1)
    assert not torch.allclose(fast(x), before)
    assert_same(fast(x), model(x), ROUNDING)
    fast.load_state_dict(network(Net).state_dict())
    assert_same(fast(x), before, ROUNDING)


def test_a_copy_of_the_copy_works() -> None:
    model, x = network(Transposed, groups=2), noise(2, 4, 5, 5)
    fast = prepared(model, x)
    for other in (copy.deepcopy(fast), pickle.loads(pickle.dumps(fast))):
        assert norms_run(other, x) == 0
        assert_same(other(x), model(x), ROUNDING)
        with torch.no_grad():
            other[0].weight.zero_()
        assert not torch.allclose(other(x), model(x))
    assert_same(fast(x), model(x), ROUNDING)


def test_another_dtype_folds_again_from_the_weights() -> None:
    model, x = network(Net), noise(2, 3, 14, 14)
    fast = prepared(copy.deepcopy(model).float(), x.float()).double()
    assert_same(fast(x), copy.deepcopy(model).float().double()(x), ROUNDING)


def test_training_a_part_leaves_its_pair_alone() -> None:
    model, x = network(Net), noise(2, 3, 14, 14)
    fast = prepared(model, x)
    fast.bn1.train()
    with pytest.raises(ta.TrainingModeError):
        ta.Saliency(fast).attribute(x, target=0)


def test_unusual_dimensions_are_not_folded() -> None:
    model = calibrated(nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Flatten()), 4)
    fast = prepared(model, noise(3, 4))
    assert len(fast.report.folded) == 1
    # Here the batch-norm's channels are the second dimension, and the linear layer's the third.
    other = noise(3, 6, 4)
    assert_same(fast(other), model(other))
    with pytest.raises(ValueError, match="expected"):
        prepared(network(Net), noise(2, 3, 14, 14))(noise(3, 14, 14))


@settings(max_examples=60, deadline=None)
@given(
    dims=st.integers(1, 3),
    transposed=st.booleans(),
    groups=st.sampled_from([1, 2, 3]),
    extent=st.integers(1, 3),
    stride=st.integers(1, 2),
    bias=st.booleans(),
    affine=st.booleans(),
    eps=st.sampled_from([1e-5, 1e-3, 0.3]),
    seed=st.integers(0, 99),
)
def test_any_setting(
    dims: int,
    transposed: bool,
    groups: int,
    extent: int,
    stride: int,
    bias: bool,
    affine: bool,
    eps: float,
    seed: int,
) -> None:
    names = ("ConvTranspose" if transposed else "Conv", f"{dims}d")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        conv = getattr(nn, "".join(names))(6, 12, extent, stride=stride, groups=groups, bias=bias)
        norm = getattr(nn, f"BatchNorm{dims}d")(12, eps=eps, affine=affine)
        model = calibrated(nn.Sequential(conv, norm, nn.ReLU(), nn.Flatten()), 6, *(5,) * dims)
    x = noise(2, 6, *(5,) * dims, seed=seed)
    fast = prepared(model, x)
    assert len(fast.report.folded) == 1
    grad = noise(*model(x).shape, seed=seed + 1)
    rules = {"relu": "guided"}
    assert_same(fast(x), model(x), ROUNDING)
    assert_same(sent_back(fast, x, grad, rules), sent_back(model, x, grad, rules), ROUNDING)
