"""The one place that knows what a target is: which value of the output is explained."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from torchattr.core.detections import holds_detections
from torchattr.core.output_target import FixedTarget, OutputTarget, out_of_range
from torchattr.core.types import Index, Layer, SingleTarget
from torchattr.errors import InputTypeError, TargetError


@dataclass(frozen=True)
class TopK:
    """The `k` highest-scoring classes of each example, best first.

    Attributions get one more dimension after the batch: `(N, k, ...)`.

    >>> TopK(3)
    TopK(k=3)
    """

    k: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "k", plain(self.k))
        if not _is_int(self.k):
            raise InputTypeError(f"TopK needs k as an int, got {type(self.k).__name__}")
        if self.k < 1:
            raise TargetError(f"TopK needs k of at least 1, got {self.k}")


@dataclass(frozen=True)
class Classes:
    """The same several classes for every example: `Classes(281, 7)`, or `Classes([281, 7])`.

    Attributions get one more dimension after the batch: `(N, number of classes, ...)`. A tuple is
    one class, as for `target`: it indexes the dimensions after the batch. Targets that are
    functions of the output, such as :class:`Mask` or :class:`Difference`, may stand for classes; so
    may names, for :func:`torchattr.explain` of a model that knows them.

    Raises:
        TargetError: no classes.
        InputTypeError: a class that is neither an int nor a tuple of ints.

    >>> Classes(281, 7).indices
    (281, 7)
    """

    indices: tuple[Any, ...]

    def __init__(self, *indices: Any) -> None:
        given = indices[0] if len(indices) == 1 and _is_series(indices[0]) else indices
        classes = plain(tuple(given))
        if not classes:
            raise TargetError("Classes needs at least one class index")
        for index in classes:
            if not isinstance(index, (OutputTarget, str)) and not all(
                map(_is_int, index if isinstance(index, tuple) else (index,))
            ):
                raise InputTypeError(
                    "Classes takes class indices, one after the other or in a list, got"
                    f" {_shown(index)}; pass one class per example as target itself"
                )
        object.__setattr__(self, "indices", classes)


@dataclass(frozen=True)
class OnlyValue:
    """The only value of each example; an output of several is refused.

    Unlike `None`, which means the predicted class then.
    """


@dataclass(frozen=True)
class Neuron:
    """A neuron (or a sum of neurons) of a layer, instead of an entry of the output.

    Args:
        layer: the layer's name or module.
        selector: an index into the layer's output without its batch dimension: an int for
            `(N, C)`, a tuple of ints and slices otherwise (the values that it selects are summed),
            or a callable from the layer's output to one value per example.
        of_input: take the layer's input instead of its output.

    >>> import torch, torchattr as ta
    >>> model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Linear(4, 2))
    >>> maps = ta.Saliency(model).attribute(torch.ones(1, 3), target=ta.Neuron("0", 2), abs=False)
    >>> torch.equal(maps[0], model[0].weight[2])
    True
    """

    layer: Layer
    selector: Index | Callable[[Any], Tensor]
    of_input: bool = False


Target: TypeAlias = (
    SingleTarget
    | Sequence[int | Tensor]
    | Sequence[tuple[int, ...]]
    | np.integer[Any]
    | NDArray[np.integer[Any]]
    | TopK
    | Classes
    | Neuron
    | OnlyValue
    | OutputTarget
)
"""Everything that names what is explained."""

Several = (TopK, Classes)


def bundle(targets: Iterable[Any]) -> Classes:
    """Return several single targets of any type as one target; each may differ by example."""
    bundled = object.__new__(Classes)
    object.__setattr__(bundled, "indices", tuple(targets))
    return bundled


def plain(target: Any) -> Any:
    """Return a target with NumPy integers and zero-dimensional arrays and tensors as ints.

    Raises:
        InputTypeError: an array of anything but integers.

    >>> plain([np.int64(3), (np.int8(1), 2)]), plain(np.array([0, 2]))
    ([3, (1, 2)], tensor([0, 2]))
    """
    if isinstance(target, (list, tuple)):
        entries = [_number(plain(entry)) for entry in target]
        return entries if isinstance(target, list) else tuple(entries)
    if isinstance(target, np.ndarray):
        if target.dtype.kind not in "iu":
            raise InputTypeError(f"a target array must hold class indices, got {target.dtype}")
        return torch.from_numpy(target.astype(np.int64)) if target.ndim else int(target)
    integer = isinstance(target, Integral) and not isinstance(target, bool)
    return int(target) if integer else target


def _number(entry: Any) -> Any:
    """Return an entry of a list as an int if it is a tensor of a single integer."""
    whole = isinstance(entry, Tensor) and entry.dim() == 0 and not _is_no_index(entry)
    return int(entry) if whole else entry


def _is_no_index(tensor: Tensor) -> bool:
    return tensor.is_floating_point() or tensor.is_complex() or tensor.dtype == torch.bool


def _is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_series(indices: Any) -> bool:
    """Whether these are several class indices; a tuple is a single one."""
    return isinstance(indices, (list, range)) or (
        isinstance(indices, (Tensor, np.ndarray)) and indices.ndim == 1
    )


def one_per_example(output: Tensor) -> bool:
    """Whether the output already holds a single value per example."""
    return output.dim() == 0 or output[:1].numel() == 1 or output.shape[1:].numel() == 1


def names_functions(target: Any) -> bool:
    """Whether a target, or one of several that it names, is a function of the output."""
    named = target.indices if isinstance(target, Classes) else (target,)
    return any(isinstance(one, (OutputTarget, FixedTarget)) for one in named)


def predicted(output: Tensor) -> Tensor:
    """Return the highest-scoring class of each example, `(N,)`."""
    return output.detach().argmax(1) if len(output) else output.new_zeros(0, dtype=torch.long)


def each(target: Any, output: Tensor) -> tuple[list[SingleTarget], bool]:
    """Split `target` into single targets; also return whether it named several.

    `None` becomes the predicted class of each example, unless the output already holds one value
    per example.
    """
    target = plain(target)
    if isinstance(target, OnlyValue):
        _need_one_value(output)
        return [None], False
    if isinstance(target, TopK):
        return list(_top(target, output)), True
    if isinstance(target, Classes):
        return [_fixed(one, output) for one in target.indices], True
    if target is None and not one_per_example(output):
        _need_two_dimensions(output, "target=None (the predicted class)")
        return [predicted(output)], False
    return [_fixed(target, output)], False


def _fixed(target: Any, output: Tensor) -> Any:
    """Return a target that names the same for changed inputs."""
    return target.fixed(output) if isinstance(target, OutputTarget) else target


def _need_one_value(output: Tensor) -> None:
    if not one_per_example(output):
        raise TargetError(
            f"target is missing: the output of shape {tuple(output.shape)} holds several values"
            " for each example; pass the index of one, such as the predicted class"
        )


def _top(target: TopK, output: Tensor) -> tuple[Tensor, ...]:
    _need_two_dimensions(output, "TopK")
    if target.k > output.shape[1]:
        raise TargetError(
            f"TopK({target.k}) asks for more classes than the output's {output.shape[1]}"
        )
    return output.detach().topk(target.k, dim=1).indices.unbind(1)


def class_columns(targets: Sequence[Any], batch_size: int) -> Tensor | None:
    """Return the class index of each target of each example, `(N, T)`; `None` for other targets."""
    columns = []
    for target in targets:
        if isinstance(target, int):
            target = [target] * batch_size
        if isinstance(target, list) and all(isinstance(entry, int) for entry in target):
            target = torch.tensor(target, dtype=torch.long)
        if not isinstance(target, Tensor):
            return None
        columns.append(target.cpu().reshape(-1).expand(batch_size))
    return torch.stack(columns, 1)


def select_scores(output: Tensor, target: SingleTarget) -> Tensor:
    """Pick one value for each example: `(N,)`.

    Args:
        output: the model's scores, `(N, ...)`.
        target: a class index; a tuple that indexes the dimensions after the batch; a tensor or
            list with one class per example; a list with one such tuple per example; a callable
            from the output to one value per example; or `None` if there is only one already.

    Raises:
        TargetError: a target out of range, of the wrong length, or that selects several values
            per example.
        InputTypeError: any other type.
    """
    scores = _picked(output, target)
    if scores.dim() == 0:
        return scores.reshape(1)
    if scores.shape[1:].numel() != 1:
        raise TargetError(
            f"target={_shown(target)} leaves {tuple(scores.shape[1:])} values for each example of"
            f" an output of shape {tuple(output.shape)}; {_one_of_several(output)}"
        )
    return scores.reshape(len(scores))


def _picked(output: Tensor, target: SingleTarget) -> Tensor:
    target = plain(target)
    if target is None:
        return output
    if isinstance(target, str):
        raise _unknown_name(target)
    if isinstance(target, Tensor):
        return _by_tensor(output, target)
    if isinstance(target, bool):
        raise InputTypeError(f"target must name an entry of the output, got {target}")
    if isinstance(target, int):
        return _by_index(output, (target,))
    if isinstance(target, tuple):
        return _by_index(output, target)
    if isinstance(target, list):
        return _by_list(output, target)
    if callable(target):
        return _by_call(output, target)
    raise InputTypeError(
        "target must be an int, a tuple of ints, a tensor or list with one entry per example,"
        f" a callable such as Mask or Boxes, TopK, Classes, Neuron or None, got"
        f" {type(target).__name__}"
    )


def _by_index(output: Tensor, index: Sequence[Any]) -> Tensor:
    _check_depth(output, index)
    for size, position in zip(output.shape[1:], index, strict=False):
        _check_range(position, size, index, output)
    whole: tuple[Any, ...] = (slice(None), *index)
    return output[whole]


def _by_tensor(output: Tensor, target: Tensor) -> Tensor:
    if _is_no_index(target):
        raise InputTypeError(f"a target tensor must hold class indices, got {target.dtype}")
    if target.numel() == 1 and len(output) != 1:
        return _by_index(output, (int(target.item()),))
    if target.dim() > 1:
        raise TargetError(
            f"a target tensor must have one entry per example, got shape {tuple(target.shape)}"
        )
    return _by_list(output, target.reshape(-1).tolist())


def _by_list(output: Tensor, target: list[Any]) -> Tensor:
    if len(target) != len(output):
        raise TargetError(
            f"target has {len(target)} entries for a batch of {len(output)}; pass one for each"
            " example, or a single int for all of them"
        )
    rows = [entry if isinstance(entry, tuple) else (entry,) for entry in target]
    for row in rows:
        _check_depth(output, row)
        for size, position in zip(output.shape[1:], row, strict=False):
            _check_range(position, size, row, output)
    if not rows:
        return output.reshape(0)
    examples = torch.arange(len(output), device=output.device)
    index = (examples, *torch.tensor(rows, device=output.device).unbind(1))
    return output[index]


def _by_call(output: Tensor, target: Callable[[Any], Tensor]) -> Tensor:
    scores = target(output)
    if not isinstance(scores, Tensor) or scores.numel() not in (len(output), max(len(output), 1)):
        got = tuple(scores.shape) if isinstance(scores, Tensor) else type(scores).__name__
        raise TargetError(
            f"a callable target must return one value for each of the {len(output)} examples,"
            f" got {got}"
        )
    return scores.reshape(-1)


def _check_depth(output: Tensor, index: Sequence[Any]) -> None:
    if len(index) > output.dim() - 1:
        raise TargetError(
            f"target {_shown(tuple(index))} has {len(index)} indices, but the output of shape"
            f" {tuple(output.shape)} has {output.dim() - 1} dimensions after the batch"
        )


def _check_range(position: Any, size: int, index: Sequence[Any], output: Tensor) -> None:
    if isinstance(position, str):
        raise _unknown_name(position)
    if not _is_int(position):
        raise InputTypeError(
            f"target {_shown(tuple(index))} must hold ints, got {type(position).__name__}"
        )
    if not 0 <= position < size:
        raise TargetError(out_of_range(f"target {position}", position, size, output))


def _unknown_name(name: str) -> TargetError:
    return TargetError(
        f"target {name!r} is the name of a class, which torchattr.explain takes, for a model that"
        " knows its class names (load_model, or LoadedModel); pass the index of the class here"
    )


def _one_of_several(output: Tensor) -> str:
    """Return how to name one of several values per example."""
    if holds_detections(output):
        return "these are detections: pass Boxes(labels, boxes)"
    maps = "Mask or Segment for a class of a segmentation, or " if output.dim() == 4 else ""
    return f"name one of them, or pass {maps}a callable that sums what you mean"


def _need_two_dimensions(output: Tensor, what: str) -> None:
    if output.dim() != 2:
        raise TargetError(
            f"{what} needs scores of shape (N, classes), but the output has shape"
            f" {tuple(output.shape)}; {_one_of_several(output)}"
        )


def _shown(target: Any) -> str:
    if isinstance(target, tuple) and len(target) == 1:
        return repr(target[0])
    if isinstance(target, OutputTarget) or not callable(target):
        return repr(target)
    return getattr(target, "__name__", "callable")
