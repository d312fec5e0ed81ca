"""Recording what chosen modules take and give during the user's own forward."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from threading import get_ident
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import GradientEdge, get_gradient_edge

from torchattr.layers.function import enter
from torchattr.layers.hooks import ThreadHook


@dataclass(frozen=True)
class Place:
    """A module's output, or its input: where a layer attribution looks."""

    module: nn.Module
    of_input: bool = False


@dataclass(frozen=True)
class Captured:
    """What one call of a module took or gave.

    `values` are copies (the model may write over its own), still connected to the graph; `edges`
    say where gradients with regard to them are read.
    """

    values: tuple[Tensor, ...]
    edges: tuple[GradientEdge | None, ...]
    is_tuple: bool

    def restore(self, results: Sequence[Tensor]) -> Any:
        """Give results in the form in which the module gave its values."""
        return tuple(results) if self.is_tuple else results[0]


class Recorder:
    """Collects the calls of some places while a forward runs in this thread.

    Hooks are there only while the forward runs. Another thread that runs the same modules passes
    them by.
    """

    def __init__(self, places: Sequence[Place], *, differentiable: bool) -> None:
        self.calls: dict[Place, list[Captured]] = {place: [] for place in places}
        self._differentiable = differentiable
        self._thread = get_ident()

    @contextmanager
    def recording(self) -> Iterator[None]:
        """Hook the modules for the time of a `with` block."""
        with ExitStack() as hooks:
            for place in self.calls:
                hooks.callback(self._hook(place).remove)
            yield

    def recorded(self) -> list[Tensor]:
        """Give all that was recorded."""
        return [value for calls in self.calls.values() for call in calls for value in call.values]

    def _hook(self, place: Place) -> Any:
        if place.of_input:
            taken = ThreadHook(self._taken(place))
            return place.module.register_forward_pre_hook(taken, with_kwargs=True)
        return place.module.register_forward_hook(ThreadHook(self._given(place)))

    def _given(self, place: Place) -> Callable[..., Any]:
        def hook(module: nn.Module, args: Any, output: Any) -> Any:
            return self._record(place, output) if get_ident() == self._thread else None

        return hook

    def _taken(self, place: Place) -> Callable[..., Any]:
        # PyTorch passes no keywords to a hook that is being removed by its own thread meanwhile.
        def hook(module: nn.Module, args: Any, kwargs: Any = None) -> Any:
            if get_ident() != self._thread:
                return None
            if args:
                recorded = self._record(place, args if len(args) > 1 else args[0])
                return (recorded if isinstance(recorded, tuple) else (recorded,)), kwargs
            taken = self._record(place, tuple(kwargs.values()))
            return args, dict(zip(kwargs, taken, strict=True))

        return hook

    def _record(self, place: Place, value: Any) -> Any:
        """Note the tensors of `value`; give it back, entered into the graph where it was not."""
        items = value if isinstance(value, (tuple, list)) else (value,)
        live = [self._live(item) for item in items]
        tensors = [item for item in live if isinstance(item, Tensor)]
        captured = Captured(
            tuple(tensor.clone() for tensor in tensors),
            tuple(get_gradient_edge(t) if t.requires_grad else None for t in tensors),
            isinstance(value, (tuple, list)),
        )
        self.calls[place].append(captured)
        return type(value)(live) if type(value) in (tuple, list) else live[0]

    def _live(self, item: Any) -> Any:
        fresh = isinstance(item, Tensor) and item.is_floating_point() and not item.requires_grad
        return enter(item) if fresh and self._differentiable else item


@contextmanager
def watching(modules: Sequence[nn.Module]) -> Iterator[list[tuple[nn.Module, torch.Size]]]:
    """Note the shapes that modules give in this thread during a `with` block, call by call."""
    seen: list[tuple[nn.Module, torch.Size]] = []
    thread = get_ident()

    def note(module: nn.Module, args: Any, output: Any) -> None:
        if get_ident() == thread and isinstance(output, Tensor):
            seen.append((module, output.shape))

    with ExitStack() as hooks:
        for module in modules:
            hooks.callback(module.register_forward_hook(ThreadHook(note)).remove)
        yield seen
