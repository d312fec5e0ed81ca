"""The one place that knows what a target is: which value of the output is explained."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from torchattr._types import Index, Layer, SingleTarget
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
        if self.k < 1:
            raise TargetError(f"TopK needs k of at least 1, got {self.k}")


@dataclass(frozen=True)
class Classes:
    """The same several classes for every example: `Classes(281, 7)`.

    Attributions get one more dimension after the batch: `(N, number of classes, ...)`.

    >>> Classes(281, 7).indices
    (281, 7)
    """

    indices: tuple[int, ...]

    def __init__(self, *indices: int) -> None:
        if not indices:
            raise TargetError("Classes needs at least one class index")
        object.__setattr__(self, "indices", tuple(indices))


@dataclass(frozen=True)
class Neuron:
    """A neuron (or a sum of neurons) of a layer, instead of an entry of the output.

    Args:
        layer: the layer's name or module.
        selector: an index into the layer's output without its batch dimension: an int for
            `(N, C)`, a tuple of ints and slices otherwise (what slices take is summed), or a
            callable from the layer's output to one value per example.
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


Several = (TopK, Classes)


def one_per_example(output: Tensor) -> bool:
    """Tell whether the output holds a single value for each example already."""
    return output.dim() == 0 or output[:1].numel() == 1 or output.shape[1:].numel() == 1


def predicted(output: Tensor) -> Tensor:
    """Give the highest-scoring class of each example, `(N,)`."""
    return output.detach().argmax(1) if len(output) else output.new_zeros(0, dtype=torch.long)


def each(target: Any, output: Tensor) -> tuple[list[SingleTarget], bool]:
    """Split `target` into single ones, and tell whether there were several.

    `None` becomes the predicted class of each example, unless the output holds one value
    per example already.
    """
    if isinstance(target, TopK):
        return list(_top(target, output)), True
    if isinstance(target, Classes):
        return list(target.indices), True
    if target is None and not one_per_example(output):
        _need_two_dimensions(output, "target=None (the predicted class)")
        return [predicted(output)], False
    return [target], False


def _top(target: TopK, output: Tensor) -> tuple[Tensor, ...]:
    _need_two_dimensions(output, "TopK")
    if target.k > output.shape[1]:
        raise TargetError(
            f"TopK({target.k}) asks for more classes than the output's {output.shape[1]}"
        )
    return output.detach().topk(target.k, dim=1).indices.unbind(1)


def select_scores(output: Tensor, target: SingleTarget) -> Tensor:
    """Pick one value for each example: `(N,)`.

    Args:
        output: the model's scores, `(N, ...)`.
        target: a class index; a tuple that indexes the dimensions after the batch; a tensor or
            list with one class per example; a list with one such tuple per example; a callable
            from the output to one value per example; or `None` if there is only one already.

    Raises:
        TargetError: out of range, of the wrong count, or leaving more than one value each.
        InputTypeError: a type that is none of these.
    """
    scores = _picked(output, target)
    if scores.dim() == 0:
        return scores.reshape(1)
    if scores.shape[1:].numel() != 1:
        raise TargetError(
            f"target={_shown(target)} leaves {tuple(scores.shape[1:])} values for each example of"
            f" an output of shape {tuple(output.shape)}; name one of them, or pass a callable that"
            " sums what you mean"
        )
    return scores.reshape(len(scores))


def _picked(output: Tensor, target: SingleTarget) -> Tensor:
    if target is None:
        return output
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
        f" a callable, TopK, Classes, Neuron or None, got {type(target).__name__}"
    )


def _by_index(output: Tensor, index: Sequence[Any]) -> Tensor:
    _check_depth(output, index)
    for size, position in zip(output.shape[1:], index, strict=False):
        _check_range(position, size, index, output)
    whole: tuple[Any, ...] = (slice(None), *index)
    return output[whole]


def _by_tensor(output: Tensor, target: Tensor) -> Tensor:
    if target.dtype.is_floating_point or target.dtype in (torch.bool, torch.complex64):
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
    index = torch.tensor(rows, device=output.device).unbind(1)
    places = (torch.arange(len(output), device=output.device), *index)
    return output[places]


def _by_call(output: Tensor, target: Callable[[Any], Tensor]) -> Tensor:
    scores = target(output)
    if not isinstance(scores, Tensor) or scores.numel() != max(len(output), 1):
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
    if not isinstance(position, int) or isinstance(position, bool):
        raise InputTypeError(
            f"target {_shown(tuple(index))} must hold ints, got {type(position).__name__}"
        )
    if not -size <= position < size:
        raise TargetError(
            f"target {position} is out of range for an output of shape {tuple(output.shape)};"
            f" allowed are 0 to {size - 1}"
        )


def _need_two_dimensions(output: Tensor, what: str) -> None:
    if output.dim() != 2:
        raise TargetError(
            f"{what} needs scores of shape (N, classes), but the output has shape"
            f" {tuple(output.shape)}; pass a tuple of ints or a callable as target"
        )


def _shown(target: Any) -> str:
    if isinstance(target, tuple) and len(target) == 1:
        return repr(target[0])
    return repr(target) if not callable(target) else getattr(target, "__name__", "callable")
