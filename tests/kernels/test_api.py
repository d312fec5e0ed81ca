"""A backend with the four required operations only, and one without any."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import pytest
import torch
from helpers import noise
from torch import Tensor

from torchattr.kernels import (
    Backend,
    Gate,
    Order,
    PatchOperations,
    Request,
    TorchBackend,
    Window,
    api,
    order_of,
)

REFERENCE = TorchBackend()
GATES: tuple[Gate, ...] = ("gradient", "guided", "deconvolution")


class FourOperations(Backend):
    """Leaves everything but the four operations to the base class."""

    name: ClassVar[str] = "four"

    def refusals(self, request: Request) -> list[str]:
        return []

    def pack_mask(self, output: Tensor, order: Order, upper: float | None) -> Tensor:
        return REFERENCE.pack_mask(output, order, upper)

    def relu_backward(
        self, grad: Tensor, mask: Tensor | None, order: Order, gate: Gate, overwrite: bool = False
    ) -> Tensor:
        return REFERENCE.relu_backward(grad, mask, order, gate, overwrite)

    def pack_switches(
        self, indices: Tensor, output: Tensor, input_shape: Sequence[int], window: Window
    ) -> Tensor:
        return REFERENCE.pack_switches(indices, output, input_shape, window)

    def unpool(
        self, grad: Tensor, switches: Tensor, input_shape: Sequence[int], window: Window
    ) -> Tensor:
        return REFERENCE.unpool(grad, switches, input_shape, window)


FOUR = FourOperations()


def test_four_operations_and_the_refusals_are_abstract() -> None:
    operations = {"pack_mask", "relu_backward", "pack_switches", "unpool"}
    assert Backend.__abstractmethods__ == {"refusals", *operations}
    assert PatchOperations.__abstractmethods__ == {"gather", "convolve", "pool"}


def test_the_interfaces_import_no_backend() -> None:
    tree = ast.parse(Path(api.__file__).read_text())
    modules = {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    ours = {name for name in modules if name.startswith("torchattr.")}
    assert ours == {f"torchattr.kernels.{name}" for name in ("gates", "layout", "patches")}


def test_what_is_not_overridden() -> None:
    request = Request(torch.device("cpu"), torch.float32)
    assert FOUR.is_offered(request)
    assert FOUR.patches is None


@pytest.mark.parametrize("upper", [None, 1.0])
def test_the_derived_forwards(upper: float | None) -> None:
    x, scale, shift = noise(2, 3, 4, 4), noise(3, seed=2), noise(3, seed=3)
    for ours, theirs in (
        (FOUR.relu(x, upper), REFERENCE.relu(x, upper)),
        (
            FOUR.batch_norm_relu(x, scale, shift, upper),
            (REFERENCE.batch_norm_relu(x, scale, shift, upper)),
        ),
    ):
        assert torch.equal(ours[0], theirs[0])
        assert torch.equal(ours[1], theirs[1])
    overwritten = x.clone()
    output, _ = FOUR.relu(overwritten, upper, overwrite=True)
    assert output is overwritten


@pytest.mark.parametrize("gate", GATES)
@pytest.mark.parametrize("stride", [1, 2])
def test_the_derived_pools(gate: Gate, stride: int) -> None:
    x, window = noise(2, 3, 6, 6).relu(), Window((2, 2), (stride, stride), (0, 0), (1, 1))
    values, switches = FOUR.max_pool(x, window)
    expected = REFERENCE.max_pool(x, window)
    assert torch.equal(values, expected[0])
    assert torch.equal(switches, expected[1])
    grad = noise(*values.shape, seed=2)
    gated = FOUR.unpool_gated(grad, switches, x.shape, window, gate)
    _, mask = FOUR.relu(x)
    if gate != "deconvolution":
        grad = grad.where(values > 0, 0)
    plain = FOUR.unpool(grad, switches, x.shape, window)
    if window.overlaps or gate == "gradient":
        assert torch.equal(gated, FOUR.relu_backward(plain, mask, order_of(x), gate))


@pytest.mark.parametrize("gate", GATES)
def test_the_derived_backward_of_batch_norm(gate: Gate) -> None:
    x, scale, grad = noise(2, 3, 4, 4), noise(3, seed=2), noise(2, 3, 4, 4, seed=3)
    _, mask = FOUR.relu(x)
    result = FOUR.batch_norm_relu_backward(grad, mask, scale, order_of(x), gate)
    gated = FOUR.relu_backward(grad, mask, order_of(x), gate)
    assert torch.equal(result, gated * scale.view(-1, 1, 1))
