"""Operations that are parsed only on request: every spelling, its inputs and its gradient."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from helpers import assert_same, autograd, noise, refused, seeded, sent_back
from torch import Tensor, nn

import torchattr as ta
from torchattr.core.torch_private import opened
from torchattr.errors import TrainingModeError
from torchattr.layers import OPERATIONS, Trace
from torchattr.layers.operations.parsers.requested import parse_requested
from torchattr.layers.rule import OwnGradient

pytestmark = pytest.mark.usefixtures("outputs_are_the_models_own")

aten = torch.ops.aten
REQUESTED = [name for name, operation in OPERATIONS.items() if operation.on_request]
OWN = {name: OwnGradient() for name in REQUESTED}

X = noise(2, 4, 4).abs() + 0.3
C = noise(2, 4, 4, seed=2).abs() + 0.5
SHAPED = noise(4, 4, seed=3)

Spelling = Callable[[Tensor], Tensor]

SPELLINGS: dict[str, dict[str, Spelling]] = {
    "mul": {
        "torch": lambda x: torch.mul(x, C),
        "multiply": lambda x: torch.multiply(C, x),
        "method": lambda x: x.mul(C),
        "operator": lambda x: x * C,
        "reflected": lambda x: C * x,
        "in place": lambda x: (2 * x).mul_(C),
        "operator in place": lambda x: operator.imul(2 * x, C),
        "itself": lambda x: x * x,
        "aten": lambda x: aten.mul.Tensor(x, C),
        "aten in place": lambda x: aten.mul_.Tensor(2 * x, C),
        "by keyword": lambda x: torch.mul(other=C, input=x),
    },
    "div": {
        "torch": lambda x: torch.div(x, C),
        "true_divide": lambda x: torch.true_divide(C, x),
        "divide": lambda x: x.divide(C),
        "operator": lambda x: x / C,
        "divisor": lambda x: C / x,
        "in place": lambda x: (2 * x).div_(C),
        "operator in place": lambda x: operator.itruediv(2 * x, C),
        "aten": lambda x: aten.div.Tensor(x, C),
    },
    "matmul": {
        "torch": lambda x: torch.matmul(x, C),
        "operator": lambda x: x @ C,
        "reflected": lambda x: C @ x,
        "method": lambda x: x.matmul(x),
        "bmm": lambda x: torch.bmm(C, x),
        "mm": lambda x: x[0].mm(SHAPED)[None],
        "mv": lambda x: torch.mv(x[0], SHAPED[0])[None],
        "dot": lambda x: torch.dot(x[0, 0], SHAPED[0])[None, None],
        "outer": lambda x: torch.outer(x[0, 0], SHAPED[0])[None],
        "einsum": lambda x: torch.einsum("nij,njk->nik", x, C),
        "tensordot": lambda x: torch.tensordot(x, SHAPED, dims=1),
        "kron": lambda x: torch.kron(x[0], SHAPED)[None],
        "baddbmm": lambda x: torch.baddbmm(C, x, x.transpose(1, 2), alpha=2),
        "baddbmm of a sum": lambda x: torch.baddbmm(x, C, x, beta=0.5),
        "addmm": lambda x: torch.addmm(SHAPED, x[0], x[1])[None],
        "baddbmm by keyword": lambda x: torch.baddbmm(C, batch2=x, batch1=2 * x),
        "baddbmm in place": lambda x: (2 * x).baddbmm_(C, x),
        "addmm by keyword": lambda x: torch.addmm(SHAPED, mat1=x[0], mat2=x[1])[None],
        "bmm by keyword": lambda x: torch.bmm(mat2=C, input=x),
        "mv by keyword": lambda x: torch.mv(x[0], vec=SHAPED[0])[None],
        "addmv": lambda x: torch.addmv(SHAPED[0], x[0], x[1, 0])[None],
        "aten": lambda x: aten.bmm.default(x, C),
        "computed weights": lambda x: F.linear(C, x[0], x[1, 0]),
        "computed filters": lambda x: F.conv1d(x, x.transpose(0, 2)[:, :, :1].contiguous()),
    },
    "softmax": {
        "F": lambda x: F.softmax(x, -1),
        "torch": lambda x: torch.softmax(x, dim=1),
        "method": lambda x: x.softmax(-1),
        "module": nn.Softmax(-1),
        "special": lambda x: torch.special.softmax(x, -1),
        "aten": lambda x: aten._softmax.default(x, -1, False),
    },
    "sigmoid": {
        "torch": torch.sigmoid,
        "F": F.sigmoid,
        "method": lambda x: x.sigmoid(),
        "in place": lambda x: (2 * x).sigmoid_(),
        "expit": torch.special.expit,
        "module": nn.Sigmoid(),
        "aten": lambda x: aten.sigmoid.default(x),
    },
    "tanh": {
        "torch": torch.tanh,
        "F": F.tanh,
        "method": lambda x: x.tanh(),
        "in place": lambda x: (2 * x).tanh_(),
        "aten": lambda x: aten.tanh.default(x),
    },
    "elementwise": {
        "exp": torch.exp,
        "power": lambda x: x**3,
        "power in place": lambda x: operator.ipow(2 * x, 2),
        "power of a number": lambda x: 2.0**x,
        "powers by element": lambda x: x**C,
        "power of a tensor": lambda x: torch.pow(2.0, x),
        "sqrt": lambda x: x.sqrt(),
        "clamp": lambda x: x.clamp(0.5, 1.0),
        "hardsigmoid": F.hardsigmoid,
        "logsigmoid": F.logsigmoid,
        "erf": torch.erf,
    },
    "reciprocal": {"torch": torch.reciprocal, "divided": lambda x: 1.0 / x,
        "method": lambda x: x.reciprocal(), "in place": lambda x: (2 * x).reciprocal_(),
        "power": lambda x: x**-2, "power in place": lambda x: (2 * x).pow_(-1),
        "root": torch.rsqrt, "root in place": lambda x: (2 * x).rsqrt_(),
        "aten": lambda x: aten.rsqrt.default(x)},
    "logsumexp": {"torch": lambda x: torch.logsumexp(x, 1),
        "method": lambda x: x.logsumexp((1, 2), keepdim=True),
        "aten": lambda x: aten.logsumexp(x, [2]),
        "special": lambda x: torch.special.logsumexp(x, -1)},
    "mean": {"torch": lambda x: torch.mean(x, 2), "method": lambda x: x.mean((1,)),
        "keep": lambda x: x.mean(1, keepdim=True),
        "aten": lambda x: aten.mean.dim(x, [2])},
    "sum": {"torch": lambda x: torch.sum(x, 2), "method": lambda x: x.sum(1),
        "aten": lambda x: aten.sum.dim_IntList(x, [2])},
    "amax": {"torch": lambda x: torch.amax(x, 2), "method": lambda x: x.amax(1, keepdim=True),
        "aten": lambda x: aten.amax(x, [2])},
    "vector_norm": {"linalg": lambda x: torch.linalg.vector_norm(x, 2, 1),
        "method": lambda x: x.norm(dim=1), "torch": lambda x: torch.norm(x, p=2, dim=1)},
    "interpolate": {
        "F": lambda x: F.interpolate(x, scale_factor=2.0),
        "linear": lambda x: F.interpolate(x, size=7, mode="linear"),
        "module": nn.Upsample(scale_factor=2.0),
    },
    "normalize": {"F": lambda x: F.normalize(x, dim=1), "p": lambda x: F.normalize(x, 1.0, -1)},
    "rms_norm": {"F": lambda x: F.rms_norm(x, (4,), SHAPED[0]),
        "module": seeded(nn.RMSNorm, 4).double()},
    "attention": {
        "plain": lambda x: F.scaled_dot_product_attention(x, 2 * x, C),
        "mask": lambda x: F.scaled_dot_product_attention(x, x, x, SHAPED, scale=0.3),
        "causal": lambda x: F.scaled_dot_product_attention(x, C, x, is_causal=True),
    },
}  # fmt: skip

CASES = [(operation, name) for operation, known in SPELLINGS.items() for name in known]


@pytest.mark.parametrize(("operation", "name"), CASES)
def test_spelling_is_the_operation_with_its_own_gradient(operation: str, name: str) -> None:
    function = SPELLINGS[operation][name]
    y = function(X.clone())
    g = noise(*y.shape, seed=5)
    trace = Trace(function, (X,), tables=[OWN], key=lambda output: output)
    assert trace.coverage.calls[operation] >= 1
    assert not trace.coverage.own
    expected = autograd(function, X, lambda output: (output * g).flatten(1).sum(1))
    assert_same(sent_back(function, X, g, OWN), expected, 1e-12)


@pytest.mark.parametrize(("operation", "name"), CASES)
def test_spelling_is_not_parsed_unless_requested(operation: str, name: str) -> None:
    others = {known: rule for known, rule in OWN.items() if known != operation}
    for table in ({}, others):
        trace = Trace(SPELLINGS[operation][name], (X,), tables=[table], key=lambda output: output)
        assert operation not in trace.coverage.calls


def test_every_requested_operation_is_here() -> None:
    assert set(SPELLINGS) == set(REQUESTED)


@pytest.mark.parametrize(
    "function", [lambda x: x * 2.0, lambda x: 3 * x, lambda x: x / 2, lambda x: x.mul_(2)]
)
def test_products_with_numbers_are_no_operations(function: Spelling) -> None:
    trace = Trace(function, (X,), tables=[OWN], key=lambda output: output)
    assert not trace.coverage.calls


@pytest.mark.parametrize(
    ("function", "args", "kwargs"),
    [
        (torch.mul, (X, C), {"out": torch.empty_like(X)}),
        (torch.div, (X, C), {"rounding_mode": "floor"}),
        (torch.mul, (2.0, X), {}),
        (torch.einsum, ("ij,jk,kl->il", X[0], X[0], X[0]), {}),
        (torch.floor_divide, (X, C), {}),
    ],
)
def test_calls_that_are_not_parsed(function: Any, args: Any, kwargs: Any) -> None:
    assert parse_requested(function, args, kwargs, REQUESTED) is None


# Attention as a whole, looked into.


def attention(**options: Any) -> Any:
    return seeded(lambda: nn.MultiheadAttention(8, 2, **options)).double()


MASK = torch.ones(5, 5).triu(1).bool()
MODULES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "weights": ({}, {"need_weights": True}),
    "no weights": ({}, {"need_weights": False}),
    "mask": ({}, {"attn_mask": MASK, "need_weights": False}),
    "mask and weights": ({}, {"attn_mask": MASK}),
    "padding": ({}, {"key_padding_mask": torch.tensor([[False] * 4 + [True]] * 2)}),
    "other sizes": ({"kdim": 6, "vdim": 7}, {}),
    "no bias": ({"bias": False}, {"need_weights": False}),
    "added keys": ({"add_bias_kv": True, "add_zero_attn": True}, {}),
}


@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize("name", MODULES)
def test_opened_attention_is_bit_equal_and_seen(name: str, batch_first: bool) -> None:
    made, given = MODULES[name]
    module = attention(batch_first=batch_first, **made)
    keys, values = (
        noise(2, 5, made.get("kdim", 8), seed=2),
        noise(2, 5, made.get("vdim", 8), seed=3),
    )

    def model(x: Tensor) -> Tensor:
        ordered = [one if batch_first else one.transpose(0, 1) for one in (x, keys, values)]
        y = module(*ordered, **given)[0]
        return y if batch_first else y.transpose(0, 1)

    x, g = noise(2, 5, 8), noise(2, 5, 8, seed=5)
    leaf = x.clone().requires_grad_()
    expected = model(leaf)
    trace = Trace(model, (x,), tables=[OWN], key=lambda output: output)
    # PyTorch chooses the kernel of fused attention by whether a graph is made.
    assert_same(trace.output.detach(), expected.detach(), 1e-14)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(F, "multi_head_attention_forward", opened(F.multi_head_attention_forward))
        assert torch.equal(model(leaf).detach(), expected.detach())
    calls = trace.coverage.calls
    assert calls["attention"] + calls["softmax"] == 1
    (own,) = torch.autograd.grad(expected, leaf, g)
    assert_same(sent_back(model, x, g, OWN), own, 1e-12)


@pytest.mark.parametrize("need_weights", [True, False])
def test_dropout_inside_attention_is_refused_in_training(need_weights: bool) -> None:
    module = attention(batch_first=True, dropout=0.2).train()
    x = noise(2, 5, 8)
    with refused(TrainingModeError, "dropout"):
        sent_back(lambda x: module(x, x, x, need_weights=need_weights)[0], x, x, OWN)
    with refused(TrainingModeError, "dropout"):
        ta.AttnLRP(lambda x: module(x, x, x, need_weights=need_weights)[0].sum((1, 2))).attribute(x)
