"""Taking what follows a convolution into it: an inference batch-norm, a sum, a rectifier."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import inf

from torchattr.incremental.operators.operator import Operator
from torchattr.incremental.operators.pixelwise import Pointwise
from torchattr.incremental.operators.windows import Convolved
from torchattr.incremental.tape import TapeValue
from torchattr.kernels import Epilogue
from torchattr.layers import Call


def fused(operators: Sequence[Operator], values: Sequence[TapeValue]) -> list[Operator]:
    """Return operators that do the same in fewer steps.

    A value that only the next step reads is not made at all. What takes others in stands where
    the last of them stood, since a sum needs both of its terms.

    Args:
        operators: in the order of their calls.
        values: those of the tape.
    """
    made: dict[int, Operator] = {}
    for operator in operators:
        taken = _taken_in(operator, made, values)
        if taken is None:
            made[operator.output] = operator
            continue
        before, together = taken
        del made[before]
        made[together.output] = together
    return list(made.values())


def _taken_in(
    operator: Operator, made: Mapping[int, Operator], values: Sequence[TapeValue]
) -> tuple[int, Convolved] | None:
    """Return which convolution an operator goes into, and what that becomes."""
    if not isinstance(operator, Pointwise) or operator.call is None:
        return None
    for index in operator.inputs:
        before = made.get(index)
        if isinstance(before, Convolved) and before.open and values[index].readers == 1:
            together = _together(before, operator, operator.call)
            if together is not None:
                return index, together
    return None


def _together(before: Convolved, operator: Pointwise, call: Call) -> Convolved | None:
    output, grid = operator.output, operator.grid
    name = call.operation.name
    if name == "dropout":
        return replace(before, output=output, grid=grid)
    if name == "relu":
        after = Epilogue(lower=0.0, upper=inf if call.upper is None else call.upper)
        return replace(before, output=output, grid=grid, after=after, open=False)
    if len(before.inputs) > 1:
        return None
    if name == "batch_norm":
        if before.norm is not None:
            return None
        return replace(before, output=output, grid=grid, norm=call)
    if name == "add" and call.alpha == 1 and len(operator.inputs) == 2:
        other = next(index for index in operator.inputs if index != before.output)
        return replace(before, output=output, grid=grid, inputs=(*before.inputs, other))
    return None
