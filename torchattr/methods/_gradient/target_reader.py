"""Reads a target's values from a forward: from the output, or from a layer for a neuron."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

from torchattr.core.arguments import plain_numbers
from torchattr.core.select import find_layer
from torchattr.core.targets import Neuron, select_scores
from torchattr.core.types import Forward, Index
from torchattr.errors import InputTypeError, LayerError, TargetError
from torchattr.layers import Captured, TapPoint
from torchattr.methods._gradient.forward_result import ForwardResult


class TargetReader:
    """Reads the values that a target names from a forward.

    Args:
        model: the model.
        target: the target, of any type.

    Attributes:
        taps: the tap points that the forward must capture: the layer of a :class:`Neuron`, or none.
    """

    def __init__(self, model: Forward, target: Any) -> None:
        self.taps = [_tap_point(model, target)] if isinstance(target, Neuron) else []

    @property
    def reads_output(self) -> bool:
        """Whether the values are entries of the model's output."""
        return not self.taps

    def read(self, trace: ForwardResult, output: Tensor, target: Any) -> Tensor:
        """Return one value per example, `(N,)`.

        Args:
            trace: the forward.
            output: its scores, in the shape that targets index.
            target: a single target: this reader's, or one of several that it names.

        Raises:
            TargetError: the target does not fit the output, or the layer.
            LayerError: the neuron's layer did not run.
        """
        if self.reads_output:
            return select_scores(output, target)
        return select_neuron(last_call(trace, self.taps[0]), target.selector)


def _tap_point(model: Forward, neuron: Neuron) -> TapPoint:
    return TapPoint(find_layer(model, neuron.layer)[1], neuron.of_input)


def last_call(trace: ForwardResult, tap: TapPoint) -> Captured:
    """Return the last call that was captured at a tap point.

    Raises:
        LayerError: the forward never ran that module.
    """
    calls = trace.calls(tap)
    if not calls:
        raise LayerError(
            f"the layer {type(tap.module).__name__} did not run in this forward (it may be used"
            " in training only, or its weights are read without calling it); choose another layer"
        )
    return calls[-1]


def select_neuron(captured: Captured, selector: Index | Callable[[Any], Tensor]) -> Tensor:
    """Return one value per example: the sum of the layer's values that `selector` selects.

    Raises:
        TargetError: the selector does not fit the layer's shape, or the layer returns several
            tensors and the selector is not a callable.
        InputTypeError: the selector is neither an index nor a callable.
    """
    if callable(selector):
        scores = selector(captured.restore(captured.values))
        return select_scores(captured.values[0], lambda _: scores)
    if len(captured.values) != 1:
        raise TargetError(
            f"the neuron selector {selector!r} does not say which of the layer's"
            f" {len(captured.values)} tensors it means; pass a callable from all of them to one"
            " value per example"
        )
    values = captured.values[0]
    index = selector if isinstance(selector, tuple) else (selector,)
    for one in index:
        if isinstance(plain_numbers(one), (bool, float, str, type(None))):
            raise InputTypeError(
                "a neuron selector must be an int, a tuple of ints and slices, or a callable from"
                f" the layer's values to one value per example, got {selector!r}"
            )
    if len(index) >= values.dim():
        raise _wrong_depth(selector, values)
    whole = (slice(None), *index)
    try:
        selected = values[whole]
    except IndexError as error:
        raise TargetError(
            f"the neuron selector {selector!r} is out of range for the layer's values of shape"
            f" {tuple(values.shape)}"
        ) from error
    is_sum = any(isinstance(one, slice) for one in index)
    if len(index) < values.dim() - 1 and not is_sum and selected[:1].numel() > 1:
        raise _wrong_depth(selector, values)
    return selected.reshape(len(values), -1).sum(1)


def _wrong_depth(selector: Any, values: Tensor) -> TargetError:
    count = len(selector) if isinstance(selector, tuple) else 1
    return TargetError(
        f"the neuron selector {selector!r} has {count} indices, but the layer's values of shape"
        f" {tuple(values.shape)} have {values.dim() - 1} dimensions after the batch; pass one for"
        " each, or slices, whose values are summed"
    )
