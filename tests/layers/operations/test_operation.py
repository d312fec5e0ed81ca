"""Which arguments a call keeps, and that it can run again on other inputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import copy, deepcopy
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from torchattr.layers.operations.operation import Call, CallGroup, spelled
from torchattr.layers.operations.parsers import parse_call

X = torch.tensor([[1.0, -2.0, 3.0]])
Y = torch.tensor([[4.0, 5.0, -6.0]])


def call_of(function: Any, *args: Any, **kwargs: Any) -> Call:
    understood = parse_call(function, args, kwargs)
    assert understood is not None
    return understood[0]


@pytest.mark.parametrize(
    ("call", "fresh", "expected"),
    [
        (call_of(torch.add, X, Y, alpha=2), (Y, X), Y + 2 * X),
        (call_of(torch.add, X, X), (X, Y), X + Y),
        (call_of(torch.add, other=Y, input=X, alpha=2), (Y, X), Y + 2 * X),
        (call_of(torch.cat, [X, Y, X], dim=1), (Y, Y, X), torch.cat([Y, Y, X], 1)),
        (call_of(F.gelu, X, approximate="tanh"), (Y,), F.gelu(Y, approximate="tanh")),
        (call_of(F.leaky_relu, input=X, negative_slope=0.5), (Y,), F.leaky_relu(Y, 0.5)),
    ],
)
def test_compute_runs_on_other_inputs(
    call: Call, fresh: tuple[Tensor, ...], expected: Tensor
) -> None:
    assert torch.equal(call.compute(*fresh), expected)


def test_vjp_tells_apart_the_two_uses_of_one_tensor() -> None:
    grads = call_of(torch.add, X, X, alpha=3).vjp(torch.ones_like(X), X, X)
    assert [grad.tolist() for grad in grads] == [[[1.0] * 3], [[3.0] * 3]]


def test_vjp_of_an_in_place_spelling_leaves_the_input() -> None:
    x = X.clone()
    call_of(F.silu, x, inplace=True).vjp(torch.ones_like(x), x)
    assert torch.equal(x, X)


def test_keeps_no_input_alive() -> None:
    for call in (call_of(torch.relu, X), call_of(torch.add, X, Y), call_of(F.silu, input=X)):
        held = [*call._args, *call._kwargs.values()]
        assert not any(isinstance(value, Tensor) for value in held)


@pytest.mark.parametrize("copied", [copy, deepcopy, lambda call: call.of(Y)])
def test_a_copy_has_the_same_arguments(copied: Any) -> None:
    call = call_of(F.leaky_relu, X, negative_slope=0.5)
    other = copied(call)
    assert (other.negative_slope, other.shape, other.spelling) == (0.5, X.shape, call.spelling)
    assert torch.equal(other.compute(Y), F.leaky_relu(Y, 0.5))
    with pytest.raises(AttributeError, match="leaky_relu has no argument 'order'"):
        other.order  # noqa: B018 - no output is known yet


def test_arguments_are_attributes_under_their_own_names() -> None:
    call = call_of(torch.conv1d, X[None], torch.ones(2, 1, 2), stride=2)
    assert (call.stride, call.padding, call.groups) == ((2,), (0,), 1)
    with pytest.raises(AttributeError, match="a call of conv has no argument 'slope'"):
        call.slope  # noqa: B018  # the access is the test


@pytest.mark.parametrize(
    ("function", "name"),
    [
        (F.relu, "torch.nn.functional.relu"),
        (Tensor.relu_, "Tensor.relu_"),
        (torch.add, "torch.add"),
        (F.linear, "torch.nn.functional.linear"),  # compiled, in a private module
    ],
)
def test_spelled(function: Any, name: str) -> None:
    assert spelled(function) == name


def test_calls_of_a_group_compute_their_constants_together_and_once() -> None:
    group, computed = CallGroup(), []

    def doubled(arguments: Sequence[Mapping[str, Any]]) -> list[Tensor]:
        computed.append(len(arguments))
        return [2 * each["weight"] for each in arguments]

    def add(weight: Tensor) -> Call:
        call = call_of(F.prelu, X, weight)
        group.add(call)
        return call

    first, second = add(torch.ones(1)), add(torch.ones(1) * 3)
    assert [group.constant(call.position, doubled).item() for call in (second, first)] == [6, 2]
    late = add(torch.ones(1) * 5)
    assert group.constant(late.position, doubled).item() == 10
    assert group.constant(first.position, doubled).item() == 2
    assert computed == [2, 1]
