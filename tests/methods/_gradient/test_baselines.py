"""Baselines: one for each example, or rows to choose from."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import torch
from helpers import noise, refused
from torch import Tensor, nn

import torchattr as ta
from torchattr.core.inputs import Inputs, as_inputs
from torchattr.errors import InputTypeError
from torchattr.methods._gradient.baselines import BaselineRows, fixed_baselines

X, Y = noise(3, 4, 5), noise(3, 2, dtype=torch.float32)
POOL = noise(6, 4, 5, seed=2)


def one() -> Inputs:
    return as_inputs(X)


def two() -> Inputs:
    return as_inputs((X, Y))


def test_fixed_baselines_have_the_form_of_the_inputs() -> None:
    zeros = fixed_baselines(None, two())
    assert [(z.shape, z.dtype, bool(z.any())) for z in zeros] == [
        (X.shape, X.dtype, False),
        (Y.shape, Y.dtype, False),
    ]
    row, number = fixed_baselines((POOL[:1].float(), 2), two())
    assert torch.equal(row, POOL[:1].float().double().expand_as(X))
    assert torch.equal(number, torch.full_like(Y, 2))
    with refused(ta.InputError, "baselines", "NaN"):
        fixed_baselines(float("nan"), one())
    with refused(ta.ShapeError, "baselines", "broadcast"):
        fixed_baselines(POOL, one())


def test_rows_have_the_form_of_an_example() -> None:
    (rows,) = BaselineRows(POOL.float().requires_grad_(), one()).tensors
    assert torch.equal(rows, POOL.float().double())
    assert not rows.requires_grad
    pairs = BaselineRows((POOL[:, :1], 0.5), two()).tensors
    assert [(tuple(r.shape), r.dtype) for r in pairs] == [
        ((6, 1, 5), X.dtype),
        ((1, 1), Y.dtype),
    ]
    assert [bool(r.any()) for r in BaselineRows(None, two()).tensors] == [False, False]


class Blurred(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.mean((1, 2), keepdim=True)


def test_a_function_of_the_inputs_or_of_nothing() -> None:
    for function, expected in (
        (lambda: POOL, POOL),
        (lambda x: x + 1, X + 1),
        (Blurred(), X.mean((1, 2), keepdim=True)),
        (partial(torch.full, (2, 4, 5), 3.0), torch.full((2, 4, 5), 3.0).double()),
        (lambda: 2, torch.full((1, 1, 1), 2.0).double()),
    ):
        (rows,) = BaselineRows(function, one()).tensors
        assert torch.equal(rows, expected)
    pairs = BaselineRows(lambda pair: (pair[0][:2], pair[1] * 2), two()).tensors
    assert torch.equal(pairs[0], X[:2])
    assert torch.equal(pairs[1], Y * 2)


def test_a_function_is_given_no_graph() -> None:
    given: list[Tensor] = []

    def function(x: Tensor) -> Tensor:
        given.append(x)
        return x

    BaselineRows(function, as_inputs(X.clone().requires_grad_()))
    assert not given[0].requires_grad


def test_rows_are_chosen_by_numbers() -> None:
    numbers = torch.tensor([[[0.0], [0.16], [0.17]], [[0.5], [0.999], [1 - 2**-53]]]).double()
    (chosen,) = BaselineRows(POOL, one()).chosen(numbers)
    assert torch.equal(chosen, POOL[torch.tensor([[0, 0, 1], [3, 5, 5]])])


@pytest.mark.parametrize("count", [1, 3, 5, 7, 49, 1000])
def test_the_largest_number_chooses_the_last_row(count: int) -> None:
    """Its product with the count is rounded up to the count for some."""
    rows = torch.arange(count).double().reshape(-1, 1)
    (chosen,) = BaselineRows(rows, as_inputs(torch.zeros(2, 1).double())).chosen(
        torch.tensor([[1 - 2**-53]]).double()
    )
    assert chosen.item() == count - 1


def test_rows_of_equally_many_are_chosen_together() -> None:
    inputs = as_inputs((torch.zeros(2, 1),) * 3)
    numbers = torch.rand(50, 3, dtype=torch.float64)
    four, nine = (torch.arange(count).float().reshape(-1, 1) for count in (4, 9))
    first, other, last = BaselineRows((four, nine, four), inputs).chosen(numbers)
    assert torch.equal(first, last)
    assert torch.equal(first[:, 0], (numbers[:, 0] * 4).floor().float())
    assert torch.equal(other[:, 0], (numbers[:, 1] * 9).floor().float())


@pytest.mark.parametrize(
    ("baselines", "kind", "words"),
    [
        (POOL[0], ta.ShapeError, ("baselines", "(4, 5)", "(rows, 4, 5)")),
        (POOL[:, :3], ta.ShapeError, ("baselines", "(6, 3, 5)", "(rows, 4, 5)")),
        (POOL[:0], ta.ShapeError, ("baselines", "at least one row")),
        (POOL.byte(), InputTypeError, ("baselines", "uint8", "float64", "floating tensor")),
        (POOL > 0, InputTypeError, ("baselines", "bool")),
        (POOL.cfloat(), InputTypeError, ("baselines", "complex64")),
        (POOL.log(), ta.InputError, ("baselines", "NaN")),
        (float("inf"), ta.InputError, ("baselines", "infinite")),
        (True, InputTypeError, ("baselines", "bool")),
        ("black", InputTypeError, ("baselines", "str", "a function")),
        ((POOL, POOL), ta.ShapeError, ("baselines", "2 entries for 1")),
        (lambda: "black", InputTypeError, ("baselines", "str")),
        (lambda: POOL[0], ta.ShapeError, ("baselines", "(rows, 4, 5)")),
    ],
)
def test_bad_rows(baselines: Any, kind: Any, words: tuple[str, ...]) -> None:
    with refused(kind, *words):
        BaselineRows(baselines, one())


def test_bad_rows_of_one_of_several_inputs_are_named() -> None:
    with refused(ta.ShapeError, "baselines[1]", "(rows, 2)"):
        BaselineRows((POOL, POOL), two())
    with refused(ta.ShapeError, "1 entries for 2", "each input"):
        BaselineRows(POOL, two())


def test_a_number_keeps_the_precision_of_the_input() -> None:
    inputs = as_inputs(torch.ones(2, 3, dtype=torch.float64))
    assert float(fixed_baselines(0.3, inputs)[0][0, 0]) == 0.3
    assert float(BaselineRows(0.3, inputs).tensors[0].flatten()[0]) == 0.3
