"""The model that prepare returns."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from torchattr.core.types import OutputKey
from torchattr.core.undoing import undone
from torchattr.errors import ModelError
from torchattr.layers import RuleTable, TapPoint, Trace, enter_mode
from torchattr.methods import ForwardResult, Traceable
from torchattr.preparation.folding import Deferring, Fold
from torchattr.preparation.graphs import Graphs
from torchattr.preparation.memory_order import laid_out
from torchattr.preparation.precision import Precision, as_before, cast
from torchattr.preparation.report import Preparation

_OF_FOLDED = ("conv", "linear", "batch_norm")
"""The operations that are others after folding: rules for them need the original ones."""


class Prepared(nn.Module, Traceable):
    """A copy of a model that runs faster and gives the same; made by :func:`prepare`.

    Its layers have the names of the original's, and methods of the original can be called. Layers
    must be those of this model: `layer="layer4"`, or a module of it.

    Attributes:
        report: what was done.

    >>> import torchattr as ta
    >>> model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU()).eval()
    >>> fast = ta.prepare(model, torch.randn(2, 3, 8, 8))
    >>> isinstance(fast, ta.Prepared), fast[0].weight.shape
    (True, torch.Size([4, 3, 3, 3]))
    """

    def __init__(
        self,
        copy: nn.Module,
        folds: Sequence[Fold],
        *,
        channels_last: bool = False,
        precision: Precision = "float32",
        graphs: Graphs | None = None,
    ) -> None:
        super().__init__()
        # Not registered as a part: its parts are this module's, under the same names.
        self.__dict__["_copy"] = copy
        for held in ("_parameters", "_buffers", "_modules", "_non_persistent_buffers_set"):
            self.__dict__[held] = copy.__dict__[held]
        self.training = False
        self._folds = list(folds)
        self._folding = True
        self._precision = precision
        self._graphs = graphs
        self._report: Preparation | None = None
        self.channels_last = channels_last

    @property
    def channels_last(self) -> bool:
        """Whether pictures are brought into channels-last memory."""
        return self._channels_last

    @channels_last.setter
    def channels_last(self, chosen: bool) -> None:
        self._channels_last = chosen
        for fold in self._folds:
            fold.memory_format = torch.channels_last if chosen else torch.contiguous_format

    @property
    def report(self) -> Preparation:
        """What was done, and what became of the CUDA graphs so far."""
        if self._report is None:
            raise ModelError("this model is still being prepared")
        return replace(self._report, graphs=self._graphs.notes() if self._graphs else ())

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        first = next((one for one in args if isinstance(one, Tensor)), None)
        device = torch.device("cpu") if first is None else first.device
        if self.channels_last:
            args = tuple(laid_out(one) for one in args)
        with undone() as undo:
            cast(undo, self._precision, device)
            output = self._folded(*args, **kwargs) if self._folding else self._copy(*args, **kwargs)
        if self._precision == "float32" or first is None or not first.is_floating_point():
            return output
        return as_before(output, first.dtype)

    def _folded(self, *args: Any, **kwargs: Any) -> Any:
        deferring = Deferring(self._folds)
        with undone() as undo:
            enter_mode(undo, deferring)
            returned = [self._copy(*args, **kwargs)]
        # Only what others hold is held when it is settled.
        return deferring.settled(returned.pop())

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
        """Run forward for the methods: by a recorded graph where there can be one."""
        model = self._unfolded() if _names_folded(tables) else self

        def run(given: Sequence[Tensor]) -> Trace:
            return Trace(
                model,
                given,
                arguments,
                tables=tables,
                places=places,
                key=key,
                from_inputs=from_inputs,
            )

        if self._graphs is None or arguments or not of_output or model is not self:
            return run(inputs)
        form = (tuple(places), key, from_inputs, tuple(fold.state() for fold in self._folds))
        return self._graphs.trace(run, inputs, tables, form)

    def _unfolded(self) -> Prepared:
        """Give a view of this model that runs every convolution and batch-norm by itself."""
        view = Prepared(self._copy, (), precision=self._precision)
        view._channels_last, view._folding = self._channels_last, False
        return view

    def train(self, mode: bool = True) -> Prepared:
        """Stay in eval mode.

        Raises:
            ModelError: training mode is asked for.
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
        return self._copy[key]

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            if "_copy" not in self.__dict__:
                raise
            return getattr(self.__dict__["_copy"], name)


def _names_folded(tables: Sequence[RuleTable]) -> bool:
    return any(name in table for table in tables for name in _OF_FOLDED)
