"""What a forward must offer to the methods, and models that make such forwards themselves."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, Protocol

from torch import Tensor
from torch.autograd.graph import GradientEdge

from torchattr.core.types import OutputKey
from torchattr.layers import Captured, Coverage, RuleTable, TapPoint


class ForwardResult(Protocol):
    """One forward, ready for backwards; :class:`torchattr.layers.Trace` says what each means."""

    output: Tensor
    input_edges: list[GradientEdge | None]

    @property
    def coverage(self) -> Coverage: ...

    def calls(self, place: TapPoint) -> list[Captured]: ...

    def connected(
        self, scores: Tensor, edges: Sequence[GradientEdge | None]
    ) -> tuple[bool, ...]: ...

    def gradients(
        self,
        scores: Tensor,
        edges: Sequence[GradientEdge | None],
        *,
        table: int = 0,
        keep: bool = True,
        of_output: bool = False,
    ) -> list[Tensor | None]: ...


class Traceable(ABC):
    """A model that runs itself for the methods, because it knows a shorter way than a trace."""

    @abstractmethod
    def trace(
        self,
        inputs: Sequence[Tensor],
        arguments: Sequence[Any],
        *,
        tables: Sequence[RuleTable],
        places: Sequence[TapPoint],
        key: OutputKey,
        from_inputs: bool,
        of_output: bool,
    ) -> ForwardResult:
        """Run forward.

        Args:
            inputs: as for :class:`torchattr.layers.Trace`, like the other arguments.
            arguments: likewise.
            tables: likewise.
            places: likewise.
            key: likewise.
            from_inputs: likewise.
            of_output: whether all scores will come from the output.
        """
