"""Every rescale rule: complete, the gradient where nothing differs, and by hand where easy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from helpers import assert_same, noise, refused, weighted
from torch import Tensor, nn

import torchattr as ta
from torchattr.layers import OPERATIONS, Trace, registered_rules
from torchattr.layers.rule import OwnGradient

X, X0, W = noise(3, 4, 6), noise(3, 4, 6, seed=2), noise(6, 6, seed=3)
MASK = torch.tensor([[True, False, True, True]] * 4)
BIAS = noise(4, 4, seed=4)
KINDS = (torch.float32, torch.float64)
Function = Callable[[Tensor], Tensor]


def dots(x: Tensor) -> Tensor:
    return x @ W


def attention(**options: Any) -> Function:
    return lambda x: F.scaled_dot_product_attention(x @ W, x @ W.T, x.tanh(), **options)


def grouped_queries(x: Tensor) -> Tensor:
    q, k = (x @ W).view(3, 4, 2, 3), x.view(3, 2, 4, 3)
    return F.scaled_dot_product_attention(q, k, k.tanh(), enable_gqa=True)


def normalised(layer: nn.Module) -> Function:
    layer = layer.double().requires_grad_(False).eval()
    for index, name in enumerate(("weight", "bias")):
        if getattr(layer, name, None) is not None:
            getattr(layer, name).copy_(noise(*getattr(layer, name).shape, seed=7 + index))
    return lambda x: layer(x @ W)


ELEMENTWISE: dict[str, Function] = {
    **{
        name: lambda x, name=name: getattr(F, name)(3 * dots(x))
        for name in (
            *("relu", "relu6", "leaky_relu", "elu", "celu", "selu", "gelu", "silu", "mish"),
            *("hardswish", "softplus", "hardsigmoid", "logsigmoid", "softsign", "tanhshrink"),
            *("hardtanh", "softshrink", "hardshrink", "rrelu"),
        )
    },
    "sigmoid": lambda x: torch.sigmoid(dots(x)),
    "tanh": lambda x: dots(x).tanh(),
    "exp": lambda x: dots(x).exp(),
    "erf": lambda x: torch.erf(dots(x)),
    "cube": lambda x: dots(x) ** 3,
    "reciprocal": lambda x: 1 / (2 + dots(x).square()),
    "clamp": lambda x: dots(x).clamp(-1, 0.5),
    "prelu": lambda x: F.prelu(dots(x), torch.tensor([0.1, 0.2, 0.3, -0.4], dtype=X.dtype)),
    "masked": lambda x: (lambda h: h * (h > 0))(dots(x)),
}
"""Functions of each element; some have kinks, where there is no single gradient."""

OTHERS: dict[str, Function] = {
    "mul": lambda x: x * dots(x),
    "mul with itself": lambda x: (lambda h: h * h)(dots(x)),
    "scale": lambda x: dots(x).relu() * noise(6, seed=9),
    "mul, broadcast": lambda x: x.mean(-1, keepdim=True).exp() * x,
    "div": lambda x: x / (2 + dots(x).square()),
    "div by a constant": lambda x: dots(x).sigmoid() / (2 + noise(4, 1).abs()),
    "matmul": lambda x: dots(x).softmax(-1) @ x.mT,
    "bmm": lambda x: torch.bmm(x, dots(x).mT),
    "baddbmm": lambda x: torch.baddbmm(x @ x.mT, x, dots(x).mT, beta=0.5, alpha=2),
    "einsum": lambda x: torch.einsum("bij,bkj->bik", x, dots(x)),
    "convolution with computed weights": lambda x: F.conv1d(
        dots(x).view(1, 12, 6), x.reshape(12, 1, 6)[:, :, :3] * 2, groups=12
    ).view(3, -1),
    "softmax": lambda x: dots(x).softmax(-1),
    "softmax over tokens": lambda x: F.softmax(dots(x), 1),
    "attention": attention(),
    "causal attention": attention(is_causal=True, scale=0.3),
    "attention with a mask": attention(attn_mask=MASK),
    "attention with a bias": attention(attn_mask=BIAS),
    "attention with a computed bias": lambda x: F.scaled_dot_product_attention(
        dots(x), x, x.tanh(), attn_mask=x @ dots(x).mT
    ),
    "attention with a computed bias for all queries": lambda x: F.scaled_dot_product_attention(
        dots(x)[:, None], x[:, None], x[:, None], attn_mask=(x @ dots(x).mT)[:, None, :1]
    ),
    "attention of grouped queries": grouped_queries,
    "attention of learned queries": lambda x: F.scaled_dot_product_attention(
        noise(3, 2, 6, seed=5), dots(x), x
    ),
    "layer norm": normalised(nn.LayerNorm(6)),
    "layer norm over two": normalised(nn.LayerNorm((4, 6))),
    "layer norm without weights": lambda x: F.layer_norm(dots(x), (6,)),
    "rms norm": normalised(nn.RMSNorm(6)),
    "rms norm with eps": normalised(nn.RMSNorm((4, 6), eps=0.1)),
    "group norm": normalised(nn.GroupNorm(2, 4)),
    "instance norm": normalised(nn.InstanceNorm1d(4, affine=True)),
    "instance norm with statistics": normalised(nn.InstanceNorm1d(4, track_running_stats=True)),
    "batch norm": normalised(nn.BatchNorm1d(4)),
    "normalize": lambda x: F.normalize(dots(x), dim=-1),
    "normalize by cubes": lambda x: F.normalize(dots(x), p=3.0, dim=1),
    "norm": lambda x: dots(x).norm(dim=-1),
    "norm by cubes": lambda x: torch.linalg.vector_norm(dots(x), 3, (1, 2))[:, None] * BIAS[0],
    "response norm": lambda x: F.local_response_norm(dots(x), 3, 1.0),
    "max pool 1d": lambda x: F.max_pool1d(dots(x), 3, 1, 1),
    "max pool 2d": lambda x: F.max_pool2d(dots(x)[:, None], 3, 2, 1, ceil_mode=True),
    "max pool 3d": lambda x: F.max_pool3d(dots(x)[:, None], 3, 1, 1),
    "adaptive max pool": lambda x: F.adaptive_max_pool1d(dots(x), 4),
    "logsumexp": lambda x: (3 * dots(x)).logsumexp(-1),
    "logsumexp of two": lambda x: torch.logsumexp(dots(x), (1, 2), keepdim=True) * noise(5),
    "amax": lambda x: dots(x).amax((-2, 0 - 1))[:, None] * noise(5),
    "amax of one": lambda x: dots(x).amax(1, keepdim=True),
}

EVERY = {**ELEMENTWISE, **OTHERS}


def score(output: Tensor) -> Tensor:
    """Weigh every value, so that none is constant by construction."""
    return weighted(output.flatten(1))


@pytest.mark.parametrize("baselines", [X0, None], ids=["noise", "zeros"])
@pytest.mark.parametrize("name", EVERY)
def test_contributions_sum_to_the_difference(name: str, baselines: Tensor | None) -> None:
    function = EVERY[name]
    found = ta.DeepLift(function).attribute(X, baselines, target=score)
    start = torch.zeros_like(X) if baselines is None else baselines
    rise = score(function(X)) - score(function(start))
    size = found.abs().flatten(1).sum(1)
    assert bool((rise.abs() > 1e-6 * size).any()), "nothing is compared"
    assert bool(((found.flatten(1).sum(1) - rise).abs() <= 1e-12 * size).all())


@pytest.mark.parametrize("name", OTHERS)
def test_multipliers_are_the_gradient_where_nothing_differs(name: str) -> None:
    function = OTHERS[name]
    method = ta.DeepLift(function, multiply_by_inputs=False)
    found = method.attribute(X, X, target=score)
    gradient = ta.Saliency(function).attribute(X, target=score, abs=False)
    assert_same(found, gradient, 1e-9)


@pytest.mark.parametrize("name", EVERY)
def test_targets_at_once_are_those_one_by_one(name: str) -> None:
    def flat(x: Tensor) -> Tensor:
        return EVERY[name](x).flatten(1)

    method = ta.DeepLift(flat)
    found = method.attribute(X, X0, target=ta.Classes(0, 2, 1))
    for number, target in enumerate((0, 2, 1)):
        assert_same(found[:, number], method.attribute(X, X0, target=target), 1e-12)


def multipliers(function: Function, x: list[float], x0: list[float]) -> list[float]:
    method = ta.DeepLift(lambda rows: function(rows)[:, None], multiply_by_inputs=False)
    rows = torch.tensor([x], dtype=torch.float64), torch.tensor([x0], dtype=torch.float64)
    found: list[float] = method.attribute(*rows, target=0)[0].tolist()
    return found


def test_every_rescale_rule_serves_a_case() -> None:
    served = set()
    requested = {name: OwnGradient() for name, one in OPERATIONS.items() if one.on_request}
    for function in EVERY.values():
        trace = Trace(function, (X,), tables=[requested], key=lambda output: output)
        served |= set(trace.coverage.calls)
    of_package = {
        operation
        for (operation, _), rule in registered_rules().items()
        if ".deep_lift." in rule.__module__
    }
    assert of_package - served == set()


def test_products_by_hand() -> None:
    assert multipliers(lambda x: x[:, 0] * x[:, 1], [3, 5], [1, 2]) == [3.5, 2]
    quotient = multipliers(lambda x: x[:, 0] / x[:, 1], [3, 4], [1, 2])
    # 1 over the mean of 4 and 2, and that times the mean of 3/4 and 1/2.
    assert quotient == pytest.approx([1 / 3, -0.625 / 3])
    across = multipliers(lambda x: x[:, 0] / x[:, 1], [3, 4], [1, -2])
    # The mean of 1/4 and -1/2, and the mean of 3 and 1 times (1/4 + 1/2) / (4 + 2).
    assert across == pytest.approx([-0.125, 2 * 0.125])


def test_a_max_pool_by_hand() -> None:
    def largest(x: Tensor) -> Tensor:
        return F.max_pool1d(x[:, None], 3)[:, 0, 0]

    # From 4 to 6: to the winner of the input, which rises by 5.
    assert multipliers(largest, [6, 0, 1], [1, 4, 0]) == [0.4, 0, 0]
    # From 6 to 4: to the winner of the reference, which falls by 5.
    assert multipliers(largest, [1, 4, 0], [6, 0, 1]) == [0.4, 0, 0]
    # The same winner, which does not differ: its gradient.
    assert multipliers(largest, [6, 0, 1], [6, 4, 0]) == [1, 0, 0]


def test_a_softmax_of_two_is_a_sigmoid_of_their_difference() -> None:
    slope = (torch.tensor([5.0, 1.0], dtype=torch.float64).sigmoid().diff() / (1 - 5)).item()
    found = multipliers(lambda x: x.softmax(1)[:, 0], [7, 2], [1, 0])
    assert found == pytest.approx([slope, -slope])


def test_slopes_of_a_softmax_are_bounded_however_far_logits_are_apart() -> None:
    x, x0 = torch.tensor([[300.0, 0, -50]]), torch.tensor([[0.0, 200, 0]])
    found = ta.DeepLift(lambda x: x.softmax(1), multiply_by_inputs=False).attribute(x, x0, target=0)
    assert bool((found.abs() <= 1).all())
    assert (found * (x - x0)).sum().item() == pytest.approx(1)


SOFTMAXES: dict[str, Function] = {
    "softmax": lambda x: x.softmax(1),
    "log_softmax": lambda x: x.log_softmax(1),
    "logsumexp": lambda x: torch.logsumexp(x, 1, keepdim=True),
    "attention": lambda x: F.scaled_dot_product_attention(x.unsqueeze(1), W[None].to(x), W.to(x)),
}


@pytest.mark.parametrize("name", SOFTMAXES)
@pytest.mark.parametrize(
    ("apart", "offset"), [(1e-5, 0.0), (1e-2, 3e3), (1.0, 1e5), (40.0, 0.0)], ids=str
)
def test_slopes_of_a_softmax_are_exact_in_single_precision(
    name: str, apart: float, offset: float
) -> None:
    x0 = noise(4, 6, seed=2).float()
    x = x0 + apart * noise(4, 6).float() + (offset if name != "attention" else 0)
    method = ta.DeepLift(SOFTMAXES[name], multiply_by_inputs=False)

    def target(y: Tensor) -> Tensor:
        return y.flatten(1)[:, 0]

    found, exact = (method.attribute(x.to(kind), x0.to(kind), target) for kind in KINDS)
    assert_same(found.double(), exact, 2e-6)


def test_multipliers_of_a_softmax_sum_to_0_in_single_precision() -> None:
    x, x0, grad = (noise(8, 100, seed=seed).float() for seed in range(3))
    method = ta.DeepLift(lambda x: x.softmax(1), multiply_by_inputs=False)
    found = method.attribute(x, x0, lambda y: (y * (100 + grad)).sum(1)).double()
    assert (found.sum(1).abs() / found.abs().amax(1)).max() < 1e-5


def test_a_layer_norm_by_its_definition() -> None:
    z, z0 = (one - one.mean(-1, keepdim=True) for one in (X, X0))
    v, v0 = (one.square().mean(-1, keepdim=True) + 1e-5 for one in (z, z0))
    s, s0, grad = v.sqrt(), v0.sqrt(), noise(3, 4, 6, seed=8)
    # What one unit of the size takes away, through the size's slope and that of each square.
    taken = (grad * (z / s + z0 / s0) / (s + s0)).sum(-1, keepdim=True)
    below = 2 * grad / (s + s0) - taken * (s - s0) / (v - v0) * (z + z0) / 6
    expected = below - below.mean(-1, keepdim=True)
    method = ta.DeepLift(lambda x: F.layer_norm(x, (6,)), multiply_by_inputs=False)
    found = method.attribute(X, X0, target=lambda y: (y * grad).flatten(1).sum(1))
    assert_same(found, expected, 1e-9)


SPELLINGS: dict[str, tuple[Function, ...]] = {
    "relu": (
        lambda x: torch.relu(dots(x)),
        lambda x: dots(x).relu_(),
        lambda x: dots(x).clamp(min=0),
        lambda x: torch.ops.aten.relu(dots(x)),
        nn.ReLU(inplace=True),
    ),
    "product": (
        lambda x: dots(x) * x,
        lambda x: dots(x).mul_(x),
        lambda x: torch.multiply(dots(x), x),
        lambda x: torch.ops.aten.mul(dots(x), x),
    ),
    "softmax": (
        lambda x: dots(x).softmax(-1),
        lambda x: F.softmax(dots(x), dim=-1),
        lambda x: torch.ops.aten._softmax(dots(x), -1, False),
    ),
    "gelu": (lambda x: F.gelu(dots(x)), lambda x: torch.ops.aten.gelu(dots(x))),
    "normalize": (lambda x: F.normalize(dots(x)), lambda x: F.normalize(dots(x), 2.0, 1, 1e-12)),
    "written over later": (
        lambda x: torch.relu(dots(x)) + 2 * dots(x),
        lambda x: (lambda h: torch.relu(h) + h.mul_(2))(dots(x)),
    ),
}


@pytest.mark.parametrize("name", SPELLINGS)
def test_spellings_agree(name: str) -> None:
    first, *others = (
        f if not isinstance(f, nn.Module) else (lambda x, f=f: f(dots(x))) for f in SPELLINGS[name]
    )
    expected = ta.DeepLift(first).attribute(X, X0, target=score)
    for other in others:
        assert_same(ta.DeepLift(other).attribute(X, X0, target=score), expected, 1e-12)


def test_a_rule_without_a_reference_is_refused() -> None:
    method = ta.GuidedBackprop(nn.ReLU(), rules={"relu": "rescale"})
    with refused(ta.RuleError if hasattr(ta, "RuleError") else ValueError, "DeepLift"):
        method.attribute(noise(1, 2), target=0)


def test_bfloat16_is_near_to_single_precision() -> None:
    model = nn.Sequential(nn.Linear(6, 8), nn.GELU(), nn.LayerNorm(8), nn.Linear(8, 3)).bfloat16()
    x, x0 = X[:, 0].bfloat16(), X0[:, 0].bfloat16()
    found = ta.DeepLift(model).attribute(x, x0, target=1)
    assert found.dtype is torch.bfloat16
    expected = ta.DeepLift(model.float()).attribute(x.float(), x0.float(), target=1)
    assert (found.float() - expected).abs().max() < 0.05 * expected.abs().max()
