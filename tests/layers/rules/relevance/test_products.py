"""Products, quotients, softmax and attention, by explicit shares."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from helpers import assert_same, noise
from relevance_oracles.engine import ledger_of, relevance_of
from torch import Tensor

pytestmark = pytest.mark.usefixtures("outputs_are_the_models_own")

RULES = {
    "mul": "halves",
    "matmul": "halves",
    "div": "frozen",
    "reciprocal": "frozen",
    "softmax": "frozen",
    "logsumexp": "frozen",
    "attention": "frozen",
    "add": "sum",
    "linear": "zero",
    "conv": "zero",
}
HALVES = {**RULES, "softmax": "own", "attention": "halves"}

X = noise(2, 3, 4)
C, D = noise(2, 3, 4, seed=2), noise(2, 4, 3, seed=3)


def kept_by(function: Callable[[Tensor], Tensor], rules: Any, reasons: set[str]) -> None:
    """Check that the ledger of a function sums to its relevance, for these reasons."""
    y = function(X)
    g = noise(*y.shape, seed=5)
    given, reached, entries = ledger_of(function, X, g, rules)
    kept = sum(entry.amount for entry in entries)
    scale = (g * y).abs().sum() + sum(abs(entry.amount) for entry in entries)
    assert abs(given - reached - kept) <= 1e-12 * scale
    assert {e.reason for e in entries if abs(e.amount) > 1e-12 * scale} == reasons


PRODUCTS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "mul": lambda a, b: a * b,
    "in place": lambda a, b: a.clone().mul_(b),
    "matmul": lambda a, b: a @ b.transpose(1, 2),
    "bmm": lambda a, b: torch.bmm(a, b.transpose(1, 2)),
    "einsum": lambda a, b: torch.einsum("nij,nkj->nik", a, b),
    "einsum of a list": lambda a, b: torch.einsum("nij,nkj->nik", [a, b]),
}


@pytest.mark.parametrize("name", PRODUCTS)
def test_two_factors_get_half_each_and_a_single_one_all(name: str) -> None:
    product = PRODUCTS[name]
    y = product(X, 3 * X.flip(2))
    g = noise(*y.shape, seed=5)
    leaves = [one.clone().requires_grad_() for one in (X, 3 * X.flip(2))]
    of_first, of_second = torch.autograd.grad(product(*leaves), leaves, g)
    expected = X * (of_first / 2 + 3 * of_second.flip(2) / 2)
    assert_same(relevance_of(lambda x: product(x, 3 * x.flip(2)), X, g, RULES), expected, 1e-12)
    for function in (lambda x: product(x, C), lambda x: product(C, x)):
        leaf = X.clone().requires_grad_()
        (own,) = torch.autograd.grad(function(leaf), leaf, g)
        assert_same(relevance_of(function, X, g, RULES), X * own, 1e-12)
        kept_by(function, RULES, set())
    kept_by(lambda x: product(x, 3 * x.flip(2)), RULES, set())


def test_a_tensor_times_itself_conserves() -> None:
    g = noise(2, 3, 4, seed=5)
    assert_same(relevance_of(lambda x: x * x, X, g, RULES), X * X * g, 1e-12)


SUMMED: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    "baddbmm": lambda s, a, b: torch.baddbmm(s, a, b.transpose(1, 2)),
    "baddbmm, scaled": lambda s, a, b: torch.baddbmm(s, a, b.transpose(1, 2), beta=0.5, alpha=-2),
    "addmm": lambda s, a, b: torch.addmm(s[0], a[0], b[0].t())[None],
    "addbmm": lambda s, a, b: torch.addbmm(s[0], a, b.transpose(1, 2))[None],
}


@pytest.mark.parametrize("name", SUMMED)
def test_a_summand_keeps_its_own_share(name: str) -> None:
    function = SUMMED[name]
    square = noise(2, 3, 3, seed=7)
    kept_by(lambda x: function(square, x, 2 * x), RULES, {"constant"})
    kept_by(lambda x: function(x[:, :, :3] * 1.5, x, 2 * x), RULES, set())
    kept_by(lambda x: function(x[:, :, :3] * 1.5, x, C), RULES, set())
    kept_by(lambda x: function(x[:, :, :3] * 1.5, C, C), RULES, {"constant"})


S = torch.eye(4).double() + noise(2, 4, 4, seed=7)
Q = noise(2, 4, 4, seed=8)
SAME: dict[str, tuple[Callable[..., Tensor], int]] = {
    "baddbmm": (torch.baddbmm, 3),
    "baddbmm, summand by name": (lambda s, a, b: torch.baddbmm(batch1=a, batch2=b, input=s), 3),
    "baddbmm of aten": (torch.ops.aten.baddbmm, 3),
    "addmm": (lambda s, a, b: torch.addmm(s[0], a[0], b[0])[None], 3),
    "addbmm": (lambda s, a, b: torch.addbmm(s[0], a, b)[None], 3),
    "in place": (lambda s, a, b: s.clone().baddbmm_(a, b), 3),
    "division by name": (lambda a, b: torch.div(other=b, input=a), 2),
    "attention": (F.scaled_dot_product_attention, 3),
    "attention by name": (
        lambda q, k, v: F.scaled_dot_product_attention(value=v, query=q, key=k),
        3,
    ),
    "linear": (lambda a, w: F.linear(a[0], w[0])[None], 2),
}


@pytest.mark.parametrize("rules", [RULES, HALVES], ids=["frozen", "own"])
@pytest.mark.parametrize("name", SAME)
def test_one_tensor_in_several_places_shares_as_copies_of_it(name: str, rules: Any) -> None:
    function, places = SAME[name]
    y = function(*[S] * places)
    g = noise(*y.shape, seed=5)

    def copies(x: Tensor) -> Tensor:
        y: Tensor = function(*(x.clone() for _ in range(places)))
        return y

    one = relevance_of(lambda x: function(*[x] * places), S, g, rules)
    assert_same(one, relevance_of(copies, S, g, rules), 1e-12)


@pytest.mark.parametrize("place", range(3))
def test_one_constant_in_two_places_shares_as_copies_of_it(place: int) -> None:
    def model(x: Tensor, *constants: Tensor) -> Tensor:
        given = [*constants]
        given.insert(place, x)
        return torch.baddbmm(*given)

    g = noise(2, 4, 4, seed=5)
    for rules in (RULES, HALVES):
        found = [
            ledger_of(lambda x, c=c: model(x, *c), S, g, rules) for c in ((Q, Q), (Q, Q.clone()))
        ]
        (_, one, kept), (_, other, kept_too) = found
        assert_same(one, other, 1e-12)
        assert [e.amount for e in kept] == pytest.approx([e.amount for e in kept_too], rel=1e-12)
        assert_same(
            relevance_of(lambda x: model(x, Q, Q), S, g, rules),
            relevance_of(lambda x: model(x, Q, Q.clone()), S, g, rules),
            1e-12,
        )


@pytest.mark.parametrize("bias", ["none", "constant", "computed"])
@pytest.mark.parametrize("kind", ["linear", "conv1d", "conv_transpose1d"])
def test_layers_whose_weights_are_computed_are_products(kind: str, bias: str) -> None:
    function: Any = getattr(F, kind)

    def model(x: Tensor) -> Tensor:
        weight = x[0, :3, :3] if kind == "linear" else x[:1, :3, :2].transpose(0, 1).repeat(1, 3, 1)
        given = {"none": None, "constant": C[0, 0, :3], "computed": x[0, 1, :3]}[bias]
        inputs = x[:, :, :3]
        y: Tensor = function(inputs, weight, given)
        return y

    y = model(X)
    g = noise(*y.shape, seed=5)
    leaf = X.clone().requires_grad_()
    weight = (
        leaf[0, :3, :3] if kind == "linear" else leaf[:1, :3, :2].transpose(0, 1).repeat(1, 3, 1)
    )
    given = {"none": None, "constant": C[0, 0, :3], "computed": leaf[0, 1, :3]}[bias]
    inputs = leaf[:, :, :3]
    parts = [inputs, weight] + ([given] if bias == "computed" else [])
    signals = list(
        torch.autograd.grad(function(inputs, weight, given), parts, g, retain_graph=True)
    )
    signals[:2] = [signal / 2 for signal in signals[:2]]
    (own,) = torch.autograd.grad(parts, leaf, signals)
    assert_same(relevance_of(model, X, g, RULES), X * own, 1e-12)
    kept_by(model, RULES, {"constant"} if bias == "constant" else set())


def test_quotient_gives_all_to_the_dividend() -> None:
    g = noise(2, 3, 4, seed=5)
    for quotient in (lambda a, b: a / b, torch.true_divide, lambda a, b: a.clone().div_(b)):
        below = 1 + X.square()
        found = relevance_of(lambda x, q=quotient: q(2 * x, 1 + x.flip(1)), X, g, RULES)
        assert_same(found, 2 * X / (1 + X.flip(1)) * g, 1e-12)
        kept_by(lambda x, q=quotient, b=below: q(x, b), RULES, set())
        kept_by(lambda x, q=quotient: q(C, 2 * x) + x, RULES, {"constant"})


@pytest.mark.parametrize(("dims", "keep"), [((2,), False), ((1, 2), True), ((1,), True)])
def test_log_of_a_sum_is_a_mean_and_an_entropy(dims: Any, keep: bool) -> None:
    def model(x: Tensor) -> Tensor:
        return torch.logsumexp(x, dims, keep)

    g = noise(*model(X).shape, seed=5)
    whole = model(X) if keep else torch.logsumexp(X, dims, keepdim=True)
    weights = X.exp() / whole.exp()
    above = g.reshape(whole.shape)
    assert_same(relevance_of(model, X, g, RULES), X * weights * above, 1e-12)
    _, _, (entry,) = ledger_of(model, X, g, RULES)
    entropy = -(weights * weights.log()).sum(dims, keepdim=True)
    assert abs(entry.amount - (entropy * above).sum()) < 1e-12
    kept_by(model, RULES, {"constant"})
    ruled_out = torch.eye(3, 4).bool()  # Not all of any sum.
    kept_by(lambda x: model(x.masked_fill(ruled_out, -torch.inf)), RULES, {"constant"})


def test_what_divides_is_a_constant() -> None:
    below = 1 + X.square()
    kept_by(lambda x: x * torch.reciprocal(below), RULES, set())
    kept_by(lambda x: x + torch.reciprocal(1 + x.square()), RULES, {"constant"})
    kept_by(lambda x: x * torch.reciprocal(1 + x.square()), RULES, set())


def test_softmax_is_a_constant_or_has_its_own_gradient() -> None:
    g = noise(2, 3, 4, seed=5)
    found = relevance_of(lambda x: F.softmax(x, -1) * x, X, g, RULES)
    assert_same(found, F.softmax(X, -1) * X * g, 1e-12)
    kept_by(lambda x: F.softmax(x, -1) + x, RULES, {"constant"})
    leaf = X.clone().requires_grad_()
    (own,) = torch.autograd.grad(F.softmax(leaf, -1), leaf, g)
    assert_same(relevance_of(lambda x: F.softmax(x, -1), X, g, HALVES), X * own, 1e-12)
    kept_by(lambda x: F.softmax(x, -1), HALVES, {"softmax"})


MASK = torch.tensor([[True, True, False], [True, True, True], [False, True, True]])
ATTENTION: dict[str, dict[str, Any]] = {
    "plain": {},
    "causal": {"is_causal": True},
    "mask": {"attn_mask": MASK},
    "added mask": {"attn_mask": noise(3, 3, seed=9)},
    "scale": {"scale": 0.3},
}


@pytest.mark.parametrize("is_broadcast", [False, True])
@pytest.mark.parametrize("fixed", ["none", "q", "k", "v", "q k", "q k v"])
def test_a_mask_that_is_computed_is_a_summand_of_the_logits(fixed: str, is_broadcast: bool) -> None:
    def parts(x: Tensor) -> list[Tensor]:
        named = {"q": 2 * x, "k": x.flip(1), "v": x.flip(2)}
        mask = x @ x.mT
        own = [one.detach() if name in fixed.split() else one for name, one in named.items()]
        return [*own, mask.mean(0, keepdim=True) if is_broadcast else mask]

    g = noise(2, 3, 4, seed=5)
    for rules in (RULES, HALVES):
        if rules is RULES and "v" in fixed:
            continue
        one = relevance_of(lambda x: F.scaled_dot_product_attention(*parts(x)), X, g, rules)
        both = relevance_of(lambda x: explicit(*parts(x)), X, g, rules)
        assert_same(one, both, 1e-10)
    kept_by(lambda x: F.scaled_dot_product_attention(*parts(x)), HALVES, {"softmax"})


def explicit(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    attn_mask: Any = None,
    is_causal: bool = False,
    scale: Any = None,
) -> Tensor:
    logits = q @ k.transpose(-1, -2) * (scale or q.shape[-1] ** -0.5)
    if is_causal:
        attn_mask = torch.ones(3, 3).bool().tril()
    if attn_mask is not None:
        added = attn_mask.dtype != torch.bool
        logits = logits + (
            attn_mask if added else torch.zeros(3, 3).double().masked_fill(~attn_mask, -torch.inf)
        )
    return F.softmax(logits, -1) @ v


# Which of queries, keys and values depend on the input.
DEPENDENT = [(1, 1, 1), (0, 1, 1), (1, 0, 1), (1, 1, 0), (0, 0, 1), (1, 0, 0), (0, 1, 0)]


@pytest.mark.parametrize("dependent", DEPENDENT)
@pytest.mark.parametrize("case", ATTENTION)
def test_attention_is_its_two_products_and_softmax(case: str, dependent: Any) -> None:
    options = ATTENTION[case]

    def parts(x: Tensor) -> list[Tensor]:
        moved = [2 * x, x.flip(1), x.flip(2)]
        return [a if on else a.detach() for a, on in zip(moved, dependent, strict=True)]

    g = noise(2, 3, 4, seed=5)
    for rules in (HALVES, RULES):
        if rules is RULES and not dependent[2]:
            continue
        one = relevance_of(
            lambda x: F.scaled_dot_product_attention(*parts(x), **options), X, g, rules
        )
        both = relevance_of(lambda x: explicit(*parts(x), **options), X, g, rules)
        assert_same(one, both, 1e-10)


def test_attention_of_grouped_queries_shares_as_repeated_heads() -> None:
    x, g = noise(2, 4, 3, 4), noise(2, 4, 3, 4, seed=5)

    def grouped(x: Tensor) -> Tensor:
        return F.scaled_dot_product_attention(x, x[:, :2], 2 * x[:, 2:], enable_gqa=True)

    def repeated(x: Tensor) -> Tensor:
        twice = [one.repeat_interleave(2, 1) for one in (x[:, :2], 2 * x[:, 2:])]
        return F.scaled_dot_product_attention(x, *twice)

    for rules in (HALVES, RULES):
        assert_same(relevance_of(grouped, x, g, rules), relevance_of(repeated, x, g, rules), 1e-10)


@pytest.mark.parametrize("case", ATTENTION)
def test_ledger_of_attention(case: str) -> None:
    options = ATTENTION[case]
    attend = F.scaled_dot_product_attention
    kept_by(lambda x: attend(x, x, 2 * x, **options), HALVES, {"softmax"})
    kept_by(lambda x: attend(x, x, 2 * x, **options), RULES, set())
    kept_by(lambda x: attend(x, x, C, **options) + x, RULES, {"constant"})
