"""Records the inputs and outputs of chosen modules during the model's own forward."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeAlias
from weakref import ReferenceType, ref

import torch
from torch import Tensor, nn
from torch.autograd.graph import GradientEdge, get_gradient_edge

from torchattr.core.functorch import is_transformed
from torchattr.core.pytree import filled, shape_of, skeleton, tensors_of, with_tensors
from torchattr.core.torch_private import DisableTorchFunction
from torchattr.core.undoing import Undo
from torchattr.errors import LayerError
from torchattr.layers.attention import Attention
from torchattr.layers.autograd import enter
from torchattr.layers.guards import hook_forward
from torchattr.layers.hooks import ThreadHook
from torchattr.layers.layouts.layout import Layout
from torchattr.layers.layouts.tracker import LayoutTracker, is_dense


@dataclass(frozen=True)
class TapPoint:
    """A module's output or input, as the layer of an attribution.

    Attributes:
        module: the module.
        of_input: whether its input is recorded instead of its output.
        with_layout: whether to track the layout of its values.
        with_values: whether to keep its values; otherwise only their gradient edges.
    """

    module: nn.Module
    of_input: bool = False
    with_layout: bool = False
    with_values: bool = True


Note: TypeAlias = Callable[[TapPoint, Any], Any]
"""Called with a tap point and its value; returns the value that the model continues with."""


@dataclass(frozen=True)
class Captured:
    """The input or output of one call of a module.

    Attributes:
        values: copies (the model may write over its own), still connected to the graph.
        edges: where gradients with respect to the values are read.
        form: the containers that hold the values, with a number for each tensor.
        layouts: the layout of each value, or why it is unknown; empty unless requested.
        shapes: the shapes of the values, even if these are not kept.
        attention: the operands, if this is a call of attention instead of a module's.
        within: the modules that were running in a call of attention, the outermost first.
    """

    values: tuple[Tensor, ...]
    edges: tuple[GradientEdge | None, ...]
    form: Any = 0
    layouts: tuple[Layout | str, ...] = ()
    shapes: tuple[torch.Size, ...] = ()
    attention: Attention | None = None
    within: tuple[nn.Module, ...] = ()

    @property
    def is_self_attention(self) -> bool:
        """Whether this is a call of attention whose queries and keys are the same tokens."""
        return self.attention is not None and self.attention.tokens.is_self

    def without_gradient(self) -> Captured:
        """Return the call without its values, and so without gradients with respect to them."""
        return replace(self, values=(), edges=())

    def restore(self, results: Sequence[Any]) -> Any:
        """Return results in the containers of the module's own values."""
        return filled(self.form, results)


class TapRecorder:
    """Records the calls at tap points while a forward runs in this thread.

    Hooks are installed only while the forward runs, and do nothing in other threads that run the
    same modules.

    Args:
        taps: the tap points.
        differentiable: whether to enter values into the graph that are not in it yet.
        tracker: tracks the layouts of tensors.

    Attributes:
        calls: the recorded calls of each tap point.
        order: the recorded calls of all tap points, in execution order.
    """

    def __init__(
        self,
        taps: Sequence[TapPoint],
        *,
        differentiable: bool,
        tracker: LayoutTracker | None = None,
    ) -> None:
        self.calls: dict[TapPoint, list[Captured]] = {tap: [] for tap in taps}
        self.order: list[tuple[TapPoint, Captured]] = []
        self._differentiable = differentiable
        self._tracker = tracker
        self._replaced: list[ReferenceType[Tensor]] = []
        self._entered_several = False

    def may_miss_uses(self) -> bool:
        """Whether the model may use a recorded value other than through its copy in the graph.

        One output of a module may be computed from another, and the model may have kept an output:
        such uses are in the graph only if it begins above the module.
        """
        return self._entered_several or any(value() is not None for value in self._replaced)

    def record(self, undo: Undo) -> None:
        """Hook the modules and record their calls, until that is undone."""
        self._hook(undo, self._record)

    def repeat(self, undo: Undo) -> None:
        """Hook the modules while a backward runs, without recording.

        A checkpointed part runs its modules again then, and must build the same graph.
        """
        self._hook(undo, lambda tap, value: self._all_live(value))

    def add_layouts(self, earlier: Mapping[TapPoint, Sequence[Captured]]) -> bool:
        """Add the layouts of the calls of an earlier forward, unless the modules ran otherwise.

        Returns:
            whether all calls have their layouts.
        """
        for tap, known in earlier.items():
            if [call.shapes for call in self.calls[tap]] != [call.shapes for call in known]:
                return False
        layouts = {tap: iter([call.layouts for call in known]) for tap, known in earlier.items()}
        self.order = [
            (tap, replace(call, layouts=next(layouts[tap]) if tap in layouts else call.layouts))
            for tap, call in self.order
        ]
        for tap in earlier:
            self.calls[tap] = [call for other, call in self.order if other == tap]
        return True

    def recorded(self) -> list[Tensor]:
        """Return all recorded values."""
        return [value for calls in self.calls.values() for call in calls for value in call.values]

    def edge_nodes(self) -> list[Any]:
        """Return the nodes of the graph whose gradients may be read, also without the values."""
        return [edge.node for _, call in self.order for edge in call.edges if edge is not None]

    def _hook(self, undo: Undo, note: Note) -> None:
        for tap in self.calls:
            of_tap = partial(note, tap)
            hook = on_input(of_tap) if tap.of_input else self._output_hook(tap, of_tap)
            hook_forward(undo, tap.module, ThreadHook(hook), before=tap.of_input)

    def _output_hook(self, tap: TapPoint, note: Callable[[Any], Any]) -> Callable[..., Any]:
        def hook(module: nn.Module, args: Any, output: Any) -> Any:
            if self._tracker is not None and tap.with_layout:
                self._copy_axes(module, args, output)
            return note(output)

        return hook

    def _copy_axes(self, module: nn.Module, args: Any, output: Any) -> None:
        """Let a shape-preserving leaf module keep the layout, even if its function is opaque."""
        is_leaf = next(module.children(), None) is None
        if self._tracker and is_leaf and len(args) == 1 and isinstance(args[0], Tensor):
            for tensor in tensors_of(output):
                self._tracker.copy_axes(args[0], tensor)

    def _record(self, tap: TapPoint, value: Any) -> Any:
        """Record the tensors of `value`; return it with all of them in the graph."""
        fresh = [tensor for tensor in tensors_of(value) if self._is_fresh(tensor)]
        self._entered_several = self._entered_several or len(fresh) > 1
        self._replaced += map(ref, fresh)
        live = value if is_transformed() else self._all_live(value)
        captured = self._unseen(tap, live) if is_transformed() else self._captured(tap, live)
        self.calls[tap].append(captured)
        self.order.append((tap, captured))
        return live

    def _captured(self, tap: TapPoint, live: Any) -> Captured:
        tensors = tensors_of(live)
        return Captured(
            tuple(map(self._copied, tensors)) if tap.with_values else (),
            tuple(map(_edge_of, tensors)),
            skeleton(live),
            tuple(map(self._layout, tensors)) if tap.with_layout else (),
            tuple(map(shape_of, tensors)),
        )

    def _unseen(self, tap: TapPoint, value: Any) -> Captured:
        """Capture the form and shapes of values inside a transform, unreadable outside of it."""
        where = "a transform of torch.func (vmap, grad, jvp, ...)"
        if tap.with_values:
            raise LayerError(
                f"the layer {type(tap.module).__name__} ran inside {where}, whose values cannot"
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
            return "it was not tracked"
        # Placeholders of values computed later (see `prepare`) are not tracked; copies are.
        known = not is_dense(tensor) or self._tracker.axes(tensor) is not None
        return self._tracker.layout(tensor if known else tensor.clone())

    def _all_live(self, value: Any) -> Any:
        if any(map(self._is_fresh, tensors_of(value))):
            return with_tensors(value, self._live)
        return value

    def _is_fresh(self, item: Tensor) -> bool:
        """Whether a tensor could be in the graph but is not."""
        could = self._differentiable and item.is_floating_point() and is_dense(item)
        return could and not item.requires_grad

    def _live(self, item: Tensor) -> Tensor:
        if not self._is_fresh(item):
            return item
        entered = enter(item)
        if self._tracker is not None:
            self._tracker.copy_axes(item, entered)
        return entered


def on_output(note: Callable[[Any], Any]) -> Callable[..., Any]:
    """Return a forward hook that gives a module's output to `note` and returns what that returns.

    >>> double = on_output(lambda value: 2 * value)
    >>> double(None, (3,), 4)
    8
    """
    return lambda module, args, output: note(output)


def on_input(note: Callable[[Any], Any]) -> Callable[..., Any]:
    """Return a forward pre-hook, called with keywords, that replaces a module's input.

    `note` is given the only positional argument, or the tuple of all; without any, that of the
    keyword arguments.

    >>> double = on_input(lambda value: 2 * value)
    >>> double(None, (3,), {})
    ((6,), {})
    """

    # PyTorch passes no keywords if the thread that owns the hook is removing it meanwhile.
    def hook(module: nn.Module, args: Any, kwargs: Any = None) -> Any:
        if args:
            recorded = note(args if len(args) > 1 else args[0])
            return (recorded if isinstance(recorded, tuple) else (recorded,)), kwargs
        values = note(tuple(kwargs.values()))
        return args, dict(zip(kwargs, values, strict=True))

    return hook


def _edge_of(tensor: Tensor) -> GradientEdge | None:
    """Return where the gradient of a tensor is read; the mode does not see that as a use of it."""
    with DisableTorchFunction():
        return get_gradient_edge(tensor) if tensor.requires_grad else None
