"""One example of a batch that is run by itself, with all that belongs to it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor

from torchattr.core.batch_parts import part_of_target
from torchattr.core.inputs import Inputs, is_batched
from torchattr.core.output_target import FixedTarget
from torchattr.core.pytree import with_tensors
from torchattr.core.targets import Classes, Neuron, bundle, plain


@dataclass(frozen=True)
class ExampleAlone:
    """An example of a batch.

    Attributes:
        number: its position.
        count: number of examples of the batch.
    """

    number: int
    count: int

    @property
    def rows(self) -> slice:
        """What cuts it out of the batch."""
        return slice(self.number, self.number + 1)

    def of_inputs(self, inputs: Inputs) -> Inputs:
        """Return its inputs."""
        return replace(inputs, tensors=tuple(tensor[self.rows] for tensor in inputs.tensors))

    def of_arguments(self, arguments: Sequence[Any]) -> tuple[Any, ...]:
        """Return its arguments: a row of tensors that have one for each example.

        Also inside of containers, which the batch is run with as they are.
        """
        own: tuple[Any, ...] = with_tensors(tuple(arguments), self._row_of)
        return own

    def of_target(self, target: Any) -> Any:
        """Return its target, given one whose choices the batch has made.

        A callable may hold an entry for each example. It is called with copies of this one instead
        of the others.
        """
        target = plain(target)
        if isinstance(target, Classes):
            return bundle(map(self.of_target, target.indices))
        if isinstance(target, Neuron):
            return replace(target, selector=self._own(target.selector))
        if isinstance(target, FixedTarget):
            return target.of_rows(self.rows)
        return self._own(target) if callable(target) else part_of_target(target, self.rows)

    def _own(self, selector: Any) -> Any:
        """Return what selects the value of the example, given a function of the batch."""
        if not callable(selector):
            return selector

        def own(values: Any) -> Any:
            found: Any = selector(with_tensors(values, self._copied))
            return found.reshape(-1)[self.rows]

        return own

    def _row_of(self, values: Tensor) -> Tensor:
        return values[self.rows] if is_batched(values, self.count) else values

    def _copied(self, values: Tensor) -> Tensor:
        return values.repeat(self.count, *(1 for _ in values.shape[1:])) if values.dim() else values
