"""Occlusion: ablation by a window that slides over the input."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor

from torchattr.core.inputs import Inputs, as_baselines, as_inputs
from torchattr.core.targets import Target
from torchattr.core.types import Baselines, TensorsT
from torchattr.errors import InputError, InputTypeError, ShapeError
from torchattr.incremental import Mode, Recomputed
from torchattr.methods._perturbation.features import Windows
from torchattr.methods.ablation import Ablation
from torchattr.methods.registry import register_method


@register_method("occlusion")
class Occlusion(Ablation):
    """The mean, over the windows that cover an element, of `s(x) − s(x with the window replaced)`.

    The window starts at the first corner and moves by `strides` until all of the input is
    covered; the last one of a row is clipped where the input ends. Zeiler and Fergus 2014,
    arXiv:1311.2901 (who grey out a square of an image).

    It is *not* sharper than its window, and not additive (see :class:`FeatureAblation`).

    >>> import torch, torchattr as ta
    >>> model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(48, 2))
    >>> images = torch.rand(2, 3, 4, 4)
    >>> ta.Occlusion(model).attribute(images, (3, 2, 2), strides=(3, 1, 1), target=1).shape
    torch.Size([2, 3, 4, 4])
    """

    def attribute(
        self,
        inputs: TensorsT,
        sliding_window_shapes: Sequence[int] | Sequence[Sequence[int]] | None = None,
        strides: int | Sequence[int | Sequence[int]] | None = None,
        baselines: Baselines = None,
        target: Target = None,
        additional_forward_args: Any = None,
        perturbations_per_eval: int | None = None,
        show_progress: bool = False,
        *,
        incremental: Mode = "auto",
        report: Callable[[Recomputed], object] | None = None,
    ) -> TensorsT:
        """Return the attributions, shaped like the inputs.

        Args:
            inputs: as for :class:`FeatureAblation`.
            sliding_window_shapes: the window without the batch dimension, `(3, 15, 15)`; for a
                tuple of inputs a tuple of windows. A single input takes both forms. By default all
                channels and an eighth of each side.
            strides: the window's step: an int for all dimensions or a tuple with one for
                each; for a tuple of inputs a tuple of these. A single input takes both forms. 1 by
                default, and half of the default window.
            baselines: what replaces a window, as for :class:`FeatureAblation`.
            target: as for :class:`FeatureAblation`.
            additional_forward_args: as for every method.
            perturbations_per_eval: as for :class:`FeatureAblation`.
            show_progress: show a progress bar on stderr, with the time that remains.
            incremental: as for :class:`FeatureAblation`.
            report: as for :class:`FeatureAblation`.

        Raises:
            ShapeError: a window of the wrong number of dimensions, or larger than its input.
            InputError: a window or stride below 1, or a stride that would leave gaps.
            OutputError: several perturbations at once of a forward that aggregates the batch, or
                with inputs of different numbers of rows.
            OutOfMemory: not even one perturbation fits.
        """
        given = as_inputs(inputs, differentiable=False, aligned=False)
        features = _windows(given, sliding_window_shapes, strides)
        return self._ablate(
            given,
            as_baselines(baselines, given),
            features,
            target,
            additional_forward_args,
            at_once=perturbations_per_eval,
            progress=show_progress,
            incremental=incremental,
            report=report,
        )


def _windows(inputs: Inputs, sliding_window_shapes: Any, strides: Any) -> Windows:
    if sliding_window_shapes is None:
        sizes = [_default_window(tensor) for tensor in inputs.tensors]
        halves: list[Any] = [tuple(max(1, width // 2) for width in size) for size in sizes]
    else:
        sizes = _one_for_each(sliding_window_shapes, inputs, "sliding_window_shapes")
        halves = [1] * len(sizes)
    steps = halves if strides is None else _one_for_each(strides, inputs, "strides")
    checked = [
        _checked(tensor, size, step, f" for inputs[{position}]" if inputs.is_tuple else "")
        for position, (tensor, size, step) in enumerate(
            zip(inputs.tensors, sizes, steps, strict=True)
        )
    ]
    return Windows(inputs.tensors, [size for size, _ in checked], [step for _, step in checked])


def _default_window(tensor: Tensor) -> tuple[int, ...]:
    """Return all channels and an eighth of each further side, rounded up.

    >>> import torch
    >>> _default_window(torch.zeros(1, 3, 224, 60)), _default_window(torch.zeros(1, 5))
    ((3, 28, 8), (1,))
    """
    first, *sides = tensor.shape[1:] or (1,)
    return (first, *(-(-side // 8) for side in sides)) if sides else (1,)


def _one_for_each(value: Any, inputs: Inputs, name: str) -> list[Any]:
    if len(inputs.tensors) == 1:
        return [_of_single(value, name)]
    if name == "strides" and isinstance(value, int):
        return [value] * len(inputs.tensors)
    if not isinstance(value, (tuple, list)) or len(value) != len(inputs.tensors):
        raise ShapeError(
            f"{name} must be a tuple with one entry for each of the {len(inputs.tensors)} inputs,"
            f" got {value!r}"
        )
    return list(value)


def _of_single(value: Any, name: str) -> Any:
    """Return the argument of a single input, unpacked from a tuple with one entry per input.

    >>> _of_single(((3, 2, 2),), "strides"), _of_single((3, 2, 2), "strides")
    ((3, 2, 2), (3, 2, 2))
    """
    if not isinstance(value, (tuple, list)) or len(value) != 1:
        return value
    # A single stride applies to all dimensions anyway.
    return value[0] if name == "strides" or isinstance(value[0], (tuple, list)) else value


def _checked(
    tensor: Tensor, size: Any, step: Any, where: str
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    shape = tuple(tensor.shape[1:])
    size = _ints(size, shape, f"sliding_window_shapes{where}")
    step = _ints((step,) * len(shape) if _is_int(step) else step, shape, f"strides{where}")
    if any(width > extent for width, extent in zip(size, shape, strict=True)):
        raise ShapeError(
            f"sliding_window_shapes{where} is {size}, larger than the input's {shape} (without its"
            " batch dimension); pass a window that fits into it"
        )
    for width, move, extent in zip(size, step, shape, strict=True):
        if move > width and width < extent:
            raise InputError(
                f"strides{where} is {step}, in some dimension larger than the window {size}, which"
                " would leave parts of the input uncovered; pass strides of at most the window"
            )
    return size, step


def _ints(value: Any, shape: Sequence[int], name: str) -> tuple[int, ...]:
    if not isinstance(value, (tuple, list)) or not all(map(_is_int, value)):
        raise InputTypeError(
            f"{name} must be a tuple of {len(shape)} ints, one for each dimension of the input"
            f" after the batch, got {value!r}"
        )
    if len(value) != len(shape):
        raise ShapeError(
            f"{name} is {tuple(value)} with {len(value)} entries, but the input has the"
            f" {len(shape)} dimensions {tuple(shape)} after the batch; pass one entry for each"
        )
    if any(number < 1 for number in value):
        raise InputError(f"{name} is {tuple(value)}; each entry must be at least 1")
    return tuple(value)


def _is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
