"""Save an explanation to a folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from torchattr.core.arguments import checked_flags
from torchattr.core.types import Activation
from torchattr.core.warn import warn
from torchattr.errors import RowsWarning
from torchattr.results.entries import ClassNames, entry_of
from torchattr.results.explained import Explained
from torchattr.results.folder import RunFolder
from torchattr.results.rows import with_rows
from torchattr.results.subjects import subjects_of


@checked_flags
def save_explanation(
    explanation: Explained,
    out: str | Path,
    *,
    images: Sequence[Any] | Tensor | None = None,
    boxes: Sequence[Sequence[float]] | None = None,
    class_names: ClassNames | None = None,
    names: Sequence[str] | None = None,
    probabilities: Tensor | None = None,
    activation: Activation | None = None,
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
        images: the N pictures as they were read; `None` draws the inputs, without the normalisation
            of a :class:`torchattr.models.LoadedModel`, else with their brightness stretched.
        boxes: for each picture left, top, right and bottom of what the model saw, in its pixels
            (`Prepared.box`); `None` for all of it.
        class_names: one name for each output, or a dict from indices; by default those of the
            model, if it is known with them.
        names: the file name of each example, without suffix; equal ones are numbered.
        probabilities: `(N, T)`, or `(N, K)` of all classes, in 0..1, to show instead of scores; by
            default those of a `LoadedModel`, if the meaning of its scores is known.
        activation: `"softmax"` or `"sigmoid"`, which the panel then names: what made the
            `probabilities`, or what makes them of the scores; `"none"` shows the scores.
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
    subjects = subjects_of(
        explanation,
        images=images,
        boxes=boxes,
        names=names,
        probabilities=probabilities,
        activation=activation,
        details=details,
    )
    written = []
    with RunFolder(out, overwrite) as folder:
        folder.claim([subject.name for subject in subjects])
        for index, subject in enumerate(subjects):
            written += folder.add(entry_of(explanation, index, subject, class_names, cell))
        return [*written, folder.write_manifest()]


def _whole(explanation: Explained) -> Explained:
    whole = with_rows(explanation)
    for method in set(explanation) - set(whole):
        warn(f"{method} is not saved: {whole.refused[method]}", RowsWarning)
    return whole
