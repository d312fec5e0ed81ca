"""Refuses operations in training mode before they change the model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils.weak import WeakTensorKeyDictionary

from torchattr.core.gradient_mode import gradients, set_gradients
from torchattr.core.types import Forward
from torchattr.core.undoing import Undo, undoing
from torchattr.errors import TrainingModeError
from torchattr.layers.guards import enter_mode, modules_behind, named_modules_of, run_eagerly
from torchattr.layers.operations.parsers import parse_call, writes_in_place
from torchattr.layers.operations.parsers.table import ParsedCall


class TrainingGuard:
    """Watches one forward for updates by modules in training mode.

    Batch-norm counts its batches before it runs. The buffers of modules that can be found are
    known, so their update is stopped; counters of other modules are restored.
    """

    def __init__(self, model: Forward) -> None:
        self._model = model
        self._buffers = _training_buffers(model)
        self._counters: Any = WeakTensorKeyDictionary()

    def watch(self, func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
        """Check a call before it runs.

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

    def watch_parsed(self, parsed: ParsedCall | None) -> None:
        """Check a call that was read before it runs.

        Raises:
            TrainingModeError: it would drop elements, or normalise by its batch.
        """
        if parsed is not None and parsed[0].arguments.get("training"):
            self.refuse(f"{parsed[0].operation.name} ({parsed[0].spelling})")

    def refuse(self, what: str) -> NoReturn:
        """Raise because something was about to run in training mode, and restore the model.

        Raises:
            TrainingModeError: always.
        """
        with gradients(False):
            for counter, before in self._counters.items():
                counter.copy_(before)
        raise TrainingModeError(
            f"{what} was about to run in training mode, where the same input gives different"
            f" results; {_way_out(training_parts(self._model))}"
        )


class _Watching(TorchFunctionMode):
    """Runs functions as they are, but refuses those in training mode."""

    def __init__(self, model: Forward) -> None:
        super().__init__()
        self._guard = TrainingGuard(model)

    def __torch_function__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        self._guard.watch(func, args, kwargs)
        self._guard.watch_parsed(parse_call(func, args, kwargs))
        return func(*args, **kwargs)


def run_in_eval(model: Forward, *args: Any) -> Any:
    """Return what a model returns, of any type, without a graph.

    Raises:
        TrainingModeError: it would run something in training mode.
    """

    def run(undo: Undo) -> Any:
        set_gradients(undo, enabled=False)
        run_eagerly(undo)
        enter_mode(undo, _Watching(model))
        return model(*args)

    return undoing(run)


def _may_count(tensor: Tensor) -> bool:
    return tensor.dim() == 0 and tensor.dtype == torch.long and not tensor.requires_grad


def _way_out(modules: Sequence[str]) -> str:
    if not modules:
        return (
            "call eval() on the module that it belongs to (no module in training mode was found),"
            " or pass training=False in the call itself. It was stopped before it ran"
        )
    names = ", ".join(map(repr, modules[:8])) + (", ..." if len(modules) > 8 else "")
    return (
        f"call model.eval() first (in training mode: {names}). It was stopped before it changed"
        " anything"
    )


def _training_buffers(forward: Forward) -> Any:
    """Return the buffers that a module in training mode may update, each with its name."""
    buffers = WeakTensorKeyDictionary()
    if not any(map(_is_training, modules_behind(forward))):
        return buffers
    for name, module in named_modules_of(forward):
        if module.training:
            label = name or type(module).__name__
            buffers.update((buffer, label) for buffer in module.buffers(recurse=False))
    return buffers


def _is_training(module: nn.Module) -> bool:
    """Whether a module or any part of it is in training mode."""
    # Not `modules()`, which looks for repeated ones and takes several times as long.
    return module.training or any(
        part is not None and _is_training(part) for part in module._modules.values()
    )


_DIFFER_IN_TRAINING = (
    nn.modules.dropout._DropoutNd,
    nn.modules.batchnorm._NormBase,
    nn.MultiheadAttention,
    nn.RNNBase,
    nn.RReLU,
)


def training_parts(forward: Forward) -> list[str]:
    """Return the names of the modules in training mode, if possible only those that it affects."""
    named = named_modules_of(forward)
    training = [
        (name or type(module).__name__, module) for name, module in named if module.training
    ]
    affected = [name for name, module in training if isinstance(module, _DIFFER_IN_TRAINING)]
    return affected or [name for name, _ in training]
