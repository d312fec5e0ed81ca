"""What disconnects scores from the inputs, and what does not."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from torchattr.layers.connection import ports_below, why_disconnected

X = torch.rand(2, 3)


def cause(run: Callable[..., Tensor], *inputs: Tensor) -> str | None:
    return why_disconnected(run, inputs or (X,), (), lambda output: output)


def no_grad(x: Tensor) -> Tensor:
    with torch.no_grad():
        return x.exp()


@torch.inference_mode()
def inference(x: Tensor) -> Tensor:
    return x.exp()


def after_a_residual(x: Tensor) -> Tensor:
    h = x.exp()
    with torch.no_grad():
        return (h + x).sin()


def switched(x: Tensor) -> Tensor:
    torch.set_grad_enabled(False)
    try:
        return x.exp()
    finally:
        torch.set_grad_enabled(True)


def into_a_buffer(x: Tensor) -> Tensor:
    buffer = torch.zeros(2, 3)
    buffer.copy_(x.exp().detach())
    return buffer.sin()


class Straight(torch.autograd.Function):
    """Rounds, with the gradient of the identity."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.round()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        return grads[0]


@pytest.mark.filterwarnings("ignore:torch.quantize_per_tensor")
@pytest.mark.parametrize(
    ("run", "expected"),
    [
        (no_grad, "exp ran under torch.no_grad() (at test_connection.py:"),
        (inference, "exp ran under torch.inference_mode()"),
        (after_a_residual, "ran under torch.no_grad()"),
        (switched, "exp ran under torch.no_grad()"),
        (lambda x: x.exp().detach().sin(), "a tensor was detached"),
        (lambda x: x.exp().data * 2, "a tensor was detached"),
        (into_a_buffer, "a tensor was detached"),
        (lambda x: x.argmax(1, keepdim=True) * 1.0, "argmax gives integers"),
        (lambda x: (x > 0.5).float(), "gt gives booleans"),
        (lambda x: torch.where(x > 0, torch.ones(()), torch.zeros(())), "gt gives booleans"),
        (lambda x: (x * 255).to(torch.uint8) / 255.0, "to gives integers"),
        (lambda x: x.sign() * 2, "sign is flat"),
        (lambda x: torch.floor(x) + 1, "floor is flat"),
        (lambda x: x.round(decimals=1), "round is flat"),
        (lambda x: torch.from_numpy(x.detach().numpy() * 2), "numpy left PyTorch"),
        (lambda x: torch.tensor(x.tolist()), "tolist left PyTorch"),
        (lambda x: torch.full((2, 3), x.mean().item()), "item left PyTorch"),
        (lambda x: torch.quantize_per_tensor(x, 0.1, 0, torch.quint8).dequantize(), "quantised"),
        (lambda x: Straight.apply(x).argmax(1) * 1.0, "argmax gives integers"),
    ],
)
def test_causes(run: Callable[[Tensor], Tensor], expected: str) -> None:
    assert expected in str(cause(run))


@pytest.mark.parametrize(
    "run",
    [
        lambda x: x + (x.round() - x).detach(),
        lambda x: Straight.apply(x) * 2,
        lambda x: x / x.max().item(),
        lambda x: x * float(x.detach().numpy().std()),
        lambda x: x * (x > 0.5),
        lambda x: torch.where(x > 0.5, x.detach(), x),
        lambda x: x.gather(1, x.argsort(1)),
        lambda x: torch.fake_quantize_per_tensor_affine(x, 0.1, 0, -128, 127),
        lambda x: x + no_grad(x),
        lambda x: torch.cat([x, x.detach()]),
    ],
)
def test_what_is_connected_has_no_cause(run: Callable[[Tensor], Tensor]) -> None:
    assert cause(run) == ""


def test_what_was_made_without_the_inputs() -> None:
    assert cause(lambda x: torch.ones(len(x), x.shape[1])) is None


def test_inputs_of_integers() -> None:
    assert "int64" in str(cause(lambda x: x * 2, torch.ones(2, 3, dtype=torch.int64)))


def test_the_graph_is_followed_below_known_parts() -> None:
    x = torch.rand(3, requires_grad=True)
    edge = (x * 1).grad_fn
    assert edge is not None
    y = x.exp()
    output = y.sin()
    known = ports_below(output)
    score = output.sum()
    assert ports_below(score, known=known, at=output) >= known
    assert (y.grad_fn, y.output_nr) in known
    # From above `output` but not through it.
    assert (output.grad_fn, 0) not in ports_below(y * 2, known=known, at=output)


def test_flat_functions_end_the_way() -> None:
    x = torch.rand(3, requires_grad=True)
    y = x.exp()
    assert (y.grad_fn, 0) not in ports_below(y.round().sum())
    assert (y.grad_fn, 0) in ports_below((y.round() + y).sum())
