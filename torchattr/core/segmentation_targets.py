"""Targets of segmentations: a class, summed over some of the positions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from torchattr.core.output_target import Entries, OutputTarget, class_rows, listed, picked
from torchattr.errors import InputError, InputTypeError, TargetError


class _OverPositions(OutputTarget):
    """The sum of a class's scores, weighted by a mask, `(N, ...)`."""

    category: Any

    def value(self, output: Tensor, *entries: Tensor) -> Tensor:
        classes, mask = entries
        scores = picked(output, classes) * mask.to(output.dtype)
        return scores.reshape(len(output), -1).sum(1)

    def _classes(self, output: Tensor, count: int) -> Tensor:
        if output.dim() < 3:
            raise TargetError(
                f"{type(self).__name__} needs scores for each position, (N, classes, height,"
                f" width), but the output has shape {tuple(output.shape)}; choose them with"
                " output=..."
            )
        return class_rows(self.category, output, count, "category")


@dataclass(frozen=True, eq=False, repr=False)
class Mask(_OverPositions):
    """The scores of a class summed over a mask: `Σ s_c(p) · m(p)` over the positions p.

    The target of a segmentation model, whose output is `(N, K, H, W)` (or has any other number of
    spatial dimensions). It is *not* the class of a whole image: it asks what makes these positions
    this class.

    Args:
        category: the class, or one for each example.
        mask: `(H, W)` for all examples, or `(N, H, W)` with one for each, in the output's
            resolution: true or a weight where positions count. A tensor or an array.

    Raises:
        InputTypeError: the mask is no array of numbers.
        InputError: a mask that is empty, or holds NaN or infinite values.
        TargetError: (from a call) a mask of another size than the output.

    >>> import torch, torchattr as ta
    >>> ta.Mask(1, torch.eye(2))(torch.arange(8.0).reshape(1, 2, 2, 2))
    tensor([11.])
    """

    category: Any
    mask: Any

    def __post_init__(self) -> None:
        object.__setattr__(self, "mask", _checked_mask(self.mask))

    def entries(self, output: Tensor, count: int) -> Entries:
        classes = self._classes(output, count)
        sizes = output.shape[2:]
        mask = self.mask if self.mask.dim() > len(sizes) else self.mask[None]
        if mask.shape[1:] != sizes or len(mask) not in (1, count):
            raise TargetError(
                f"mask has shape {tuple(self.mask.shape)}, but the output {tuple(output.shape)} of"
                f" {count} example{'s' * (count != 1)}; needed is {tuple(sizes)}, or"
                f" {(count, *sizes)}: resize it, F.interpolate(mask[None, None].float(),"
                f" {tuple(sizes)})[0, 0]"
            )
        return classes, mask.to(output.device).expand(count, *sizes)

    def decide(self, output: Tensor, *entries: Tensor) -> Entries:
        empty = ~entries[1].reshape(len(output), -1).any(1)
        if bool(empty.any()):
            raise TargetError(
                f"mask is empty for {listed(empty)}; it must be true, or a weight, somewhere"
            )
        return entries


@dataclass(frozen=True, eq=False, repr=False)
class Segment(_OverPositions):
    """The scores of a class summed over its predicted segment: where it has the highest score.

    The segment is that of the unchanged input, also where perturbed copies are evaluated. With a
    single class it is where the score is positive.

    Args:
        category: the class, or one for each example.

    Raises:
        TargetError: (from a call) the model predicts that class nowhere, or has no positions.

    >>> import torch, torchattr as ta
    >>> ta.Segment(1)(torch.tensor([[[[1.0, 0.0]], [[0.0, 3.0]]]]))
    tensor([3.])
    """

    category: Any

    def entries(self, output: Tensor, count: int) -> Entries:
        classes = self._classes(output, count)
        return classes, torch.ones(count, *(1 for _ in output.shape[2:]), device=output.device)

    def decide(self, output: Tensor, *entries: Tensor) -> Entries:
        segment = segment_of(output, entries[0])
        empty = ~segment.reshape(len(output), -1).any(1)
        if bool(empty.any()):
            first = int(empty.nonzero()[0])
            raise TargetError(
                f"the model predicts class {int(entries[0][first])} at no position of"
                f" {listed(empty)}; in example {first} it predicts {_present(output[first])}."
                " Choose one of these, or pass Mask with the positions that you mean"
            )
        return entries[0], segment


def segment_of(output: Tensor, classes: Tensor) -> Tensor:
    """Return where each example's class is predicted, a mask `(N, ...)`."""
    if output.shape[1] == 1:
        return output[:, 0] > 0
    return output.argmax(1) == classes.reshape(-1, *(1 for _ in output.shape[2:]))


def _present(scores: Tensor) -> str:
    """Return the classes that are predicted somewhere, most frequent first."""
    if scores.shape[0] == 1:
        return "nothing: no score is positive"
    counts = torch.bincount(scores.argmax(0).reshape(-1), minlength=len(scores))
    found = counts.argsort(descending=True)[: int((counts > 0).sum())].tolist()
    more = f" and {len(found) - 8} more" if len(found) > 8 else ""
    return f"class{'es' if len(found) > 1 else ''} {', '.join(map(str, found[:8]))}{more}"


def _checked_mask(mask: Any) -> Tensor:
    try:
        checked = torch.as_tensor(mask).detach()
    except (TypeError, ValueError, RuntimeError) as error:
        raise InputTypeError(
            f"mask must be a tensor or array (H, W) or (N, H, W), got {type(mask).__name__}"
        ) from error
    if checked.is_complex() or not checked.dim():
        raise InputTypeError(f"mask must be a tensor or array (H, W) or (N, H, W), got {mask!r}")
    if not bool(checked.isfinite().all()):
        raise InputError("mask holds NaN or infinite values; pass true, or a weight")
    if not bool(checked.any()):
        raise InputError("mask is empty: it must be true, or a weight, somewhere")
    return checked
