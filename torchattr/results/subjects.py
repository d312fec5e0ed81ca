"""The examples of an explanation, with their pictures, names and probabilities."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from torchattr.core.outputs import activated_by
from torchattr.core.types import Activation
from torchattr.errors import ShapeError
from torchattr.models import Box
from torchattr.results.entries import Subject
from torchattr.results.explained import Explained
from torchattr.results.names import distinct_names


def subjects_of(
    explanation: Explained,
    *,
    images: Sequence[Any] | Tensor | None = None,
    boxes: Sequence[Sequence[float]] | None = None,
    names: Sequence[str] | None = None,
    probabilities: Tensor | None = None,
    activation: Activation | None = None,
    details: Mapping[str, Any] | None = None,
) -> list[Subject]:
    """Return how each example is shown; see :func:`torchattr.results.save_explanation`.

    Raises:
        ShapeError: images, boxes, names or probabilities that are not one per example, or an
            activation of an output that is not `(N, classes)`.
        InputError: an unknown activation.
        OutputError: a softmax of a single score, or of probabilities.
    """
    count = explanation.inputs.batch_size
    _check_counts(count, images=images, boxes=boxes, names=names, probabilities=probabilities)
    called = distinct_names(names if names is not None else numbered_names(count))
    chances, made_by = _probabilities(explanation, probabilities, activation)
    known = explanation.appearance
    return [
        Subject(
            name,
            None if images is None else images[index],
            None if boxes is None else Box(*boxes[index]),
            None if chances is None else chances[index].tolist(),
            subtitle=None if known is None else known.caption,
            details={**({} if known is None else known.record), **(details or {})},
            activation=made_by,
        )
        for index, name in enumerate(called)
    ]


def numbered_names(count: int) -> list[str]:
    """Return numbers as names: `00`, `01`, ..."""
    digits = max(len(str(count - 1)), 2)
    return [f"{index:0{digits}}" for index in range(count)]


def _check_counts(count: int, **given: Any) -> None:
    for argument, values in given.items():
        if values is not None and len(values) != count:
            raise ShapeError(f"{argument} has {len(values)} entries for {count} examples")


def _probabilities(
    explanation: Explained, given: Tensor | None, activation: Activation | None
) -> tuple[Tensor | None, Activation | None]:
    """Return the probabilities of the targets `(N, T)` and what made them, where they are known."""
    activated = None if activation is None else activated_by(activation)
    made_by = None if activation == "none" else activation
    if given is not None:
        return _of_targets(explanation, given), made_by
    output, targets = explanation.output, explanation.targets
    if targets is None or activation == "none":
        return None, None
    if activated is not None:
        if output.dim() != 2:
            raise ShapeError(
                f"activation needs scores (N, classes), but the output has {tuple(output.shape)};"
                " pass the probabilities of the targets instead"
            )
        return activated(output).cpu().gather(1, targets), made_by
    found = explanation.appearance and explanation.appearance.probabilities(output)
    return (found[0].cpu().gather(1, targets), found[1]) if found else (None, None)


def _of_targets(explanation: Explained, probabilities: Tensor) -> Tensor:
    if probabilities.shape == explanation.scores.shape:
        return probabilities
    if explanation.targets is None or probabilities.shape != explanation.output.shape:
        raise ShapeError(
            f"probabilities must have the shape {tuple(explanation.scores.shape)} of the targets,"
            f" or {tuple(explanation.output.shape)} of all classes,"
            f" got {tuple(probabilities.shape)}"
        )
    return probabilities.cpu().gather(1, explanation.targets)
