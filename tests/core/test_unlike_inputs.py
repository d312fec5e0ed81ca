"""Sentences about the devices and dtypes that made a forward fail."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from helpers import refused
from torch import Tensor, nn

from torchattr.core.unlike_inputs import raise_if_unlike
from torchattr.errors import InputError, TargetError

LINEAR = nn.Linear(2, 1)
X = torch.ones(1, 2)
PICTURE = torch.ones(1, 2, 4, 4)


def run(model: Callable[..., Any], inputs: Sequence[Tensor], *arguments: Any) -> None:
    """Run a forward and name what made it fail."""
    try:
        model(*inputs, *arguments)
    except (RuntimeError, ValueError) as error:
        raise_if_unlike(error, [model] if isinstance(model, nn.Module) else [], inputs, arguments)
        raise


@pytest.mark.parametrize(
    ("model", "inputs", "said"),
    [
        (LINEAR, [X.to("meta")], ("inputs is on meta", "parameters on cpu", "inputs.to('cpu')")),
        (nn.Linear(2, 1, device="meta"), [X], ("inputs is on cpu", "meta", "inputs.to('meta')")),
        (nn.LSTM(2, 1, device="meta"), [X], ("inputs is on cpu", "parameters on meta")),
        (torch.add, [X, X.to("meta")], ("inputs[1] is on meta", "inputs[0] on cpu")),
    ],
)
def test_two_devices_are_named(model, inputs, said) -> None:
    with refused(InputError, *said):
        run(model, inputs)


def test_the_device_of_a_further_argument_counts() -> None:
    with refused(InputError, "additional_forward_args is on meta", "inputs on cpu"):
        run(lambda x, shift: x + shift, [X], X.to("meta"))


def test_a_model_on_two_devices_is_named() -> None:
    model = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1, device="meta"))
    with refused(InputError, "the model's 1.weight is on meta", "0.weight on cpu", "model.to('cpu"):
        run(model, [X])


@pytest.mark.parametrize(
    "model",
    [
        LINEAR,
        nn.Conv2d(2, 3, 3),
        nn.Conv2d(2, 3, 3, bias=False),
        nn.BatchNorm2d(2).eval(),
        nn.LayerNorm(4),
        nn.GroupNorm(1, 2),
        nn.LSTM(2, 1),
        nn.MultiheadAttention(2, 1),
    ],
    ids=lambda model: type(model).__name__,
)
@pytest.mark.parametrize("dtype", [torch.int64, torch.bool, torch.complex64, torch.float64])
def test_a_dtype_unlike_the_model_s_is_named(model: nn.Module, dtype: torch.dtype) -> None:
    x = (X if isinstance(model, (nn.Linear, nn.LSTM, nn.MultiheadAttention)) else PICTURE).to(dtype)
    inputs = [x] * (3 if isinstance(model, nn.MultiheadAttention) else 1)
    with refused(InputError, f"is {dtype}", "parameters torch.float32", ".to(torch.float32)"):
        run(model, inputs)


@pytest.mark.parametrize(
    ("model", "dtype"),
    [
        (nn.AvgPool2d(2), torch.uint8),
        (nn.MaxPool2d(2), torch.complex64),
        (nn.ReLU(), torch.bool),
        (nn.GELU(), torch.int64),
        (nn.AdaptiveAvgPool2d(1), torch.int64),
        (nn.Embedding(4, 2), torch.uint8),
    ],
)
def test_a_dtype_without_the_operation_is_named(model: nn.Module, dtype: torch.dtype) -> None:
    with refused(InputError, f"inputs is {dtype}"):
        run(model, [PICTURE.to(dtype)])


def test_what_a_device_has_no_code_for_is_named() -> None:
    def missing(_: Tensor) -> Tensor:
        raise NotImplementedError("\"pool\" not implemented for 'Half'\nand more")

    with refused(InputError, "torch.float16 on cpu", "'Half')", "inputs.float()", "use a device"):
        run(missing, [X.half()])
    with pytest.raises(NotImplementedError, match="and more"):
        run(missing, [X])


def test_what_differs_without_being_at_fault_is_left_alone() -> None:
    double = X.double()
    with pytest.raises(RuntimeError, match="shapes cannot"):
        run(lambda x: LINEAR(x.float()[:, :1]), [double])
    with pytest.raises(RuntimeError, match="same dtype"):
        run(lambda x: LINEAR(x.double()), [X])
    error = TargetError("all on the same device")
    raise_if_unlike(error, [LINEAR], [double])


def test_integer_buffers_and_arguments_are_no_difference() -> None:
    model = nn.BatchNorm1d(2).eval()
    with refused(InputError, "inputs is torch.float64"):
        run(model, [X.double()])
    with pytest.raises(RuntimeError, match="same dtype"):
        run(lambda x, index: LINEAR(x[index].double()), [X], torch.tensor([0]))
