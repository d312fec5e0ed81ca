"""Fuse an inference batch-norm, a sum and a ReLU into the convolution before them."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import replace
from math import inf

from torchattr.incremental.operators.operator import Operator
from torchattr.incremental.operators.pixelwise import Pointwise
from torchattr.incremental.operators.windows import Convolved, folded
from torchattr.incremental.tape import TapeValue
from torchattr.kernels import Epilogue
from torchattr.layers import Call


def fuse(operators: Sequence[Operator], values: Sequence[TapeValue]) -> list[Operator]:
    """Return fewer operators that compute the same.

    A value that only the next operator reads is never materialised. A fused operator takes the
    position of the last of its parts, since a sum needs both of its terms.

    Args:
        operators: in the order of their calls.
        values: those of the tape.
    """
    result: dict[int, Operator] = {}
    for operator in operators:
        fused = _fused_with_producer(operator, result, values)
        if fused is None:
            result[operator.output] = operator
            continue
        replaced, convolution = fused
        del result[replaced]
        result[convolution.output] = convolution
    return list(result.values())


def fold_norms(operators: Sequence[Operator]) -> list[Operator]:
    """Return the operators with batch-norms folded into the weights of convolutions."""
    alike: dict[Hashable, list[Convolved]] = {}
    for step in operators:
        if isinstance(step, Convolved) and step.norm is not None:
            weight = step.convolution.weight
            alike.setdefault((step.norm.eps, weight.dtype, weight.device), []).append(step)
    made = {step.output: step for steps in alike.values() for step in folded(steps)}
    return [made.get(step.output, step) for step in operators]


def _fused_with_producer(
    operator: Operator, producers: Mapping[int, Operator], values: Sequence[TapeValue]
) -> tuple[int, Convolved] | None:
    """Return the value of the convolution that an operator is fused into, and the result."""
    if not isinstance(operator, Pointwise) or operator.call is None:
        return None
    for index in operator.inputs:
        producer = producers.get(index)
        if isinstance(producer, Convolved) and producer.open and values[index].readers == 1:
            fused = _fused(producer, operator, operator.call)
            if fused is not None:
                return index, fused
    return None


def _fused(conv: Convolved, operator: Pointwise, call: Call) -> Convolved | None:
    output, grid = operator.output, operator.grid
    name = call.operation.name
    if name == "dropout":
        return replace(conv, output=output, grid=grid)
    if name == "relu":
        after = Epilogue(lower=0.0, upper=inf if call.upper is None else call.upper)
        return replace(conv, output=output, grid=grid, after=after, open=False)
    if len(conv.inputs) > 1:
        return None
    if name == "batch_norm":
        if conv.norm is not None:
            return None
        return replace(conv, output=output, grid=grid, norm=call)
    if name == "add" and call.alpha == 1 and len(operator.inputs) == 2:
        other = next(index for index in operator.inputs if index != conv.output)
        return replace(conv, output=output, grid=grid, inputs=(*conv.inputs, other))
    return None
