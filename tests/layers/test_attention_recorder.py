"""Attention calls are recorded in every spelling, with their modules and tokens."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from helpers import assert_same, noise
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from torchattr.layers import AttentionTap, Captured, LayoutTracker, NativeTrace, Trace
from torchattr.layers.attention import ExplicitAttention, FusedAttention, UnreadAttention
from torchattr.layers.attention_recorder import AttentionRecorder

X = noise(2, 3, 4, 6)
ALL = AttentionTap()


def tokens_of(x: Tensor) -> Tensor:
    """Six tokens of six channels for each image: patches of 2 × 2 pixels, of two channels."""
    return F.conv2d(x, noise(6, 3, 2, 2, seed=7), stride=2).flatten(2).transpose(1, 2)


def recorded(forward: Callable[[Tensor], Tensor], x: Tensor = X) -> list[Captured]:
    return Trace(lambda x: forward(tokens_of(x)).sum((1, 2)), (x,), taps=[ALL]).calls(ALL)


def heads(tokens: Tensor) -> Tensor:
    return tokens.unflatten(-1, (2, 3)).transpose(1, 2)


def fused(t: Tensor) -> Tensor:
    h = heads(t)
    return F.scaled_dot_product_attention(h, 2 * h, h).transpose(1, 2).flatten(2)


def weights(t: Tensor) -> Tensor:
    h = heads(t)
    return 2 * (h @ h.transpose(-1, -2)) / 3**0.5


def by_operator(t: Tensor) -> Tensor:
    return (weights(t).softmax(-1) @ heads(t)).transpose(1, 2).flatten(2)


def by_method(t: Tensor) -> Tensor:
    return torch.softmax(weights(t), dim=3).matmul(heads(t)).transpose(1, 2).flatten(2)


def after_dropout_and_cast(t: Tensor) -> Tensor:
    a = F.dropout(F.softmax(weights(t), dim=-1, dtype=t.dtype), 0.3, training=False).to(t.dtype)
    return torch.matmul(a, heads(t)).transpose(1, 2).flatten(2)


def by_bmm(t: Tensor) -> Tensor:
    a = nn.functional.softmax(weights(t), -1).view(-1, 6, 6)
    return torch.bmm(a, heads(t).reshape(-1, 6, 3)).view(2, 2, 6, 3).transpose(1, 2).flatten(2)


def by_einsum(t: Tensor) -> Tensor:
    v = t.unflatten(-1, (2, 3))
    return torch.einsum("bhij, bjhd -> bihd", weights(t).softmax(-1), v).flatten(2)


def by_aten(t: Tensor) -> Tensor:
    h = heads(t)
    y = torch.ops.aten.scaled_dot_product_attention.default(h, 2 * h, h)
    return y.transpose(1, 2).flatten(2)


SPELLINGS = [
    fused, by_operator, by_method, after_dropout_and_cast, by_bmm, by_einsum, by_aten,
]  # fmt: skip


@pytest.mark.parametrize("spelling", SPELLINGS, ids=lambda one: one.__name__)
def test_every_spelling_gives_the_same_matrix_and_tokens(spelling: Any) -> None:
    (call,) = recorded(spelling)
    assert call.attention is not None
    found = call.attention.matrix()
    assert_same(found.reshape(2, 2, 6, 6), weights(tokens_of(X)).softmax(-1), 1e-13)
    tokens = call.attention.tokens
    assert (tokens.batch, tokens.is_self, tokens.is_windowed) == (0, True, False)
    assert not isinstance(tokens.layout, str)
    assert tokens.layout.sizes == (2, 3)


NATIVE = [by_operator, by_method, after_dropout_and_cast, by_bmm]


@pytest.mark.parametrize(
    ("trace", "spelling"),
    [(Trace, one) for one in SPELLINGS] + [(NativeTrace, one) for one in NATIVE],
)
def test_gradients_at_the_outputs_are_read(spelling: Any, trace: Any) -> None:
    class Model(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return (spelling(tokens_of(x)) ** 2).sum((1, 2))

    run = trace(Model().eval(), (X,), taps=[ALL])
    (call,) = run.calls(ALL)
    (gradient,) = run.gradients(run.output, call.edges)
    assert gradient is not None
    assert_same(gradient, 2 * call.values[0], 1e-13)


@pytest.mark.parametrize("need_weights", [True, False])
@pytest.mark.parametrize("batch_first", [True, False])
def test_attention_modules_are_looked_into(need_weights: bool, batch_first: bool) -> None:
    module = nn.MultiheadAttention(6, 2, batch_first=batch_first).double().eval()

    def forward(t: Tensor) -> Tensor:
        given = t if batch_first else t.transpose(0, 1)
        y: Tensor = module(given, given, given, need_weights=need_weights)[0]
        return y if batch_first else y.transpose(0, 1)

    (call,) = recorded(forward)
    t = tokens_of(X)
    expected = module(*[t if batch_first else t.transpose(0, 1)] * 3, average_attn_weights=False)[1]
    assert call.attention is not None
    assert_same(call.attention.matrix().reshape(2, 2, 6, 6), expected.detach(), 1e-13)
    assert type(call.attention) is (ExplicitAttention if need_weights else FusedAttention)
    tokens = call.attention.tokens
    assert (tokens.batch, tokens.is_self) == (0, True)
    assert not isinstance(tokens.layout, str)
    assert call.within[-1] is module


def test_an_attention_module_gives_what_it_gives_without_recording() -> None:
    module = nn.MultiheadAttention(6, 2, batch_first=True).double().eval()

    def forward(x: Tensor) -> Tensor:
        t = tokens_of(x)
        y, averaged = module(t, t, t)
        return torch.cat([y.flatten(1), averaged.flatten(1)], 1)

    trace = Trace(forward, (X,), taps=[ALL])
    assert torch.equal(trace.output, forward(X))


class Twice(nn.Module):
    """Two blocks, of which the second runs twice."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Sequential(Runs()), Runs()

    def forward(self, x: Tensor) -> Tensor:
        t = tokens_of(x)
        return self.second(self.second(self.first(t))).sum((1, 2))


class Runs(nn.Module):
    def forward(self, t: Tensor) -> Tensor:
        return t + fused(t)


def test_calls_belong_to_the_modules_that_were_running() -> None:
    model = Twice()
    taps = [ALL, AttentionTap((model.first,)), AttentionTap((model.second,))]
    trace = Trace(model, (X,), taps=taps)
    assert [len(trace.calls(tap)) for tap in taps] == [3, 1, 2]
    every = trace.calls(ALL)
    assert every[0].within == (model, model.first, model.first[0])
    assert every[2].within == (model, model.second)
    assert trace.calls(taps[1])[0] is every[0]


def test_no_hook_stays_on_the_model() -> None:
    model = Twice()
    Trace(model, (X,), taps=[ALL])
    hooks = [hook for m in model.modules() for hook in (*m._forward_hooks, *m._forward_pre_hooks)]
    assert not hooks


def test_an_error_that_the_model_catches_leaves_no_module_running() -> None:
    class Fails(nn.Module):
        def forward(self, t: Tensor) -> Tensor:
            raise KeyError

    class Catches(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fails, self.runs = Fails(), Runs()
            self.inner = Inner(self.fails)

        def forward(self, x: Tensor) -> Tensor:
            return self.runs(self.inner(tokens_of(x))).sum((1, 2))

    class Inner(nn.Module):
        def __init__(self, fails: nn.Module) -> None:
            super().__init__()
            self.fails = fails

        def forward(self, t: Tensor) -> Tensor:
            try:
                return self.fails(t)  # type: ignore[no-any-return]
            except KeyError:
                return t

    model = Catches()
    (call,) = Trace(model, (X,), taps=[ALL]).calls(ALL)
    assert call.within == (model, model.runs)


def test_gradients_of_the_last_self_attention_only() -> None:
    last, none = AttentionTap(gradients="last"), AttentionTap(gradients="none")
    trace = Trace(Twice(), (X,), taps=[last, none])
    assert [len(call.edges) for call in trace.calls(last)] == [0, 0, 1]
    assert [len(call.values) for call in trace.calls(none)] == [0, 0, 0]


def test_queries_of_other_tokens_are_no_self_attention() -> None:
    def pools(t: Tensor) -> Tensor:
        return F.scaled_dot_product_attention(t.mean(1, keepdim=True), t, t)

    (call,) = recorded(pools)
    assert call.attention is not None
    assert not call.attention.tokens.is_self


def test_as_many_other_tokens_are_no_self_attention() -> None:
    """The queries are rows of another input with as many tokens."""
    other = noise(2, 6, 6, seed=9)
    (call,) = recorded(lambda t: F.scaled_dot_product_attention(other, t, t))
    assert call.attention is not None
    assert not call.attention.tokens.is_self


def test_windows_are_known() -> None:
    def windowed(t: Tensor) -> Tensor:
        w = t.view(2, 2, 3, 6).flatten(0, 1)
        return F.scaled_dot_product_attention(w, w, w).view(2, 6, 6)

    (call,) = recorded(windowed)
    assert call.attention is not None
    assert call.attention.tokens.is_windowed


@pytest.mark.parametrize(
    "change", [lambda a: a.flip(1), lambda a: a / 2, lambda a: 0.5 * a + 0.5 * a.mean(1, True)]
)
def test_weights_that_the_model_changes_are_known_to_be_unread(change: Any) -> None:
    def mixes(t: Tensor) -> Tensor:
        return (change(weights(t).softmax(-1)) @ heads(t)).transpose(1, 2).flatten(2)

    (call,) = recorded(mixes)
    assert isinstance(call.attention, UnreadAttention)


def test_other_softmaxes_and_products_are_no_attention() -> None:
    def others(t: Tensor) -> Tensor:
        gates = t.softmax(-1)
        over_heads = weights(t).softmax(1)
        return gates @ t.transpose(1, 2) @ (over_heads.mean(1) @ t) + t.mean(1).softmax(1)[:, None]

    found = recorded(others)
    # A softmax over channels that multiplies something is a matrix, too, but not of tokens alone.
    assert not any(call.attention and call.attention.tokens.is_self for call in found)


def test_what_runs_inside_a_transform_is_not_recorded() -> None:
    assert recorded(lambda t: torch.func.vmap(lambda one: fused(one[None])[0])(t)) == []


def test_checkpointed_attention_is_recorded_once() -> None:
    def forward(t: Tensor) -> Tensor:
        y: Tensor = checkpoint(fused, t, use_reentrant=False)
        return y

    trace = Trace(lambda x: (forward(tokens_of(x)) ** 2).sum((1, 2)), (X,), taps=[ALL])
    (call,) = trace.calls(ALL)
    for _ in range(2):
        (gradient,) = trace.gradients(trace.output, call.edges)
        assert gradient is not None
        assert_same(gradient, 2 * call.values[0], 1e-13)
    assert len(trace.calls(ALL)) == 1


def test_exported_attention_is_recorded() -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.patches = nn.Conv2d(3, 6, 2, stride=2, bias=False).double()

        def forward(self, x: Tensor) -> Tensor:
            return fused(self.patches(x).flatten(2).transpose(1, 2)).sum((1, 2))

    model = Model().eval()
    with torch.no_grad():
        model.patches.weight.copy_(noise(6, 3, 2, 2, seed=7))
    (call,) = Trace(torch.export.export(model, (X,)).module(), (X,), taps=[ALL]).calls(ALL)
    assert call.attention is not None
    assert_same(call.attention.matrix(), weights(tokens_of(X)).softmax(-1), 1e-13)


def test_without_a_call_nothing_is_recorded() -> None:
    tracker = LayoutTracker([X])
    assert AttentionRecorder(tracker, 2).calls(ALL) == []
    assert recorded(lambda t: t.relu()) == []
