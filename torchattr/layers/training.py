"""Refuses operations in training mode before they change the model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

import torch
from torch import Tensor, nn
from torch.utils.weak import WeakTensorKeyDictionary

from torchattr.core.types import Forward
from torchattr.errors import TrainingModeError
from torchattr.layers.guards import parts_of
from torchattr.layers.operations.parsers import writes_in_place


class TrainingGuard:
    """Watches one forward for updates by modules in training mode.

    Batch-norm counts its batches before it runs. Buffers of modules that the model can be asked
    for are known, so their update is stopped; what another module has counted is put back.
    """

    def __init__(self, model: Forward) -> None:
        self._model = model
        self._buffers = _training_buffers(model)
        self._counters: Any = WeakTensorKeyDictionary()

    def watch(self, func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
        """Look at a call before it runs.

        Raises:
            TrainingModeError: it would update a module in training mode.
        """
        written = args[0] if args and writes_in_place(func) else kwargs.get("out")
        if not isinstance(written, Tensor):
            return
        if written in self._buffers:
            self.refuse(f"the update of a buffer of {self._buffers[written]!r}")
        if func is Tensor.add_ and _may_count(written) and written not in self._counters:
            self._counters[written] = written.clone()

    def refuse(self, what: str) -> NoReturn:
        """Raise because something was about to run in training mode, and leave the model as it was.

        Raises:
            TrainingModeError: always.
        """
        with torch.no_grad():
            for counter, before in self._counters.items():
                counter.copy_(before)
        raise TrainingModeError(
            f"{what} was about to run in training mode, where the same input gives different"
            f" results; {_way_out(training_parts(self._model))}"
        )


def _may_count(tensor: Tensor) -> bool:
    return tensor.dim() == 0 and tensor.dtype == torch.long and not tensor.requires_grad


def _way_out(parts: Sequence[str]) -> str:
    if not parts:
        return (
            "call eval() on the module that it belongs to, of which nothing in training mode was"
            " found, or say training=False in the call itself. It was stopped before it ran"
        )
    names = ", ".join(map(repr, parts[:8])) + (", ..." if len(parts) > 8 else "")
    return (
        f"call model.eval() first (in training mode: {names}). It was stopped before it changed"
        " anything"
    )


def _training_buffers(forward: Forward) -> Any:
    """Return the buffers that a module in training mode may update, each with its name."""
    buffers = WeakTensorKeyDictionary()
    for name, part in parts_of(forward):
        if part.training:
            buffers.update((b, name or type(part).__name__) for b in part.buffers(recurse=False))
    return buffers


_DIFFER_IN_TRAINING = (
    nn.modules.dropout._DropoutNd,
    nn.modules.batchnorm._NormBase,
    nn.MultiheadAttention,
    nn.RNNBase,
    nn.RReLU,
)


def training_parts(forward: Forward) -> list[str]:
    """Return the names of the modules in training mode, those first whose results differ there."""
    parts = parts_of(forward)
    training = [(name or type(part).__name__, part) for name, part in parts if part.training]
    differing = [name for name, part in training if isinstance(part, _DIFFER_IN_TRAINING)]
    return differing or [name for name, _ in training]
