"""Records inputs and outputs of chosen modules during the model's own forward."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias
from weakref import ReferenceType, ref

import torch
from torch import Tensor, nn
from torch.autograd.graph import GradientEdge, get_gradient_edge

from torchattr.core.functorch import is_transformed
from torchattr.core.pytree import filled, shape_of, skeleton, tensors_of, with_tensors
from torchattr.core.undoing import Undo
from torchattr.errors import LayerError
from torchattr.layers.autograd import enter
from torchattr.layers.guards import hook_forward
from torchattr.layers.hooks import ThreadHook
from torchattr.layers.layouts.tracker import Layout, LayoutTracker, is_dense


@dataclass(frozen=True)
class TapPoint:
    """A module's output or input, as the layer of an attribution.

    Attributes:
        module: the module.
        of_input: whether its input is recorded instead of its output.
        read: whether the layout of its values is tracked.
        keep: whether its values are kept; otherwise only the edges of their gradients.
    """

    module: nn.Module
    of_input: bool = False
    read: bool = False
    keep: bool = True


Note: TypeAlias = Callable[[TapPoint, Any], Any]
"""Called with a tap point and its value; returns the value that the model goes on with."""


@dataclass(frozen=True)
class Captured:
    """Input or output of one call of a module.

    Attributes:
        values: copies (the model may write over its own), still connected to the graph.
        edges: where gradients with regard to the values are read.
        form: the containers that hold them, with a number for each tensor.
        layouts: how each of them is laid out, or why that is not known, if that was asked for.
        shapes: their shapes, also where the values are not kept.
    """

    values: tuple[Tensor, ...]
    edges: tuple[GradientEdge | None, ...]
    form: Any = 0
    layouts: tuple[Layout | str, ...] = ()
    shapes: tuple[torch.Size, ...] = ()

    def restore(self, results: Sequence[Any]) -> Any:
        """Return results in the containers of the module's own values."""
        return filled(self.form, results)


class TapRecorder:
    """Records the calls at some tap points while a forward runs in this thread.

    Hooks are there only while the forward runs. Another thread that runs the same modules passes
    them by.

    Args:
        places: where to look.
        differentiable: enter into the graph what is not in it.
        tracker: knows how tensors are laid out.

    Attributes:
        calls: by place what was recorded, call by call.
        order: all that was recorded, in the order of the calls.
    """

    def __init__(
        self,
        places: Sequence[TapPoint],
        *,
        differentiable: bool,
        tracker: LayoutTracker | None = None,
    ) -> None:
        self.calls: dict[TapPoint, list[Captured]] = {place: [] for place in places}
        self.order: list[tuple[TapPoint, Captured]] = []
        self._differentiable = differentiable
        self._tracker = tracker
        self._replaced: list[ReferenceType[Tensor]] = []
        self._gave_several = False

    def may_miss_uses(self) -> bool:
        """Whether values may have been used otherwise than as what entered the graph for them.

        One value of a module may be made of another, and the model may have kept a value that a
        module gave: these uses are in the graph only if it begins above the module.
        """
        return self._gave_several or any(one() is not None for one in self._replaced)

    def record(self, undo: Undo) -> None:
        """Hook the modules until that is undone."""
        self._hook(undo, self._record)

    def repeat(self, undo: Undo) -> None:
        """Hook the modules while a backward runs: a checkpointed part runs them once more.

        It must build the same graph then. Nothing is recorded.
        """
        self._hook(undo, lambda place, value: self._all_live(value))

    def recorded(self) -> list[Tensor]:
        """Return all recorded values."""
        return [value for calls in self.calls.values() for call in calls for value in call.values]

    def _hook(self, undo: Undo, note: Note) -> None:
        for place in self.calls:
            hook = self._taken(place, note) if place.of_input else self._given(place, note)
            hook_forward(undo, place.module, ThreadHook(hook), before=place.of_input)

    def _given(self, place: TapPoint, note: Note) -> Callable[..., Any]:
        def hook(module: nn.Module, args: Any, output: Any) -> Any:
            if self._tracker is not None and place.read:
                self._hand_on(module, args, output)
            return note(place, output)

        return hook

    def _taken(self, place: TapPoint, note: Note) -> Callable[..., Any]:
        # PyTorch passes no keywords to a hook that is being removed by its own thread meanwhile.
        def hook(module: nn.Module, args: Any, kwargs: Any = None) -> Any:
            if args:
                recorded = note(place, args if len(args) > 1 else args[0])
                return (recorded if isinstance(recorded, tuple) else (recorded,)), kwargs
            taken = note(place, tuple(kwargs.values()))
            return args, dict(zip(kwargs, taken, strict=True))

        return hook

    def _hand_on(self, module: nn.Module, args: Any, output: Any) -> None:
        """Let a layer without parts, whose function is not seen, keep the layout with the shape."""
        is_leaf = next(module.children(), None) is None
        if self._tracker and is_leaf and len(args) == 1 and isinstance(args[0], Tensor):
            for tensor in tensors_of(output):
                self._tracker.hand_on(args[0], tensor)

    def _record(self, place: TapPoint, value: Any) -> Any:
        """Note the tensors of `value`; give it back, entered into the graph where it was not."""
        fresh = [tensor for tensor in tensors_of(value) if self._is_fresh(tensor)]
        self._gave_several = self._gave_several or len(fresh) > 1
        self._replaced += map(ref, fresh)
        live = value if is_transformed() else self._all_live(value)
        captured = self._unseen(place, live) if is_transformed() else self._captured(place, live)
        self.calls[place].append(captured)
        self.order.append((place, captured))
        return live

    def _captured(self, place: TapPoint, live: Any) -> Captured:
        tensors = tensors_of(live)
        return Captured(
            tuple(map(self._copied, tensors)) if place.keep else (),
            tuple(get_gradient_edge(t) if t.requires_grad else None for t in tensors),
            skeleton(live),
            tuple(map(self._layout, tensors)) if place.read else (),
            tuple(map(shape_of, tensors)),
        )

    def _unseen(self, place: TapPoint, value: Any) -> Captured:
        """Return what is known of values inside a transform, which cannot be read outside."""
        where = "a transform of torch.func (vmap, grad, jvp, ...)"
        if place.keep:
            raise LayerError(
                f"the layer {type(place.module).__name__} ran inside {where}, whose values cannot"
                " be read outside; choose a layer before or after it"
            )
        tensors = tensors_of(value)
        return Captured(
            (),
            (None,) * len(tensors),
            skeleton(value),
            (f"it ran inside {where}",) * len(tensors),
            tuple(map(shape_of, tensors)),
        )

    def _copied(self, tensor: Tensor) -> Tensor:
        return tensor.clone() if self._differentiable else tensor.detach().clone()

    def _layout(self, tensor: Tensor) -> Layout | str:
        if self._tracker is None:
            return "it was not followed"
        # What stands for a value that is not there yet (see `prepare`) is not followed; a copy is.
        known = not is_dense(tensor) or self._tracker.axes(tensor) is not None
        return self._tracker.layout(tensor if known else tensor.clone())

    def _all_live(self, value: Any) -> Any:
        if any(map(self._is_fresh, tensors_of(value))):
            return with_tensors(value, self._live)
        return value

    def _is_fresh(self, item: Tensor) -> bool:
        """Whether a tensor that could be in the graph is not."""
        could = self._differentiable and item.is_floating_point() and is_dense(item)
        return could and not item.requires_grad

    def _live(self, item: Tensor) -> Tensor:
        if not self._is_fresh(item):
            return item
        entered = enter(item)
        if self._tracker is not None:
            self._tracker.hand_on(item, entered)
        return entered
