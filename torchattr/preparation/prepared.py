"""The model that prepare returns."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from torch import Tensor, nn

from torchattr.core.types import OutputKey
from torchattr.errors import ModelError
from torchattr.layers import RuleTable, Tap, TapPoint, Trace
from torchattr.methods import ForwardResult, Traceable
from torchattr.preparation.cudnn import with_benchmarked_backwards
from torchattr.preparation.forward import PreparedForward
from torchattr.preparation.graphs import Graphs
from torchattr.preparation.report import Preparation

_OF_FOLDED = ("conv", "linear", "batch_norm")
"""Operations that folding replaces: rules for them need the original ones."""


class Prepared(nn.Module, Traceable):
    """A faster copy of a model with the same results; made by :func:`prepare`.

    Its layers keep the original's names, and the original's methods can be called. A layer passed
    to a method must belong to this model: `layer="layer4"`, or one of its modules.

    Attributes:
        report: what was done.

    >>> import torch, torchattr as ta
    >>> from torch import nn
    >>> model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU()).eval()
    >>> fast = ta.prepare(model, torch.randn(2, 3, 8, 8))
    >>> isinstance(fast, ta.Prepared), fast[0].weight.shape
    (True, torch.Size([4, 3, 3, 3]))
    """

    def __init__(
        self, forward: PreparedForward, report: Preparation, graphs: Graphs | None = None
    ) -> None:
        super().__init__()
        # Not registered as a submodule: its submodules are this one's, under the same names.
        for held in ("_parameters", "_buffers", "_modules", "_non_persistent_buffers_set"):
            vars(self)[held] = vars(forward.model)[held]
        self.training = False
        self._prepared_forward = forward
        self._report = report
        self._graphs = graphs

    @property
    def report(self) -> Preparation:
        """What was done, and the state of the CUDA graphs so far."""
        return replace(self._report, graphs=self._graphs.notes() if self._graphs else ())

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self._prepared_forward(*args, **kwargs)

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
        """Run forward for the methods, replaying a recorded CUDA graph where possible."""
        model = self._unfolded() if _names_folded(tables) else self

        def run(given: Sequence[Tensor]) -> ForwardResult:
            trace = Trace(
                model,
                given,
                arguments,
                tables=tables,
                taps=taps,
                key=key,
                from_inputs=from_inputs,
            )
            return with_benchmarked_backwards(trace) if benchmark else trace

        benchmark = self._prepared_forward.configuration.cudnn_benchmark
        # What an attention call had lies in a graph's own memory.
        replays = all(isinstance(tap, TapPoint) for tap in taps)
        if self._graphs is None or arguments or not (of_output and replays) or model is not self:
            return run(inputs)
        state = tuple(taps), key, from_inputs, self._prepared_forward.state()
        return self._graphs.trace(run, inputs, tables, state)

    def _unfolded(self) -> Prepared:
        return Prepared(self._prepared_forward.unfolded(), self._report)

    def train(self, mode: bool = True) -> Prepared:
        """Stay in eval mode.

        Raises:
            ModelError: training mode was requested.
        """
        if mode:
            raise ModelError(
                "a prepared model cannot be trained: its batch-norms are folded into"
                " convolutions; train the original and prepare it again"
            )
        return self

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Prepared:
        super()._apply(fn, recurse)
        if self._graphs is not None:
            self._graphs.clear()
        return self

    def __getitem__(self, key: Any) -> Any:
        return self._prepared_forward.model[key]  # type: ignore[index]

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            if "_prepared_forward" not in self.__dict__:
                raise
            return getattr(self._prepared_forward.model, name)

    def __repr__(self) -> str:
        name = type(self._prepared_forward.model).__name__
        graphs = "" if self._graphs is None else ", CUDA graphs"
        return f"Prepared({name}: {self._report.summary}{graphs})"


def _names_folded(tables: Sequence[RuleTable]) -> bool:
    return any(name in table for table in tables for name in _OF_FOLDED)
