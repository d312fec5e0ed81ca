"""Layers of attention by head, the tokens that are read, and their grid."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from helpers import assert_same, noise, refused
from torch import Tensor

from torchattr.core.inputs import as_inputs
from torchattr.errors import InputError, LayerError
from torchattr.layers import Captured, Layout
from torchattr.layers.attention import ExplicitAttention, KeptTensor, Tokens, UnreadAttention
from torchattr.methods._gradient.attention_chain import AttentionChain
from torchattr.methods._gradient.backward_pass import PassResult

GIVEN = as_inputs(noise(2, 3, 4, 4))
GRID = Layout(0, (1,), (2, 2), before=1)
WEIGHTS = noise(2, 3, 5, 5).softmax(-1)
VALUES = noise(2, 3, 5, 4, seed=2)


def call(weights: Tensor = WEIGHTS, **tokens: Any) -> Captured:
    described = {"layout": GRID, "batch": 0, "is_windowed": False, "is_self": True, **tokens}
    attention = ExplicitAttention(Tokens(**described), KeptTensor(weights), KeptTensor(VALUES))
    return Captured((), (), attention=attention)


def result(*calls: Captured, gradient: Tensor | None = None) -> PassResult:
    own = () if gradient is None else (gradient,)
    return PassResult("attention", calls, (own,) * len(calls))


def chain(*calls: Captured, **options: Any) -> AttentionChain:
    return AttentionChain([result(*calls)], GIVEN, "Method", **options)


@pytest.mark.parametrize(
    ("batch", "weights"),
    [(0, WEIGHTS), (0, WEIGHTS.flatten(0, 1)), (1, WEIGHTS.transpose(0, 1)), (0, WEIGHTS[:, :1])],
)
def test_heads_come_behind_the_examples(batch: int, weights: Tensor) -> None:
    (layer,) = chain(call(weights, batch=batch)).layers
    heads = 1 if weights.shape[1] == 1 else 3
    assert_same(layer.matrix(), WEIGHTS[:, :heads])


def test_a_span_is_composed() -> None:
    assert len(chain(call(), call(), call(), span=slice(1, None)).layers) == 2
    with refused(InputError, "Method", "all of the 1 layers", "start_layer"):
        _ = chain(call(), span=slice(1, None))


def test_what_follows_the_last_self_attention_is_left_out() -> None:
    assert len(chain(call(), call(), call(is_self=False)).layers) == 2


@pytest.mark.parametrize(
    ("calls", "words"),
    [
        ((), "ran no attention"),
        ((call(is_windowed=True),), "attends within windows"),
        ((call(is_self=False), call()), "queries of an attention call are not the tokens"),
        ((call(batch=None),), "first dimension is not the batch"),
        ((call(), call(WEIGHTS[..., :4, :4])), "there are 4, 5"),
        ((call(), call(layout=Layout(0, (1,), (1, 4)))), "tokens differ"),
        ((Captured((), (), attention=UnreadAttention(call().attention.tokens, 5)),), "changes"),  # type: ignore[union-attr]
    ],
)
def test_what_cannot_be_composed_is_refused(calls: Any, words: str) -> None:
    with refused(LayerError, "Method", words, "layers="):
        _ = chain(*calls)


def test_rows_with_a_gradient_are_read() -> None:
    gradient = torch.zeros(2, 3, 5, 4, dtype=torch.float64)
    gradient[0, 1, 0, 2] = gradient[1, 0, 2, 1] = gradient[1, 2, 3, 0] = 1
    found = chain(call()).read_rows(result(call(), gradient=gradient))
    expected = torch.tensor([[1, 0, 0, 0, 0], [0, 0, 0.5, 0.5, 0]], dtype=torch.float64)
    assert_same(found, expected)
    equal = chain(call()).read_rows(result(call(), gradient=torch.zeros_like(gradient)))
    assert_same(equal, torch.full_like(equal, 0.2))


def test_rows_of_other_tokens_are_refused() -> None:
    with refused(LayerError, "which tokens the score depends on", "queries="):
        chain(call()).read_rows(result(call()))


def test_rows_by_name() -> None:
    one = chain(call())
    assert_same(one.rows("class"), torch.eye(5, dtype=torch.float64)[:1].expand(2, 5))
    assert_same(one.rows("mean"), torch.full((2, 5), 0.2, dtype=torch.float64))


def test_maps_are_those_of_the_patches() -> None:
    row = torch.arange(10.0, dtype=torch.float64).view(2, 5)
    found = chain(call()).map_of(row, None)
    assert_same(found, row[:, 1:].view(2, 1, 2, 2))
    with refused(LayerError, "cannot be read as a map: nobody knows"):
        chain(call(layout="nobody knows")).map_of(row, None)
