"""Checks of inputs, baselines and additional arguments."""

from __future__ import annotations

from typing import Any, cast

import pytest
import torch
from helpers import refused

from torchattr.core import device_faults
from torchattr.core.inputs import (
    as_arguments,
    as_baselines,
    as_inputs,
    map_batched,
)
from torchattr.errors import DeviceLost, InputError, InputTypeError, ShapeError
from torchattr.models import example, load_model

X = torch.ones(2, 3)


def test_a_batch_may_be_empty_and_so_may_one_of_several_inputs() -> None:
    assert as_inputs(X[:0]).batch_size == 0
    assert as_inputs((X, X[:, :0])).batch_size == 2


def test_results_come_back_in_the_form_of_the_inputs() -> None:
    assert as_inputs(X).restore(["a"]) == "a"
    assert as_inputs((X,)).restore(["a"]) == ("a",)
    assert as_inputs((X, X)).restore(["a", "b"]) == ("a", "b")
    assert as_inputs([X, X]).batch_size == 2


@pytest.mark.parametrize(
    ("inputs", "error", "message"),
    [
        ("text", InputTypeError, r"inputs must be a tensor or a tuple of tensors, got str"),
        ((X, 3), InputTypeError, r"got int"),
        ((), InputTypeError, r"inputs is empty"),
        (torch.tensor(1.0), ShapeError, r"batch dimension.*unsqueeze\(0\)"),
        ((X, X[:1]), ShapeError, r"same first dimension \(the batch\), got \[2, 1\]"),
        (X.long(), InputTypeError, r"dtype torch.int64, which has no gradient"),
        (torch.ones(1, 3, 0, 0), InputError, r"shape \(1, 3, 0, 0\) have no elements per example"),
        ((X[:, :0], X[:, :0]), InputError, r"shape \(2, 0\) and \(2, 0\) have no elements"),
        ((X, X.bool()), InputTypeError, r"inputs\[1\] has dtype torch.bool"),
    ],
)
def test_refuses(inputs: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        as_inputs(inputs)


def test_what_becomes_a_tensor_says_how() -> None:
    demo = load_model("demo")
    prepared = demo.preprocess(example("cat"))
    with refused(InputTypeError, "got PreparedImage; pass its .tensor[None]"):
        as_inputs(cast(Any, prepared))
    with refused(InputTypeError, "got Image; pass load_model(...).preprocess(picture)"):
        as_inputs(cast(Any, prepared.original))
    with refused(InputTypeError, "got ndarray; pass torch.from_numpy(...)"):
        as_inputs(cast(Any, X.numpy()))
    with pytest.raises(InputTypeError, match=r"got LoadedModel$"):
        as_inputs(cast(Any, demo))


def test_integers_serve_where_no_gradient_is_needed() -> None:
    assert as_inputs(X.long(), differentiable=False).tensors[0].dtype == torch.int64


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16])
def test_names_the_samples_that_are_not_finite(value: float, dtype: torch.dtype) -> None:
    x = torch.zeros(5, 2, 2, dtype=dtype)
    x[1, 0, 1] = x[3, 1, 0] = value
    with pytest.raises(InputError, match=r"NaN or infinite values in sample 1, 3;"):
        as_inputs(x)


def test_infinities_of_both_signs_do_not_cancel() -> None:
    with pytest.raises(InputError, match=r"sample 0"):
        as_inputs(torch.tensor([[float("inf"), -float("inf")]]))


def test_large_finite_values_pass() -> None:
    largest = torch.finfo(torch.float32).max
    assert as_inputs(torch.full((2, 100), largest)).batch_size == 2
    assert as_inputs(torch.full((2, 100), 60000.0, dtype=torch.float16)).batch_size == 2


def test_an_empty_batch_passes() -> None:
    assert as_inputs(torch.zeros(0, 3)).batch_size == 0


def test_baselines() -> None:
    given = as_inputs((X, X))
    row = torch.zeros(1, 3)
    assert as_baselines(None, given) == (0, 0)
    assert as_baselines((0.5, row), given) == (0.5, row)
    assert as_baselines(2, as_inputs(X)) == (2,)


@pytest.mark.parametrize(
    ("baselines", "error", "message"),
    [
        ((0, 0), ShapeError, r"2 entries for 1 inputs"),
        ("zero", InputTypeError, r"must be a number or a tensor, got str"),
        (True, InputTypeError, r"got bool"),
        (-1e300, InputError, r"a number that float32 holds.*got -1e\+300"),
        (10**400, InputError, r"a number that float32 holds"),
        (torch.zeros(3, 3), ShapeError, r"shape \(3, 3\), which does not broadcast.*\(2, 3\)"),
        (torch.zeros(1, 2, 3), ShapeError, r"does not broadcast"),
    ],
)
def test_refuses_baselines(baselines: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        as_baselines(baselines, as_inputs(X))


def test_arguments_become_a_tuple() -> None:
    assert as_arguments(None) == ()
    assert as_arguments(3) == (3,)
    assert as_arguments((3, "a")) == (3, "a")


def test_map_batched_leaves_what_has_no_row_per_example() -> None:
    found = map_batched((X, torch.ones(3), torch.tensor(1.0), "a"), 2, lambda t: t + 1)
    assert torch.equal(found[0], X + 1)
    assert torch.equal(found[1], torch.ones(3))
    assert found[2:] == (torch.tensor(1.0), "a")


def test_inputs_on_a_lost_gpu_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device_faults, "_reported", [])
    monkeypatch.setattr(
        "torchattr.core.inputs._check_values",
        lambda *_: (_ for _ in ()).throw(RuntimeError("CUDA error: misaligned address")),
    )
    with refused(DeviceLost, "misaligned address"):
        as_inputs(torch.ones(1))
