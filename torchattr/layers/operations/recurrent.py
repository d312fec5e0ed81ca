"""Recurrent layers step by step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor

State: TypeAlias = tuple[Tensor, ...]
"""The hidden state `(N, H)`, first what is put out; an LSTM has its cells behind."""

Cell: TypeAlias = Callable[[Tensor, State, "Direction"], State]
"""From the share of an input in the gates, and the state before, to the next state."""


class Direction:
    """The weights of one direction of one layer.

    Args:
        parameters: those of the inputs and of the state, then their biases, then the projection.
        has_biases: whether there are biases.
    """

    def __init__(self, parameters: Sequence[Tensor], has_biases: bool) -> None:
        self._of_input, self._of_state = parameters[:2]
        self._biases = parameters[2:4] if has_biases else (None, None)
        rest = parameters[4 if has_biases else 2 :]
        self._projection = rest[0] if rest else None

    def of_inputs(self, steps: Tensor) -> Tensor:
        """Return the share of all inputs in the gates."""
        return F.linear(steps, self._of_input, self._biases[0])

    def of_state(self, hidden: Tensor) -> Tensor:
        """Return the share of a state in the gates."""
        return F.linear(hidden, self._of_state, self._biases[1])

    def projected(self, hidden: Tensor) -> Tensor:
        """Return a state as it is put out."""
        return hidden if self._projection is None else F.linear(hidden, self._projection)


def lstm_cell(given: Tensor, state: State, direction: Direction) -> State:
    """Return the next state of a long short-term memory."""
    hidden, cell = state
    enter, keep, new, leave = (given + direction.of_state(hidden)).chunk(4, -1)
    cell = keep.sigmoid() * cell + enter.sigmoid() * new.tanh()
    return direction.projected(leave.sigmoid() * cell.tanh()), cell


def gru_cell(given: Tensor, state: State, direction: Direction) -> State:
    """Return the next state of a gated recurrent unit."""
    (hidden,) = state
    of_reset, of_update, of_new = given.chunk(3, -1)
    reset, update, new = direction.of_state(hidden).chunk(3, -1)
    candidate = (of_new + (of_reset + reset).sigmoid() * new).tanh()
    return (candidate + (of_update + update).sigmoid() * (hidden - candidate),)


def rnn_cell(activation: Callable[[Tensor], Tensor]) -> Cell:
    """Return the cell of a plain recurrent layer."""

    def cell(given: Tensor, state: State, direction: Direction) -> State:
        return (activation(given + direction.of_state(state[0])),)

    return cell


def _is_packed(parameters: Any) -> bool:
    """Whether what comes third are the states, behind the sizes of packed sequences."""
    return isinstance(parameters, Tensor) or isinstance(parameters[0], (tuple, list))


def unrolled(cell: Cell) -> Callable[..., Any]:
    """Return a function with the arguments and results of PyTorch's for the layers of a cell.

    For packed sequences it returns `None`.
    """

    def run(
        input: Tensor,
        first: Any,
        parameters: Any,
        has_biases: bool,
        num_layers: int,
        dropout: float,
        train: bool,
        bidirectional: bool,
        batch_first: bool = False,
    ) -> Any:
        states = (first,) if isinstance(first, Tensor) else tuple(first)
        if _is_packed(parameters) or (cell is lstm_cell and len(states) == 1):
            return None
        count = num_layers * (2 if bidirectional else 1)
        size = len(parameters) // count
        directions = [
            Direction(parameters[place * size : (place + 1) * size], has_biases)
            for place in range(count)
        ]
        steps = input.transpose(0, 1) if batch_first else input
        steps, last = _through_layers(cell, steps, states, directions, 1 + bool(bidirectional))
        return (steps.transpose(0, 1) if batch_first else steps, *last)

    return run


def _through_layers(
    cell: Cell, steps: Tensor, states: State, directions: Sequence[Direction], per_layer: int
) -> tuple[Tensor, list[Tensor]]:
    """Return what the last layer puts out, and the last state of each direction."""
    last = []
    for below in range(0, len(directions), per_layer):
        outputs = []
        for place in range(below, below + per_layer):
            before = tuple(state[place] for state in states)
            output, after = _through_steps(
                cell, steps, before, directions[place], is_reversed=place > below
            )
            outputs.append(output)
            last.append(after)
        steps = torch.cat(outputs, -1) if per_layer > 1 else outputs[0]
    return steps, [torch.stack(each) for each in zip(*last, strict=True)]


def _through_steps(
    cell: Cell, steps: Tensor, state: State, direction: Direction, *, is_reversed: bool
) -> tuple[Tensor, State]:
    """Return what one direction puts out at each step, and its last state."""
    given = direction.of_inputs(steps).unbind(0)
    outputs = []
    for one in reversed(given) if is_reversed else given:
        state = cell(one, state, direction)
        outputs.append(state[0])
    return torch.stack(outputs[::-1] if is_reversed else outputs), state
