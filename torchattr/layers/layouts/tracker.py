"""Follows the dimensions of the inputs through a forward."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from torchattr.core.torch_private import DisableTorchFunction
from torchattr.layers.layouts.axes import BATCH, OTHER, Axes, Label, axis, bare_label, others
from torchattr.layers.layouts.calls import tensors_in
from torchattr.layers.layouts.layout import Coordinate, Layout, Uses, layout_of
from torchattr.layers.layouts.notes import TensorNotes
from torchattr.layers.layouts.sums import sliding_dims
from torchattr.layers.layouts.table import RULES, axes_of_results
from torchattr.layers.operations.names import base_name


def is_dense(tensor: Tensor) -> bool:
    """Whether a tensor is strided, not nested and not quantised."""
    return tensor.layout is torch.strided and not tensor.is_nested and not tensor.is_quantized


def _all_dense(value: Any) -> bool:
    return all(map(is_dense, tensors_in(value)))


class LayoutTracker(TorchFunctionMode):
    """Tracks the dimensions of the inputs through a forward.

    It intercepts every call, and the function's name determines the effect on the axes. After an
    unknown function the axes are unknown, until a convolution shows which of them are spatial.

    Args:
        inputs: the model's inputs, `(N, ...)`.
    """

    def __init__(self, inputs: Sequence[Tensor]) -> None:
        super().__init__()
        self._axes: TensorNotes[Axes] = TensorNotes()
        self._uses: TensorNotes[Uses] = TensorNotes()
        self._batch = len(inputs[0]) if inputs and inputs[0].dim() else 0
        self._inputs = [tuple(tensor.shape) for tensor in inputs]
        self._slid: set[Label] = set()
        for position, tensor in enumerate(inputs):
            self._axes[tensor] = tuple(
                axis(Coordinate(self._plane(position), dim, size) if dim else BATCH, size)
                for dim, size in enumerate(tensor.shape)
            )

    def __torch_function__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        made = args[0] if func is Tensor.__setitem__ else result
        if isinstance(made, (Tensor, tuple, list)):
            # The calls made here are not the model's.
            with DisableTorchFunction():
                if _all_dense([args, kwargs, made]):
                    self.note(func, args, kwargs, made)
        return result

    def axes(self, tensor: Tensor) -> Axes | None:
        """Return the axes of a tensor, if known."""
        axes = self._axes.get(tensor)
        return axes if axes is not None and len(axes) == tensor.dim() else None

    def copy_axes(self, source: Tensor, result: Tensor) -> None:
        """Assume that a result of the same shape, computed unseen, has the axes of its source."""
        known = self.axes(source)
        if known is None or not is_dense(result) or self.axes(result) is not None:
            return
        if source.shape == result.shape:
            self._axes[result] = known

    def layout(self, tensor: Tensor) -> Layout | str:
        """Return the layout of a tensor, or why it is unknown."""
        if not is_dense(tensor):
            return "it is sparse, nested or quantised, and such tensors are not read as maps"
        axes = self.axes(tensor)
        if axes is None:
            return _unknown(tensor)
        layout = self.layout_of(axes)
        if isinstance(layout, Layout):
            return replace(layout, uses=self._uses_of(tensor))
        return layout

    def layout_of(self, axes: Axes) -> Layout | str:
        """Return the layout of values with these axes, or why they have none."""
        return layout_of(axes, self._spatial)

    def _uses_of(self, tensor: Tensor) -> Uses:
        uses = self._uses.get(tensor)
        if uses is None:
            uses = self._uses[tensor] = Uses()
        return uses

    def _plane(self, position: int) -> int:
        """Return the first input with as many dimensions as this one: their grids are aligned."""
        dims = len(self._inputs[position])
        return next(i for i, shape in enumerate(self._inputs) if len(shape) == dims)

    @property
    def _spatial(self) -> set[Label]:
        """The spatial coordinates: those that windows slid over, else all after the channels."""
        slid = {label for label in self._slid if isinstance(label, Coordinate)}
        if slid:
            return set(slid)
        return {
            Coordinate(self._plane(position), dim, shape[dim])
            for position, shape in enumerate(self._inputs)
            for dim in range(2, len(shape))
        }

    def note(self, func: Any, args: Sequence[Any], kwargs: Mapping[str, Any], result: Any) -> None:
        """Record the axes of what a call returned."""
        name = base_name(func)
        slides = RULES.get(name) is RULES["conv2d"]
        given = list(tensors_in([args, kwargs]))
        if slides and given:
            self._anchor(func, given[0])
        if not any(self.axes(tensor) is not None for tensor in given):
            return
        for tensor, axes in axes_of_results(func, args, kwargs, result, self.axes):
            self._axes[tensor] = axes
            self._note_uses(given[0], tensor, name)

    def _note_uses(self, source: Tensor, result: Tensor, name: str) -> None:
        """Record that the last dimension was split, even through other views."""
        uses = self._uses.get(source)
        if uses is None or source.dim() < 2:
            return
        if RULES.get(name) not in (RULES["view"], RULES["chunk"]):
            return
        if result.dim() > source.dim() or result.shape[-1] < source.shape[-1]:
            uses.split = True
        elif source.dim() == result.dim():
            self._uses[result] = uses

    def _anchor(self, func: Any, tensor: Tensor) -> None:
        """Treat the dimensions that a window slides over as spatial."""
        known = self.axes(tensor)
        dims = sliding_dims(func, known or others(tensor.shape))
        if known is None:
            known = self._found_again(tensor, dims)
        elif self._is_batch_again(known, dims):
            known = (axis(BATCH, len(tensor)), *known[1:])
        if known is None:
            return
        self._axes[tensor] = known
        labels = (bare_label(label) for slid in known[len(known) - dims :] for label in slid.labels)
        self._slid.update(label for label in labels if label not in (OTHER, BATCH))

    def _found_again(self, tensor: Tensor, dims: int) -> Axes | None:
        """Return the axes of a picture that came out of a function which was not seen, if any."""
        alike = next((shape for shape in self._inputs if len(shape) == dims + 2), None)
        if alike is None or tensor.dim() != dims + 2 or len(tensor) != self._batch:
            return None
        if isinstance(tensor, nn.Parameter):
            return None
        position = self._inputs.index(alike)
        spatial = [
            axis(Coordinate(position, dim, alike[dim]), tensor.shape[dim])
            for dim in range(2, dims + 2)
        ]
        return (axis(BATCH, len(tensor)), axis(OTHER, tensor.shape[1]), *spatial)

    def _is_batch_again(self, axes: Axes, dims: int) -> bool:
        """Whether separate examples were stacked to a batch again, as detectors do."""
        first, rest = axes[0], axes[len(axes) - dims :]
        return (
            len(axes) == dims + 2
            and first.size == self._batch
            and first.labels in ((), (OTHER,))
            and not any(BATCH in one.labels for one in axes)
            and all(len(one.labels) == 1 and isinstance(one.labels[0], Coordinate) for one in rest)
        )


def _unknown(tensor: Tensor) -> str:
    return f"it is unknown how its values of shape {tuple(tensor.shape)} depend on the inputs"
