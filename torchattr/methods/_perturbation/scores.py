"""The scores of a target, for a batch and for perturbed copies of it, without a graph."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import copy
from functools import partial
from itertools import product
from typing import Any

import torch
from torch import Tensor

from torchattr.core.arguments import check_model
from torchattr.core.batch_parts import can_be_cut, part_of_target
from torchattr.core.inputs import Inputs, is_batched
from torchattr.core.output_target import FixedTarget
from torchattr.core.outputs import select_output
from torchattr.core.targets import bundle, each, names_functions, one_per_example
from torchattr.core.types import Forward, OutputKey
from torchattr.errors import OutputError
from torchattr.layers import TapPoint, Trace
from torchattr.methods._gradient.rows import per_example
from torchattr.methods._gradient.target_reader import TargetReader
from torchattr.methods._perturbation.batch_repeat import Copies, several
from torchattr.methods._perturbation.memory_budget import Footprint, has_fixed_batch


class NotPerExample(OutputError):
    """The forward does not return one row of scores for each example."""


class EveryValue:
    """As a target: every value of each example's scores, of any number of dimensions."""

    def __repr__(self) -> str:
        return "EVERY_VALUE"


EVERY_VALUE = EveryValue()


class TargetScores:
    """The scores that a target names; the forward of the clean batch fixes what it names.

    Args:
        model: the module or function to run.
        inputs: the batch.
        target: the target; predicted classes and the best `k` are those of this batch.
        arguments: further positional arguments of the model.
        key: which entry of the model's output holds the scores; a number counts as a tensor.
        then: applied to the scores, if given, but neither to a neuron's value nor for targets that
            are functions of the output.
        through: returns the model to run for that forward instead of this one, such as one that
            records a tape.
        taps: tap points whose values every forward records.
        footprint: records the memory of that forward.

    Attributes:
        trace: the forward of the clean batch.
        clean: the scores of the clean batch, `(rows, targets)`: one row for each example, or for
            each value of a forward that aggregates the batch, unless a target picks one.
        several: whether the target named several values.
        every: the dimensions of each example's scores if every value is meant, else `None`.
        batch: number of examples.
        per_example: whether there is one row for each example, of the inputs and of the scores. A
            number for a single example is its row.
        footprint: the memory that this forward needed.
    """

    def __init__(
        self,
        model: Forward,
        inputs: Inputs,
        target: Any,
        arguments: Sequence[Any],
        key: OutputKey = None,
        then: Callable[[Tensor], Tensor] | None = None,
        *,
        through: Callable[[Forward], Forward] | None = None,
        taps: Sequence[TapPoint] = (),
        footprint: Footprint | None = None,
    ) -> None:
        check_model(model)
        self.model, self.arguments = model, arguments
        self.batch = inputs.batch_size
        self._own_rows = [is_batched(one, self.batch) for one in arguments]
        self._key = key
        self._forms: list[Callable[[Tensor], Tensor]] = []
        self._then: Callable[[Tensor], Tensor] | None = None
        self._reader = TargetReader(model, target)
        self._taps = list(dict.fromkeys([*taps, *self._reader.taps]))
        self.footprint = footprint or Footprint()
        for tensor in inputs.tensors:
            self.footprint.note(tensor)
        noted = self.footprint.around(through(model) if through else model)
        self.trace = trace = self._trace(inputs.tensors, arguments, noted)
        self._aggregates: bool = False
        if self._reader.reads_output:
            rows = per_example(trace.output, inputs, model, arguments, self._scores_in)
            self._aggregates = rows.dim() == 0 or len(rows) != self.batch
            unnamed = target is None or target is EVERY_VALUE
            every_value = self._aggregates and unnamed
            self._then = then if names_functions(target) else None
            applied = None if self._then else then
            forms = [partial(_batched, rows.dim()), applied, _values if every_value else None]
            self._forms = [form for form in forms if form is not None]
            trace.output = self._formed(trace.output)
        self.every = None
        if target is EVERY_VALUE:
            target = None
            if not one_per_example(trace.output):
                self.every = trace.output.shape[1:]
                target = bundle(product(*map(range, self.every)))
        self.targets: list[Any]
        self.targets, self.several = each(target, trace.output)
        self.clean = self._select(trace, self.targets)
        of_examples = self.batch == 1 or not self._aggregates
        self.per_example = inputs.aligned and of_examples and len(self.clean) == self.batch

    @property
    def target(self) -> Any:
        """The target, fixed: it names the same values for changed inputs."""
        return several(self.targets) if self.several else self.targets[0]

    @property
    def repeatable(self) -> bool:
        """Whether several copies of the batch can be run at once."""
        scales = self.per_example and not self._aggregates
        return scales and not has_fixed_batch(self.model)

    @property
    def reads_output(self) -> bool:
        """Whether the values are entries of the output, not neurons inside the model."""
        return self._reader.reads_output

    @property
    def target_taps(self) -> list[TapPoint]:
        """Where the values are read, if they are those of a neuron inside the model."""
        return self._reader.taps

    @property
    def divisible(self) -> bool:
        """Whether the target can be evaluated for a subset of the batch."""
        can_be = all(can_be_cut(one, self.batch) for one in self.targets)
        return can_be and not has_fixed_batch(self.model)

    @property
    def has_own_arguments(self) -> bool:
        """Whether an argument has a row for each example."""
        return any(self._own_rows)

    def of_images(self, images: slice) -> TargetScores:
        """Return the scores of the same targets for some of the images."""
        subset = copy(self)
        subset.batch = len(range(self.batch)[images])
        subset.arguments = self._with_own_rows(lambda rows: rows[images])
        subset.targets = [part_of_target(target, images) for target in self.targets]
        subset.clean = self.clean[images]
        return subset

    def arguments_for(self, copies: Copies) -> Sequence[Any]:
        """Return the arguments for copies of the batch.

        A table that has as many rows as a part of the batch has examples is no part of these.
        """
        return self.arguments if copies.times == 1 else self._with_own_rows(copies.of_rows)

    def of(
        self,
        tensors: Sequence[Tensor],
        copies: int = 1,
        through: Callable[[Forward], Forward] | None = None,
    ) -> Tensor:
        """Return the scores of changed copies of the batch: `(copies, rows, targets)`.

        Args:
            tensors: the copies.
            copies: number of copies.
            through: returns the model to run instead of this one.

        Raises:
            NotPerExample: several copies, but the forward aggregates the batch.
        """
        return self.read(self.traced(tensors, copies, through), copies)

    def traced(
        self,
        tensors: Sequence[Tensor],
        copies: int = 1,
        through: Callable[[Forward], Forward] | None = None,
    ) -> Trace:
        """Run changed copies of the batch, as for :meth:`of`, which reads the scores of that."""
        arguments = self.arguments_for(Copies(copies))
        model = self.model if through is None else through(self.model)
        return self._trace(tensors, arguments, model)

    def read(self, trace: Trace, copies: int = 1) -> Tensor:
        """Return the scores in a forward of copies of the batch, as for :meth:`of`."""
        if copies > 1 and self._reader.reads_output:
            require_copies(trace.output, copies * self.batch)
        targets = [Copies(copies).of_target(target) for target in self.targets]
        scores = self._select(trace, targets)
        return scores.reshape(copies, len(scores) // copies, len(targets))

    def _with_own_rows(self, function: Callable[[Tensor], Tensor]) -> tuple[Any, ...]:
        pairs = zip(self.arguments, self._own_rows, strict=True)
        return tuple(function(one) if own else one for one, own in pairs)

    def _trace(self, tensors: Sequence[Tensor], arguments: Sequence[Any], model: Forward) -> Trace:
        return Trace(
            model,
            tensors,
            arguments,
            taps=self._taps,
            key=self._scores_in,
            differentiable=False,
        )

    def _formed(self, output: Tensor) -> Tensor:
        """Return an output in the shape that targets index."""
        for form in self._forms:
            output = form(output)
        return output

    def _scores_in(self, output: Any) -> Tensor:
        if isinstance(output, (int, float)):
            kind = torch.float64 if isinstance(output, float) else torch.int64
            return self._formed(torch.tensor(output, dtype=kind))
        return self._formed(select_output(output, self._key))

    def _select(self, trace: Trace, targets: Sequence[Any]) -> Tensor:
        # The output of a forward that computes gradients may have a graph.
        output = trace.output.detach()
        values = [self._reader.read(trace, self._as_read(output, one), one) for one in targets]
        return torch.stack(values, dim=1).detach()

    def _as_read(self, output: Tensor, target: Any) -> Tensor:
        """Return the output as one of several targets reads it: some read what follows it."""
        return (
            output if self._then is None or isinstance(target, FixedTarget) else self._then(output)
        )


def _values(output: Tensor) -> Tensor:
    """Return each value of an output that aggregates the batch as a row."""
    return output.reshape(-1)


def _batched(dimensions: int, output: Tensor) -> Tensor:
    """Return an output with its batch dimension, which some models squeeze if it is 1."""
    return output.unsqueeze(0) if output.dim() == dimensions - 1 else output


def require_copies(output: Tensor, rows: int) -> None:
    """Check that a forward returned one row for each example.

    Raises:
        NotPerExample: it did not.
    """
    if output.dim() == 0 or len(output) != rows:
        raise NotPerExample(
            f"the model's output of shape {tuple(output.shape)} for a batch of {rows} does not"
            " hold one row for each example"
        )
