"""The base of rescale rules, and the quotients that they multiply by.

Shrikumar, Greenside and Kundaje 2017 (1704.02685) compare a run on x with one on a reference x0. A
multiplier m of an operation's input says how much of the output's difference one unit of the
input's difference makes: `sum m (x - x0) = y - y0` holds for each operation, and so for the whole.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from torchattr.errors import RuleError
from torchattr.layers.operations.operation import Call
from torchattr.layers.reference import Reference, Tolerance
from torchattr.layers.rule import LayerRule

Tensors = tuple[Tensor, ...]


@dataclass(frozen=True)
class ComparedCall:
    """A call, and the same call in the run of the reference.

    Attributes:
        given: its inputs.
        reference: its inputs in the run of the reference; a rule may not write over them.
        outputs: what it returned.
        dependent: for each input, whether it depends on what is attributed.
    """

    given: Tensors
    reference: Tensors
    outputs: Tensors
    dependent: tuple[bool, ...]


class RescaleRule(LayerRule):
    """Compares a call with the same call in the run of a reference.

    Args:
        reference: that run. A rule without one names the class of rules, but cannot run.
    """

    fresh: ClassVar[bool] = True

    def __init__(self, reference: Reference | None = None) -> None:
        self.reference = reference

    @property
    def run_of_reference(self) -> Reference:
        """The run of the reference.

        Raises:
            RuleError: there is none.
        """
        if self.reference is None:
            raise RuleError(
                "the rule 'rescale' compares a run with that of a reference, which this method has"
                " not; use DeepLift or DeepLiftShap"
            )
        return self.reference

    @property
    def tolerance(self) -> Tolerance:
        """The differences that count as none."""
        return self.run_of_reference.tolerance

    def save(self, call: Call, x: Tensor, y: Tensor, *extras: Tensor) -> Tensors:
        given: Tensors = x if isinstance(x, tuple) else (x,)
        # What an operation is about to write over was copied, without its place in the graph.
        first = y.requires_grad if call.inplace else given[0].requires_grad
        dependent = (first, *(one.requires_grad for one in given[1:]))
        run = self.run_of_reference
        reference = run.next_inputs(call, given, dependent)
        if reference is not None:
            pair = ComparedCall(given, reference, (y, *extras), dependent)
            run.keep(call, self.compared(call, pair))
        return ()

    @abstractmethod
    def compared(self, call: Call, pair: ComparedCall) -> tuple[Any, ...]:
        """Return what :meth:`multiplied` needs, as little as possible."""

    def backward(
        self, call: Call, grad: Tensor, *saved: Tensor
    ) -> Tensor | tuple[Tensor | None, ...]:
        return self.multiplied(call, grad, *self.run_of_reference.kept(call))

    @abstractmethod
    def multiplied(
        self, call: Call, grad: Tensor, *kept: Any
    ) -> Tensor | tuple[Tensor | None, ...]:
        """Return the multipliers of the inputs, given those of the output."""


def output_of(call: Call, *inputs: Tensor) -> tuple[Tensor, ...]:
    """Return what a call returns for other inputs, which it does not write over."""
    own = [tensor.clone() for tensor in inputs] if call.inplace else inputs
    found = call.compute(*own)
    return found if isinstance(found, tuple) else (found,)


def mean_of(x: Tensor, x0: Tensor) -> Tensor:
    """Return `(x + x0) / 2`."""
    return (x + x0).div_(2)


def quotient(
    x: Tensor,
    x0: Tensor,
    rise: Tensor,
    derivative: Callable[[Tensor], Tensor],
    tolerance: Tolerance,
) -> Tensor:
    """Return `rise / (x - x0)`, or the derivative between them where the difference is small."""
    difference = x - x0
    small = tolerance.is_small(difference, x, x0)
    slope = rise / difference
    if not bool(small.any()):
        return slope
    # Nothing rises there, so any finite number is right where a derivative is infinite.
    between = derivative(mean_of(x, x0)).nan_to_num(0.0, 0.0, 0.0)
    return torch.where(small, between, slope)


def dims_of(call: Call) -> tuple[int, ...]:
    """Return the dimensions that a call reduces; all of them if it names none."""
    if call.dim is None or call.dim == ():
        return tuple(range(len(call.shape)))
    return tuple(call.dim) if isinstance(call.dim, (tuple, list)) else (int(call.dim),)
