"""What may stand between two runs that are compared: the same linear maps, and what has a rule."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from helpers import noise, refused
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence
from torch.utils.checkpoint import checkpoint

import torchattr as ta
from torchattr.errors import ModelError
from torchattr.layers import OPERATIONS, Operation, Parsed
from torchattr.layers.operations.parsers.table import CALL_PATTERNS, CallPattern
from torchattr.layers.registry import default_rule
from torchattr.layers.rule import OwnGradient

X, X0, W = noise(3, 4, 6), noise(3, 4, 6, seed=2), noise(6, 6, seed=3)
RAMP = 100 * torch.arange(6.0, dtype=torch.float64)
GRID = noise(3, 2, 2, 2, seed=4)
Function = Callable[[Tensor], Tensor]


class _Cube(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x**3

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        return grad * 3 * ctx.saved_tensors[0] ** 2


LSTM = nn.LSTM(6, 5, batch_first=True).double()

UNKNOWN: dict[str, tuple[str, Function]] = {
    "distances": ("cdist", lambda x: torch.cdist(x, x @ W)),
    "running sum": ("logcumsumexp", lambda x: x.logcumsumexp(-1)),
    "a rest": ("remainder", lambda x: x % 0.3),
    "rounding": ("round", lambda x: x.round()),
    "a rounded quotient": ("div", lambda x: torch.div(x, 0.3, rounding_mode="trunc")),
    "two rounded tensors": ("div", lambda x: torch.div(x, W[:1, :1], rounding_mode="floor")),
    "two rows of one batch": ("batch_norm", lambda x: F.batch_norm(x, None, None, training=True)),
    "a custom function": ("cube", lambda x: _Cube.apply(x)),
    "packed sequences": (
        "pack_padded_sequence",
        lambda x: LSTM(pack_padded_sequence(x, [4, 4, 4], batch_first=True))[1][0][0],
    ),
    "a gradient inside": (
        "pow",
        lambda x: torch.autograd.grad((x**3).sum(), x, create_graph=True)[0],
    ),
    "an angle that has a cut": ("atan2", lambda x: torch.atan2(x, x - 100)),
    "a power of negative values": ("pow", lambda x: x ** (2 + 0 * x)),
}

TOLD: dict[str, tuple[str, Function]] = {
    "topk": ("topk", lambda x: x.topk(3).values),
    "sort": ("sort", lambda x: x.sort(-1).values),
    "the order": ("sort", lambda x: x.msort()),
    "a smallest value": ("kthvalue", lambda x: x.kthvalue(2).values),
    "median": ("median", lambda x: x.median(-1).values),
    "median of all": ("median", lambda x: x.median() * x[:, 0]),
    "median without NaN": ("nanmedian", lambda x: x.nanmedian(-1)[0]),
    "quantile": ("told by the data", lambda x: x.quantile(0.5, -1)),
    "mode": ("mode", lambda x: x.mode(-1).values),
    "largest so far": ("cummax", lambda x: x.cummax(-1).values),
    "smallest so far": ("cummin", lambda x: x.cummin(-1).values),
    "unpooling": (
        "max_unpool",
        lambda x: F.max_unpool1d(*F.max_pool1d(x, 2, return_indices=True), 2),  # type: ignore[misc]
    ),
    "a computed index": ("gather", lambda x: x.gather(2, (x @ W).argsort(-1))),
    "a selected row": ("select", lambda x: x[:, int((x @ W).detach().sum((0, 2)).argmax())]),
    "an index of argmax": ("index", lambda x: x[torch.arange(3), x.sum(-1).argmax(-1)]),
    "a condition": ("where", lambda x: torch.where(x > 0, x, 0.1 * x)),
    "a mask": ("masked_fill", lambda x: x.masked_fill(x < 0.3, 1.0)),
    "a detached gate": ("mul", lambda x: x * torch.sigmoid(x.detach() @ W)),
    "a factor": ("mul", lambda x: x * float(x.detach().sum())),
    "a computed grid": (
        "grid_sampler",
        lambda x: F.grid_sample(x[:, None], (x.detach() @ W)[:, :2, :4].reshape(3, 2, 2, 2)),
    ),
    "weights that are cut off": ("linear", lambda x: F.linear(x, x.detach()[0])),
}

LINEAR: dict[str, Function] = {
    "an index": lambda x: x[:, [1, 0]],
    "a constant gather": lambda x: x.gather(2, torch.zeros(3, 4, 2, dtype=torch.long)),
    "a constant condition": lambda x: torch.where(W[:4] > 0, x, 0.1 * x),
    "paddings": lambda x: F.pad(F.pad(x, (1, 1), mode="reflect"), (2, 1), mode="replicate"),
    "resizing": lambda x: F.interpolate(x[:, None], size=(6, 3), mode="bicubic"),
    "a grid": lambda x: F.grid_sample(x[:, None], GRID, align_corners=False),
    "shuffles": lambda x: x.roll(2, 1).flip(2).cumsum(1).mT.contiguous(),
    "a transform": lambda x: torch.fft.rfft(x).real,
    "writing": lambda x: (lambda h: (h[:, :2].mul_(3), h)[1])(x + 1),
    "what is sorted already": lambda x: (x + RAMP).sort(-1).values,
    "the first ones": lambda x: (x + RAMP).topk(3).values,
    "the last one": lambda x: (x + RAMP).cummax(-1).values,
    "unpooling": lambda x: F.max_unpool1d(
        *F.max_pool1d(x + RAMP, 2, return_indices=True),  # type: ignore[misc]
        2,
    ),
    "taken": lambda x: x.take(torch.arange(72)).reshape(3, 24),
    "nothing but a sum": lambda x: x.sum((1, 2), keepdim=True),
    "pools": lambda x: F.avg_pool1d(F.adaptive_avg_pool1d(x, 4), 2),
    "what runs where it is the same": lambda x: x.relu() if len(x) == 3 else x.sigmoid(),
}


def score(output: Tensor) -> Tensor:
    rows = output.flatten(1)
    return rows @ noise(rows.shape[1], seed=5)


@pytest.mark.filterwarnings("ignore:Default grid_sample")
@pytest.mark.parametrize("name", UNKNOWN)
def test_what_is_not_linear_is_named(name: str) -> None:
    named, function = UNKNOWN[name]
    with refused(ModelError, named, "neither linear nor", "IntegratedGradients"):
        ta.DeepLift(function).attribute(X, X0, target=score)


@pytest.mark.filterwarnings("ignore:Default grid_sample")
@pytest.mark.parametrize("name", TOLD)
def test_what_the_data_tells_is_named(name: str) -> None:
    named, function = TOLD[name]
    with refused(ModelError, named, "computed from the inputs", "IntegratedGradients"):
        ta.DeepLift(function).attribute(X, -X, target=score)


@pytest.mark.parametrize("name", LINEAR)
def test_what_is_linear_passes(name: str) -> None:
    function = LINEAR[name]
    found = ta.DeepLift(function).attribute(X, X0, target=score)
    rise = score(function(X)) - score(function(X0))
    assert torch.allclose(found.flatten(1).sum(1), rise, rtol=1e-9)


def test_other_control_flow_is_named() -> None:
    def chooses(x: Tensor) -> Tensor:
        return x.relu() if x.sum() > 0 else x.sigmoid()

    with refused(ModelError, "Tensor.relu", "Tensor.sigmoid", "depends on the values"):
        ta.DeepLift(chooses).attribute(X.abs(), -X.abs(), target=score)

    def views(x: Tensor) -> Tensor:
        return x.mT if x.sum() > 0 else -x

    with refused(ModelError, "transpose", "neg", "depends on the values"):
        ta.DeepLift(views).attribute(X.abs(), -X.abs(), target=score)


def test_an_operation_of_a_user_needs_a_rule(monkeypatch: pytest.MonkeyPatch) -> None:
    def parse(x: Tensor, *rest: Any) -> Parsed:
        return Parsed((x,))

    monkeypatch.setitem(OPERATIONS, "shifted", Operation("shifted", "merge"))
    monkeypatch.setitem(CALL_PATTERNS, torch.addcdiv, CallPattern("shifted", parse, False, False))
    monkeypatch.setattr("torchattr.layers.mode.default_rule", _default_rule)
    with refused(ModelError, "addcdiv", "rescale", "shifted"):
        ta.DeepLift(lambda x: torch.addcdiv(x, W[:4], W[:4])).attribute(X, X0, target=score)


def _default_rule(operation: str) -> Any:
    return OwnGradient() if operation == "shifted" else default_rule(operation)


def test_checkpointed_parts_are_complete() -> None:
    def part(h: Tensor) -> Tensor:
        return torch.relu(h @ W).sigmoid() * h

    def model(x: Tensor) -> Tensor:
        return checkpoint(part, x.tanh(), use_reentrant=False)  # type: ignore[no-any-return]

    found = ta.DeepLift(model).attribute(X, X0, target=score)
    expected = ta.DeepLift(lambda x: part(x.tanh())).attribute(X, X0, target=score)
    assert torch.allclose(found, expected, rtol=1e-12)
