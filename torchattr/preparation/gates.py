"""Count the ReLU gates that differ between two models.

The gradient of a ReLU network is as exact as its gates. A gate flips where a value is so close to
zero that rounding decides its sign. The gates of guided backpropagation and of the deconvnet also
depend on the backward signal, so they have a second chance to flip.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from torchattr.core.types import Forward, OutputKey
from torchattr.errors import InputError
from torchattr.layers import Call, LayerRule, Trace
from torchattr.preparation.precision import positions_of, scores_at


@dataclass(frozen=True)
class Flips:
    """Number of gates that differ, out of all.

    >>> print(Flips(2, 1000))
    2 of 1,000 (0.2%)
    """

    flipped: int
    gates: int

    @property
    def share(self) -> float:
        return self.flipped / self.gates if self.gates else 0.0

    def __str__(self) -> str:
        return f"{self.flipped:,} of {self.gates:,} ({100 * self.share:.3g}%)"


class GateRecorder(LayerRule):
    """A ReLU rule that records where each gate passed its signal.

    Args:
        guided: whether the forward gate applies too, as in guided backpropagation; otherwise only
            the sign of the signal does, as in the deconvnet.
    """

    def __init__(self, guided: bool) -> None:
        self.guided = guided
        self.forward: list[Tensor] = []
        self._positions: dict[int, int] = {}
        self._opened: dict[int, Tensor] = {}

    def save(self, call: Call, x: Tensor, y: Tensor) -> tuple[Tensor, ...]:
        passed = y > 0 if call.upper is None else (y > 0) & (y < call.upper)
        self._positions[id(call)] = len(self.forward)
        self.forward.append(passed)
        return (passed,)

    def backward(self, call: Call, grad: Tensor, *saved: Tensor) -> Tensor:
        passes = (saved[0] & (grad > 0)) if self.guided else grad > 0
        self._opened[self._positions[id(call)]] = passes
        return grad.where(passes, 0)

    def opened(self) -> list[Tensor]:
        """Return the gates of the backward, in the order of the forward."""
        return [self._opened[position] for position in sorted(self._opened)]


@dataclass(frozen=True)
class FlippedGates:
    """The gates of each kind that differ between two models.

    Attributes:
        forward: those of the ReLUs themselves; all that the gradient depends on.
        guided: those of guided backpropagation: activation and signal positive.
        deconvolution: those of the deconvnet: signal positive.
    """

    forward: Flips
    guided: Flips
    deconvolution: Flips

    def __str__(self) -> str:
        return f"gradient {self.forward}, guided {self.guided}, deconvolution {self.deconvolution}"


def flipped_gates(
    one: Forward,
    other: Forward,
    inputs: Sequence[Tensor],
    arguments: Sequence[Any] = (),
    *,
    key: OutputKey = None,
    target: Any = None,
) -> FlippedGates:
    """Count the gates that differ between two models on the same inputs.

    Args:
        one: a model.
        other: one that runs the same ReLUs in the same order.
        inputs: the attributed inputs.
        arguments: further positional arguments.
        key: the entry of the output that holds the scores.
        target: the target; `None` is the largest score of `one` for each example.

    Raises:
        InputError: the two do not run the same ReLUs.

    >>> import torch
    >>> from torch import nn
    >>> model = nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 2))
    >>> print(flipped_gates(model, model, [torch.randn(5, 3)]).forward)
    0 of 40 (0%)
    """
    first, target = _gates(one, inputs, arguments, key, target)
    second, _ = _gates(other, inputs, arguments, key, target)
    return FlippedGates(*(_differing(a, b) for a, b in zip(first, second, strict=True)))


def _gates(
    model: Forward, inputs: Sequence[Tensor], arguments: Sequence[Any], key: OutputKey, target: Any
) -> tuple[tuple[list[Tensor], ...], Any]:
    guided, deconvolution = GateRecorder(True), GateRecorder(False)
    tables = [{"relu": guided}, {"relu": deconvolution}]
    trace = Trace(model, inputs, arguments, tables=tables, key=key)
    target = positions_of(trace.output) if target is None else target
    scores = scores_at(trace.output, target)
    trace.gradients(scores, trace.input_edges, table=0, of_output=True)
    trace.gradients(scores, trace.input_edges, table=1, keep=False, of_output=True)
    return (guided.forward, guided.opened(), deconvolution.opened()), target


def _differing(one: Sequence[Tensor], other: Sequence[Tensor]) -> Flips:
    if [gates.shape for gates in one] != [gates.shape for gates in other]:
        raise InputError(
            f"the two models do not run the same ReLUs: {len(one)} and {len(other)} of them"
        )
    flipped = sum(int((a != b).sum()) for a, b in zip(one, other, strict=True))
    return Flips(flipped, sum(gates.numel() for gates in one))
