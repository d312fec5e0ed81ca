"""Run the part of a model behind a layer on other values of that layer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from torchattr.core.pytree import tensors_of
from torchattr.core.torch_private import DisableTorchFunction
from torchattr.core.types import Forward
from torchattr.core.undoing import undone
from torchattr.incremental.replay import Answered, Replay
from torchattr.incremental.session import ALIASED, run_by
from torchattr.incremental.tape import Tape, TapeMode
from torchattr.layers import ThreadHook, Trace, enter_mode, hook_forward


class NoSuffix(Exception):
    """The part of a model behind a layer cannot be run alone; the message says why."""


class Suffix:
    """A model's clean forward, reused for copies of the batch with other values of one layer.

    The model's code runs again for the copies, but the calls that do not depend on the layer are
    not repeated: what the others read of them is taken from the clean forward.

    Args:
        model: the module or function to run.
        inputs: the clean batch.
        arguments: further positional arguments of the model.
        layer: a module that returns one tensor, the batch first.
        call: which of its calls, by position.

    Attributes:
        value: the clean values of that call.

    Raises:
        NoSuffix: the forward could not be recorded, or values are not known to have a row for each
            example.
    """

    def __init__(
        self,
        model: Forward,
        inputs: Sequence[Tensor],
        arguments: Sequence[Any],
        layer: nn.Module,
        call: int = -1,
    ) -> None:
        self._batch = len(inputs[0])
        self._inputs = inputs
        tape, calls = _recorded(model, inputs, arguments, layer)
        found = calls[call] if calls else None
        if found is None:
            raise NoSuffix("the layer does not compute a single tensor that depends on the inputs")
        self._index, self.value = found
        behind = _behind(tape, self._index)
        entries = {at for at, entry in enumerate(tape.entries) if behind.isdisjoint(entry.outputs)}
        read = behind | {self._index}
        entries -= {at for at in entries if not read.isdisjoint(tape.entries[at].inputs)}
        values = set(range(len(tape.values))) - behind | {self._index}
        self._answered = Answered(tape, entries, values, repeats=True)
        self._frontier = self._taken()

    def around(self, model: Forward, replaced: Tensor, copies: int) -> Forward:
        """Return a function of the further arguments that runs a model behind the layer.

        Args:
            model: the model.
            replaced: the layer's values for each copy, `(copies · N, ...)`; the model may write
                over them.
            copies: number of copies of the batch.

        Raises:
            Diverged: when run, if the model does not repeat the calls of its clean forward.
        """

        def replayed(run_model: Callable[..., Any], args: Sequence[Any]) -> Any:
            frontier = {index: _repeated(clean, copies) for index, clean in self._frontier.items()}
            whole = [partial(_repeated, tensor, copies) for tensor in self._inputs]
            values = {**frontier, self._index: replaced}
            replay = Replay(self._answered, copies, replaced.device, values, whole)
            entered = [replay.placeholder(number) for number in range(len(self._inputs))]
            with undone() as undo:
                enter_mode(undo, replay)
                output = run_model(*entered, *args)
            return replay.whole(output)

        return run_by(model, replayed)

    def _taken(self) -> Mapping[int, Tensor]:
        """Return the clean values that are read behind the layer, and release all others."""
        tape = self._answered.tape
        read = {
            index
            for at, entry in enumerate(tape.entries)
            if at not in self._answered.entries
            for index in entry.inputs
            if index in self._answered.values and index >= len(self._inputs)
        } - {self._index}
        taken = {}
        for index, value in enumerate(tape.values):
            if index in read:
                taken[index] = self._checked(index)
            value.keep(None)
        return taken

    def _checked(self, index: int) -> Tensor:
        value = self._answered.tape.values[index]
        if value.clean is None or index in self._answered.tape.lost:
            raise NoSuffix("a value that is read behind the layer was overwritten")
        if len(value.shape) == 0 or value.shape[0] != self._batch:
            raise NoSuffix("a value that is read behind the layer has no row for each example")
        return value.clean


def _recorded(
    model: Forward, inputs: Sequence[Tensor], arguments: Sequence[Any], layer: nn.Module
) -> tuple[Tape, list[tuple[int, Tensor] | None]]:
    """Return the tape of the clean forward, and index and values of each call of the layer."""
    recorder = _Recorder(layer, len(inputs))
    nothing = torch.empty(0)
    recorded = run_by(model, recorder.run)
    Trace(recorded, inputs, arguments, key=lambda output: nothing, differentiable=False)
    tape = recorder.mode.tape
    if tape.failed or tape.aliased:
        raise NoSuffix(tape.failed or ALIASED)
    return tape, recorder.calls


class _Recorder:
    """Records a forward, and for each call of a layer which value it returned.

    Args:
        layer: the layer.
        inputs: number of leading arguments that will change.

    Attributes:
        mode: the recording.
        calls: index and values of each call; `None` for one that returned several tensors, or none
            that it computed itself.
    """

    def __init__(self, layer: nn.Module, inputs: int) -> None:
        self._layer = layer
        self._count = inputs
        self._begins: list[int] = []
        self.mode = TapeMode(())
        self.calls: list[tuple[int, Tensor] | None] = []

    def run(self, run_model: Callable[..., Any], args: Sequence[Any]) -> Any:
        """Run the model; a forward that starts again is recorded again."""
        self.calls, self._begins = [], []
        self.mode = TapeMode(args[: self._count])
        with undone() as undo:
            hook_forward(undo, self._layer, ThreadHook(self._begin), before=True)
            hook_forward(undo, self._layer, ThreadHook(self._end))
            enter_mode(undo, self.mode)
            output = run_model(*args)
        self.mode.finish(output)
        return output

    def _begin(self, module: nn.Module, args: Any, kwargs: Any = None) -> None:
        self._begins.append(len(self.mode.tape.entries))

    def _end(self, module: nn.Module, args: Any, output: Any) -> None:
        own = self.mode.tape.entries[self._begins.pop() :]
        tensors = tensors_of(output)
        index = self.mode.index_of(tensors[0]) if len(tensors) == 1 else None
        if index is None or not any(index in entry.outputs for entry in own):
            self.calls.append(None)
        else:
            # Not a call of the model's.
            with DisableTorchFunction():
                self.calls.append((index, tensors[0].detach().clone()))


def _behind(tape: Tape, index: int) -> set[int]:
    """Return the values that depend on one, which is not among them."""
    behind = {index}
    for entry in tape.entries:
        if not behind.isdisjoint(entry.inputs):
            behind.update(entry.outputs)
    return behind - {index}


def _repeated(clean: Tensor, copies: int) -> Tensor:
    return clean.repeat(copies, *[1] * (clean.dim() - 1))
