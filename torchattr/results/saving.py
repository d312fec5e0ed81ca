"""Save an explanation to a folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from torchattr.core.warn import warn
from torchattr.errors import RowsWarning, ShapeError
from torchattr.models import Box
from torchattr.results.entries import ClassNames, Subject, entry_of
from torchattr.results.explained import Explained
from torchattr.results.folder import RunFolder
from torchattr.results.names import distinct_names
from torchattr.results.rows import with_rows


def save_explanation(
    explanation: Explained,
    out: str | Path,
    *,
    images: Sequence[Any] | torch.Tensor | None = None,
    boxes: Sequence[Sequence[float]] | None = None,
    class_names: ClassNames | None = None,
    names: Sequence[str] | None = None,
    probabilities: torch.Tensor | None = None,
    details: Mapping[str, Any] | None = None,
    overwrite: bool = False,
    cell: int = 256,
) -> list[Path]:
    """Write a panel `<name>.png` and the raw maps `<name>.npz` of each example, and a manifest.

    The arrays have the resolution of the tensors and the names of the methods, with `targets` and
    `scores`; a panel is drawn if inputs or images are pictures. Files are complete or absent. A
    second call replaces the files of the first one, and no others.

    Args:
        explanation: the result of :func:`torchattr.explain`.
        out: the folder; created if needed.
        images: the N pictures as they were read; `None` draws the inputs, rescaled.
        boxes: for each picture left, top, right and bottom of what the model saw, in its pixels
            (`Prepared.box`); `None` for all of it.
        class_names: one name for each output, or a dict from indices; by default those of the
            model, if it is known with them.
        names: the file name of each example, without suffix; equal ones are numbered.
        probabilities: `(N, T)`, or `(N, K)` of all classes, in 0..1, to show instead of scores.
        details: further plain data for each example's entry in the manifest.
        overwrite: replace files of the same names that were not created by torchattr.
        cell: the shorter side of each picture in a panel, in pixels.

    Returns:
        the paths of all files, the manifest last.

    Raises:
        FolderError: `out` cannot be written to, or holds a file of the same name that was not
            created by torchattr.
        ShapeError: images, boxes, names or probabilities that are not one per example.

    Warns:
        RowsWarning: a method's result does not have one row per example; it is not saved, since it
            might end up under another example's name.

    >>> import torch, torchattr as ta
    >>> from tempfile import TemporaryDirectory
    >>> model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(192, 4), torch.nn.ReLU())
    >>> ex = ta.explain(model, torch.rand(2, 3, 8, 8), ["saliency"], targets=ta.TopK(2))
    >>> with TemporaryDirectory() as out:
    ...     [path.name for path in ex.save(out, names=["left", "right"])]
    ['left.png', 'left.npz', 'right.png', 'right.npz', 'manifest.json']
    """
    explanation = _whole(explanation)
    count = explanation.inputs.batch_size
    _check_counts(count, images=images, boxes=boxes, names=names, probabilities=probabilities)
    called = distinct_names(names if names is not None else numbered_names(count))
    chances = _of_targets(explanation, probabilities)
    written = []
    with RunFolder(out, overwrite) as folder:
        folder.claim(called)
        for index, name in enumerate(called):
            subject = Subject(
                name,
                None if images is None else images[index],
                None if boxes is None else Box(*boxes[index]),
                None if chances is None else chances[index].tolist(),
                details=details or {},
            )
            written += folder.add(entry_of(explanation, index, subject, class_names, cell))
        return [*written, folder.write_manifest()]


def _whole(explanation: Explained) -> Explained:
    whole = with_rows(explanation)
    for method in set(explanation) - set(whole):
        warn(f"{method} is not saved: {whole.refused[method]}", RowsWarning)
    return whole


def _check_counts(count: int, **given: Any) -> None:
    for argument, values in given.items():
        if values is not None and len(values) != count:
            raise ShapeError(f"{argument} has {len(values)} entries for {count} examples")


def numbered_names(count: int) -> list[str]:
    """Return numbers as names: `00`, `01`, ..."""
    digits = max(len(str(count - 1)), 2)
    return [f"{index:0{digits}}" for index in range(count)]


def _of_targets(explanation: Explained, probabilities: torch.Tensor | None) -> torch.Tensor | None:
    if probabilities is None or probabilities.shape == explanation.scores.shape:
        return probabilities
    if explanation.targets is None or probabilities.shape != explanation.output.shape:
        raise ShapeError(
            f"probabilities must have the shape {tuple(explanation.scores.shape)} of the targets,"
            f" or {tuple(explanation.output.shape)} of all classes,"
            f" got {tuple(probabilities.shape)}"
        )
    return probabilities.cpu().gather(1, explanation.targets)
