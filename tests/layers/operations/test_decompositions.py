"""Functions made of operations: their own values, exact relevance and exact differences."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from helpers import assert_same, noise, weighted
from torch import Tensor, nn

import torchattr as ta
from torchattr.layers import Composite, Trace, rule_table
from torchattr.layers.operations.decompositions import parts_of
from torchattr.layers.rule import OwnGradient
from torchattr.methods._relevance.composites import FROZEN

Function = Callable[[Tensor], Tensor]
aten = torch.ops.aten
X, X0, W = noise(3, 4, 6), noise(3, 4, 6, seed=2), noise(6, 6, seed=3)
C, D = noise(4, 6, seed=4), noise(4, 6, seed=5)


def score(values: Tensor) -> Tensor:
    """Weigh every value, as the only score of an example."""
    return weighted(values)[:, None]


def dots(x: Tensor) -> Tensor:
    return x @ W


def positive(x: Tensor) -> Tensor:
    return dots(x).square() + 1


FUNCTIONS: dict[str, Function] = {
    # Products with a summand.
    "addcmul": lambda x: torch.addcmul(x, x, dots(x), value=0.5),
    "addcmul, method": lambda x: dots(x).addcmul(x, C),
    "addcmul in place": lambda x: dots(x).addcmul_(x, dots(x)),
    "addcmul of a constant": lambda x: torch.addcmul(C, x, x),
    "addcmul to a constant in place": lambda x: torch.zeros_like(x).addcmul_(x, dots(x)),
    "addcmul of constants": lambda x: torch.addcmul(x, C, D, value=2),
    "addcmul, broadcast": lambda x: torch.addcmul(x[:, :1], dots(x), C),
    "addcmul of aten": lambda x: aten.addcmul(x, x, dots(x)),
    "addcdiv": lambda x: torch.addcdiv(x, dots(x), positive(x), value=-2),
    "addcdiv in place": lambda x: dots(x).addcdiv_(x, positive(x)),
    "addcdiv of aten": lambda x: aten.addcdiv(x, C, positive(x)),
    "lerp": lambda x: torch.lerp(x, dots(x), 0.3),
    "lerp, method": lambda x: x.lerp(C, 0.3),
    "lerp in place": lambda x: dots(x).lerp_(x, 0.7),
    "lerp by computed weights": lambda x: torch.lerp(x, dots(x), x.sigmoid()),
    "lerp of constants": lambda x: torch.lerp(C, D, x.sigmoid()),
    "lerp of aten": lambda x: aten.lerp(x, dots(x), C),
    "glu": lambda x: F.glu(dots(x)),
    "glu of aten": lambda x: aten.glu(dots(x), 1),
    "bilinear": lambda x: F.bilinear(x, dots(x), noise(3, 6, 6), noise(3)),
    "bilinear without bias": lambda x: torch.bilinear(
        x, C.expand(len(x), 4, 6), noise(3, 6, 6), None
    ),
    "xlogy": lambda x: torch.xlogy(x, positive(x)),
    "cosine": lambda x: F.cosine_similarity(x, dots(x), dim=-1),
    "cosine of a constant": lambda x: torch.cosine_similarity(dots(x), C, -1),
    "distance": lambda x: F.pairwise_distance(x, dots(x)),
    "hypot": lambda x: torch.hypot(x, dots(x)),
    "hypot in place": lambda x: dots(x).hypot_(x),
    "distance of all": lambda x: torch.stack([one.dist(C) for one in dots(x)])[:, None] * x[:, 0],
    "angle": lambda x: torch.atan2(dots(x), positive(x)),
    "angle in place": lambda x: dots(x).atan2_(positive(x)),
    "angle to a constant": lambda x: torch.arctan2(dots(x), C.square() + 1),
    "renorm": lambda x: torch.renorm(dots(x), 2, 0, 11.0),
    "renorm of another power": lambda x: dots(x).renorm(3, -3, 8.0),
    "cross": lambda x: torch.linalg.cross(dots(x)[..., :3], x[..., 3:]),
    "power": lambda x: positive(x) ** x.tanh(),
    "power in place": lambda x: positive(x).pow_(x.tanh()),
    "power of a constant tensor": lambda x: torch.pow(C.square() + 1, x),
    # Products of many factors.
    "product": lambda x: dots(x).prod(-1),
    "product of an odd number": lambda x: torch.prod(dots(x)[..., :5], 2, keepdim=True),
    "product of all": lambda x: torch.stack([one[:2].prod() for one in dots(x)])[:, None] * x[:, 0],
    "product of one": lambda x: dots(x)[..., :1].prod(-1),
    "cumulative product": lambda x: dots(x).cumprod(-1),
    "cumulative product in place": lambda x: dots(x).cumprod_(1),
    "einsum of three": lambda x: torch.einsum("nij,njk,nkl->nil", x, dots(x).mT, x.tanh()),
    "einsum of three, implicit": lambda x: torch.einsum("abc,cd,de", dots(x), W, W.T),
    "einsum of four": lambda x: torch.einsum("nij, nij, jk, nik -> nk", [x, dots(x), W, x]),
    # Pools.
    "power pool": lambda x: F.lp_pool1d(positive(x), 3, 2),
    "power pool of images": lambda x: F.lp_pool2d(positive(x)[:, None], 2.5, (2, 3), 1),
    "power pool of volumes": lambda x: F.lp_pool3d(positive(x)[:, None, None], 2, (1, 2, 2)),
    # Logarithms of exponentials.
    "log_softmax": lambda x: F.log_softmax(dots(x), -1),
    "log_softmax, method": lambda x: dots(x).log_softmax(1),
    "log_softmax, cast": lambda x: dots(x).log_softmax(-1, dtype=torch.float64),
    "log_softmax of aten": lambda x: aten._log_softmax(dots(x), -1, False),
    "log_softmax of torch": lambda x: torch.log_softmax(dots(x), dim=1),
    "logsumexp": lambda x: dots(x).logsumexp(-1),
    "logsumexp of torch": lambda x: torch.logsumexp(dots(x), (1, 2), keepdim=True),
    "logsumexp of aten": lambda x: aten.logsumexp(dots(x), [1]),
    "logaddexp": lambda x: torch.logaddexp(x, dots(x)),
    "logaddexp of a constant": lambda x: dots(x).logaddexp(C),
    "softmin": lambda x: F.softmin(dots(x), -1) * x,
    # Statistics.
    "var": lambda x: dots(x).var(1),
    "var of all": lambda x: torch.stack([one.var() for one in dots(x)])[:, None],
    "var, biased": lambda x: torch.var(dots(x), (1, 2), False, True),
    "var, corrected": lambda x: torch.var(dots(x), dim=-1, correction=2),
    "var, unbiased by name": lambda x: dots(x).var(dim=1, unbiased=False, keepdim=True),
    "var of aten": lambda x: aten.var(dots(x), [1], correction=0),
    "std": lambda x: dots(x).std(-1, keepdim=True),
    "std of torch": lambda x: torch.std(dots(x), [1, 2]),
    "var_mean": lambda x: torch.cat(torch.var_mean(dots(x), 1), -1),
    "std_mean": lambda x: torch.cat(torch.std_mean(dots(x), dim=-1, keepdim=True), 1),
    "std_mean, biased": lambda x: torch.std_mean(dots(x), 1, False)[0],
    "normalised by hand": lambda x: (x - x.mean(-1, True)) / (x.var(-1, keepdim=True) + 0.1).sqrt(),
    "normalised by rsqrt": lambda x: x * torch.rsqrt(x.square().mean(-1, keepdim=True) + 0.1),
    "normalised by powers": lambda x: x * (x.pow(2).mean(-1, keepdim=True) + 0.1) ** -0.5,
    # Extremes.
    "max": lambda x: dots(x).max(-1).values,
    "max of torch": lambda x: torch.max(dots(x), dim=1, keepdim=True)[0],
    "max of all": lambda x: torch.stack([one.max() for one in dots(x)])[:, None] * x[:, 0],
    "max of aten": lambda x: aten.max.dim(dots(x), 1)[0],
    "max of two": lambda x: torch.max(x, dots(x)),
    "min": lambda x: dots(x).min(dim=2)[0],
    "min of all": lambda x: torch.stack([one.min() for one in dots(x)])[:, None] * x[:, 0],
    "min of two": lambda x: torch.min(x, other=dots(x)),
    "amin": lambda x: dots(x).amin((1, 2)),
    "amin of aten": lambda x: aten.amin(dots(x), [1]),
    "maximum": lambda x: torch.maximum(x, dots(x)),
    "maximum of a constant": lambda x: dots(x).maximum(C),
    "minimum": lambda x: x.minimum(dots(x)[:, :1]),
    "fmax": lambda x: torch.fmax(x, dots(x)),
    "fmin": lambda x: torch.fmin(x, dots(x)),
    # Copies and sums.
    "circular pad": lambda x: F.pad(dots(x), (2, 1), mode="circular"),
    "circular pad of images": lambda x: F.pad(dots(x)[:, None], (1, 2, 3, -1), mode="circular"),
    "cumsum": lambda x: dots(x).cumsum(-1),
    # Powers.
    "exponential": lambda x: 2.0 ** dots(x),
    "power of a constant": lambda x: torch.pow(2.0, dots(x)),
    "powers by element": lambda x: positive(x) ** C,
    "logarithm": lambda x: positive(x).log(),
    "root": lambda x: positive(x).sqrt(),
}


def flat(function: Function) -> Function:
    return lambda x: score(function(x).reshape(len(x), -1))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_relevance_sums_to_the_score(name: str) -> None:
    method = ta.LRP(flat(FUNCTIONS[name]), "zero")
    _, ledgers = method.attribute(X, 0, return_ledger=True)
    for ledger in ledgers:
        scale = abs(ledger.score) + abs(ledger.inputs) + sum(abs(e.amount) for e in ledger.entries)
        assert abs(ledger.error) <= 1e-12 * scale
        assert "unknown" not in ledger.by_reason()


@pytest.mark.parametrize("baselines", [X0, None], ids=["noise", "zeros"])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_differences_sum_to_that_of_the_score(name: str, baselines: Tensor | None) -> None:
    model = flat(FUNCTIONS[name])
    found = ta.DeepLift(model).attribute(X, baselines, 0)
    with torch.no_grad():
        rise = (model(X) - model(torch.zeros_like(X) if baselines is None else baselines))[:, 0]
    error = (found.flatten(1).sum(1) - rise).abs()
    assert bool((error <= 1e-11 * (found.flatten(1).abs().sum(1) + rise.abs() + 1)).all())


@pytest.mark.parametrize("name", FUNCTIONS)
def test_outputs_are_those_of_the_function_itself(name: str) -> None:
    function = FUNCTIONS[name]
    with torch.no_grad():
        expected = function(X)
    composite = Composite(rule_table(FROZEN))
    trace = Trace(function, (X,), tables=[composite, {"amax": OwnGradient()}], key=lambda out: out)
    assert torch.equal(trace.output, expected)


def test_results_have_the_form_of_the_function_itself() -> None:
    forms = []

    def model(x: Tensor) -> Tensor:
        found = dots(x).max(-1)
        both = torch.min(dots(x), dim=1, keepdim=True)
        forms.append((type(found), type(both), found.indices.dtype))
        y: Tensor = found.values.sum(1, keepdim=True) + both.values.sum((1, 2))[:, None]
        return y

    ta.DeepLift(model).attribute(X, X0, 0)
    wanted = (torch.return_types.max, torch.return_types.min, torch.int64)
    assert set(forms) == {wanted}


RELEVANCE: dict[str, tuple[Function, Function]] = {
    "log_softmax": (FUNCTIONS["log_softmax"], lambda x: dots(x) - dots(x).logsumexp(-1, True)),
    "std": (FUNCTIONS["std"], lambda x: dots(x).var(-1, keepdim=True).sqrt()),
    "rsqrt": (FUNCTIONS["normalised by rsqrt"], lambda x: F.rms_norm(x, (6,), eps=0.1)),
    "powers": (FUNCTIONS["normalised by powers"], FUNCTIONS["normalised by rsqrt"]),
    "glu": (FUNCTIONS["glu"], lambda x: dots(x)[..., :3] * dots(x)[..., 3:].sigmoid()),
}


@pytest.mark.parametrize("name", RELEVANCE)
def test_relevance_is_that_of_other_spellings(name: str) -> None:
    one, other = (ta.LRP(flat(of), "zero").attribute(X, 0) for of in RELEVANCE[name])
    assert_same(one, other, 1e-11)
    assert bool(one.any())


RECURRENT: dict[str, Any] = {
    "lstm": nn.LSTM(6, 5, batch_first=True),
    "lstm of two directions and layers": nn.LSTM(
        6, 5, 2, batch_first=True, bidirectional=True, dropout=0.5
    ),
    "lstm with a projection": nn.LSTM(6, 5, 2, proj_size=3, batch_first=True),
    "lstm without biases": nn.LSTM(6, 5, bias=False, batch_first=True),
    "gru": nn.GRU(6, 5, 2, batch_first=True, bidirectional=True),
    "rnn": nn.RNN(6, 5, batch_first=True),
    "rnn of relu": nn.RNN(6, 5, nonlinearity="relu", batch_first=True),
}


@pytest.mark.parametrize("name", RECURRENT)
def test_recurrent_layers_are_taken_apart(name: str) -> None:
    torch.manual_seed(0)
    layer = RECURRENT[name].double().eval().requires_grad_(False)

    def model(x: Tensor) -> Tensor:
        output, last = layer(x)
        last = last[0] if isinstance(last, tuple) else last
        return score(torch.cat([output.flatten(1), last.transpose(0, 1).flatten(1)], 1))

    _, ledgers = ta.LRP(model, "zero").attribute(X, 0, return_ledger=True)
    assert all(abs(ledger.error) < 1e-12 for ledger in ledgers)
    found = ta.DeepLift(model).attribute(X, X0, 0)
    with torch.no_grad():
        rise = (model(X) - model(X0))[:, 0]
    assert_same(found.flatten(1).sum(1), rise, 1e-11)
    trace = Trace(model, (X,), tables=[Composite(rule_table(FROZEN))])
    with torch.no_grad():
        assert torch.equal(trace.output, model(X))


def test_recurrent_layers_over_steps_first_and_with_a_state() -> None:
    torch.manual_seed(0)
    layer = nn.LSTM(6, 5).double()

    def model(x: Tensor) -> Tensor:
        state = x[:, 0, :5][None].contiguous(), x[:, 1, :5][None].contiguous()
        return score(layer(x.transpose(0, 1), state)[0].transpose(0, 1).flatten(1))

    _, ledgers = ta.LRP(model, "zero").attribute(X, 0, return_ledger=True)
    assert all(abs(ledger.error) < 1e-12 for ledger in ledgers)


def test_packed_sequences_are_refused_by_name() -> None:
    layer = nn.LSTM(6, 5, batch_first=True).double()

    def model(x: Tensor) -> Tensor:
        packed = nn.utils.rnn.pack_padded_sequence(x, [4, 3, 2], batch_first=True)
        return score(layer(packed)[1][0][0])

    with pytest.raises(ta.NoRuleMatched, match=r"lstm|pack"):
        ta.LRP(model, "zero").attribute(X, 0)


def test_functions_are_taken_apart_only_where_rules_ask_for_it() -> None:
    assert parts_of(torch.addcmul, {"mul"}) is not None
    assert parts_of(torch.addcmul, {"softmax"}) is None
    assert parts_of(torch.relu, {"mul"}) is None
