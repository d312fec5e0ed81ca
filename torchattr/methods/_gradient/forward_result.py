"""The interfaces of a forward that methods differentiate, and of models that run it themselves."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, Protocol

from torch import Tensor
from torch.autograd.graph import GradientEdge

from torchattr.core.types import OutputKey
from torchattr.layers import Captured, Coverage, RuleTable, Tap


class ForwardResult(Protocol):
    """One forward, ready for backwards; see :class:`torchattr.layers.Trace` for each member."""

    output: Tensor
    input_edges: list[GradientEdge | None]

    @property
    def coverage(self) -> Coverage: ...

    def calls(self, tap: Tap) -> list[Captured]: ...

    def factors(self, call: Captured, table: int) -> Captured: ...

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
    """A model that runs its own forwards for the methods, faster than a trace would."""

    @abstractmethod
    def trace(
        self,
        inputs: Sequence[Tensor],
        arguments: Sequence[Any],
        *,
        tables: Sequence[RuleTable],
        taps: Sequence[Tap],
        key: OutputKey,
        from_inputs: bool,
        of_output: bool,
    ) -> ForwardResult:
        """Run forward.

        Args:
            inputs: as for :class:`torchattr.layers.Trace`.
            arguments: as for :class:`torchattr.layers.Trace`.
            tables: as for :class:`torchattr.layers.Trace`.
            taps: as for :class:`torchattr.layers.Trace`.
            key: as for :class:`torchattr.layers.Trace`.
            from_inputs: as for :class:`torchattr.layers.Trace`.
            of_output: whether all scores will be entries of the output.
        """
