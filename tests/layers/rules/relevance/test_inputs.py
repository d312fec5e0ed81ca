"""What a layer's rule keeps of its input, and that what it computes again is the input itself."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from helpers import assert_same, noise, seeded
from relevance_oracles.engine import composite_of, relevance_of, signal_of, traced
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.utils.checkpoint import checkpoint

from torchattr.layers import Trace, nodes_of
from torchattr.layers.autograd import runs_rules
from torchattr.layers.rules.relevance import inputs
from torchattr.layers.rules.relevance.inputs import FEW_PRODUCTS, input_of

pytestmark = pytest.mark.usefixtures("outputs_are_the_models_own")

RULES = {
    "conv": "alpha_beta",
    "linear": "epsilon",
    "relu": "secant",
    "gelu": "secant",
    "batch_norm": "affine",
}
CHEAP: Any = seeded(nn.Conv2d, 3, 8, 3, padding=1).double().requires_grad_(False)
DEAR: Any = seeded(nn.Conv2d, 8, 4, 3, padding=1, seed=2).double().requires_grad_(False)
WIDE: Any = seeded(nn.Conv2d, 3, 8, 5, padding=2, seed=7).double().requires_grad_(False)
EACH: Any = seeded(nn.Conv2d, 8, 8, 3, padding=1, groups=8, seed=3).double().requires_grad_(False)
NORM: Any = nn.BatchNorm2d(8).double().eval().requires_grad_(False)
NORM.weight.copy_(torch.linspace(-1, 2, 8))
X = noise(2, 3, 6, 6)
G = noise(2, 4, 6, 6, seed=5)

AGAIN: dict[str, Callable[[Tensor], Tensor]] = {
    "nothing between": lambda x: DEAR(CHEAP(x)),
    "relu": lambda x: DEAR(CHEAP(x).relu()),
    "relu in place": lambda x: DEAR(CHEAP(x).relu_()),
    "relu6": lambda x: DEAR(F.relu6(CHEAP(x))),
    "gelu": lambda x: DEAR(F.gelu(CHEAP(x))),
    "norm and relu": lambda x: DEAR(F.relu(NORM(CHEAP(x)), inplace=True)),
    "depthwise": lambda x: DEAR(EACH(WIDE(x)).relu()),
}


def changed(h: Tensor) -> Tensor:
    """Write over a tensor beside its graph."""
    h.detach().mul_(2)
    return h


def changed_before_relu(x: Tensor) -> Tensor:
    return DEAR(changed(CHEAP(x)).relu())


KEPT: dict[str, Callable[[Tensor], Tensor]] = {
    "dear convolution": lambda x: DEAR(WIDE(x).relu()),
    "sum": lambda x: DEAR(CHEAP(x).relu() + 1),
    "pool": lambda x: F.interpolate(DEAR(F.max_pool2d(CHEAP(x).relu(), 2)), scale_factor=2),
    "view": lambda x: DEAR(CHEAP(x).relu().transpose(2, 3)),
    "transposed": lambda x: DEAR(
        F.conv_transpose2d(x, torch.ones(3, 8, 1, 1).double() * noise(3, 8, 1, 1, seed=9))
    ),
    "changed without a graph": lambda x: DEAR(changed(CHEAP(x).relu())),
    "changed before the relu": changed_before_relu,
    "checkpointed": lambda x: checkpoint(DEAR, CHEAP(x).relu(), use_reentrant=False),
    "computed again itself": lambda x: DEAR(EACH(CHEAP(x)).relu()),
}


def last_call(trace: Trace) -> Any:
    calls = [node.state.call for node in nodes_of(trace.output) if runs_rules(node)]
    return next(call for call in calls if call.arguments.get("weight") is DEAR.weight)


def hidden(function: Callable[[Tensor], Tensor], monkeypatch: pytest.MonkeyPatch) -> Tensor:
    """Return the relevance where no input is computed again."""
    with monkeypatch.context() as patch:
        patch.setattr(inputs, "FEW_PRODUCTS", 0)
        return relevance_of(function, X, G, RULES)


@pytest.mark.parametrize("name", AGAIN)
def test_input_is_computed_again_from_what_is_kept_below(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    function = AGAIN[name]
    call = last_call(traced(function, X, composite_of(RULES)))
    assert call.notes.steps
    below = X if name != "depthwise" else WIDE(X)
    read: list[Tensor] = []
    with monkeypatch.context() as patch:
        patch.setattr(DEAR, "forward", lambda h: read.append(h.clone()) or h)
        function(X)
    assert torch.equal(input_of(call, below), read[0])
    assert torch.equal(relevance_of(function, X, G, RULES), hidden(function, monkeypatch))


@pytest.mark.parametrize("name", KEPT)
def test_input_is_kept(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    function = KEPT[name]
    assert not last_call(traced(function, X, composite_of(RULES))).notes.steps
    assert torch.equal(relevance_of(function, X, G, RULES), hidden(function, monkeypatch))


def test_input_of_another_dtype_is_kept() -> None:
    """Under autocast a convolution returns another dtype than it reads."""

    def function(x: Tensor) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            found: Tensor = convolutions(x)
        return found

    convolutions = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 4, 3)).eval()
    trace = traced(function, X.float(), composite_of(RULES))
    calls = [node.state.call for node in nodes_of(trace.output) if runs_rules(node)]
    assert not any(call.notes.steps for call in calls if call.operation.name == "conv")


def test_few_products_are_those_of_a_first_layer_and_of_depthwise_layers() -> None:
    assert CHEAP.weight[0].numel() <= FEW_PRODUCTS
    assert EACH.weight[0].numel() <= FEW_PRODUCTS
    assert DEAR.weight[0].numel() > FEW_PRODUCTS


def block(*channels: int) -> list[nn.Module]:
    pairs = pairwise(channels)
    layers = [(nn.Conv2d(a, b, 3, padding=1), nn.ReLU(inplace=True)) for a, b in pairs]
    return [*(layer for pair in layers for layer in pair), nn.MaxPool2d(2)]


def saved_bytes(run: Callable[[], Any], *known: Tensor) -> int:
    held: dict[int, Tensor] = {}

    def pack(tensor: Tensor) -> Tensor:
        held[tensor.untyped_storage().data_ptr()] = tensor.detach()
        return tensor

    with saved_tensors_hooks(pack, lambda tensor: tensor):
        kept = run()
    del kept
    skip = {tensor.untyped_storage().data_ptr() for tensor in known}
    return sum(t.untyped_storage().nbytes() for at, t in held.items() if at not in skip)


@pytest.mark.parametrize("rule", ["z_plus", "alpha_beta", "gamma", "epsilon"])
def test_bytes_of_a_plain_network(rule: str) -> None:
    """Inputs of layers, a bit for each rectified element, a byte for each window."""
    side, wide = 32, 16
    model = nn.Sequential(
        *block(3, wide, wide),
        *block(wide, 2 * wide, 2 * wide),
        *(nn.Flatten(), nn.Linear(2 * wide * (side // 4) ** 2, 10)),
    )
    model = model.eval().requires_grad_(False)
    x = noise(1, 3, side, side, dtype=torch.float32)
    first, second = side**2, (side // 2) ** 2
    rectified = 2 * wide * first + 2 * 2 * wide * second
    pooled = wide * second, 2 * wide * second // 4
    # The second layer's input is computed again from the image.
    floats = x.numel() + sum(pooled) + 2 * wide * second
    expected = 4 * floats + rectified // 8 + sum(pooled)
    composite = composite_of({**RULES, "conv": rule})
    state = list(model.parameters())
    found = saved_bytes(lambda: traced(model, x, composite), *state)
    assert found == expected
    # Autograd alone saves each rectified element, what convolutions read, and 8 bytes a window.
    plain = saved_bytes(lambda: model(x.clone().requires_grad_()), *state)
    assert plain == 4 * (x.numel() + rectified + pooled[0]) + 8 * sum(pooled)
    assert 3 * found < plain


def test_several_backwards_read_the_same_inputs() -> None:
    trace = traced(AGAIN["relu in place"], X, composite_of(RULES))
    first = signal_of(trace, G)
    assert_same(signal_of(trace, G), first)
