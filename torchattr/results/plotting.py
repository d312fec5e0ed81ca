"""Maps of an explanation on Matplotlib axes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from torchattr.core.arguments import checked_flags
from torchattr.errors import InputError, ShapeError
from torchattr.models import Box
from torchattr.results.entries import ShownExample, heading_of
from torchattr.results.explained import Explained
from torchattr.results.rows import with_rows
from torchattr.results.subjects import subjects_of
from torchattr.show import plot_style, score_text

_INCHES = 3.2


@checked_flags
def plot_explanation(
    explanation: Explained,
    method: str | None = None,
    *,
    example: int = 0,
    target: int | None = None,
    ax: Any = None,
    image: Any = None,
    box: Sequence[float] | None = None,
    bar: bool = True,
) -> Any:
    """Draw maps on Matplotlib axes as the panel draws them, with colour bars in their units.

    No window opens: without `ax`, the figure of the result is a new one, to be saved or shown like
    any other. Unlike colours, the numbers at the bars can be compared between maps of one method.

    Args:
        explanation: the result of :func:`torchattr.explain`.
        method: a key of the explanation; of a method on several layers `"grad_cam/layer4"`. `None`
            draws all of them.
        example: position in the batch.
        target: position among the targets; `None` draws all of them.
        ax: the axes to draw on, one for each map; `None` creates a figure.
        image: the picture as it was read; `None` draws the input, without the normalisation of a
            :class:`torchattr.models.LoadedModel`, else with its brightness stretched.
        box: left, top, right and bottom of the part of `image` that the input shows.
        bar: whether to add a colour bar to each map.

    Returns:
        the axes of a single map, else an array of axes `(targets, methods)`, as
        `matplotlib.pyplot.subplots` does.

    Raises:
        InputError: no such method, example or target, or nothing that can be drawn.
        ShapeError: `ax` that are not one for each map.

    >>> import torch, torchattr as ta
    >>> model = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU(), torch.nn.Flatten())
    >>> ex = ta.explain(model, torch.rand(1, 3, 8, 8), ["saliency"], targets=ta.TopK(2))
    >>> ex.plot().shape
    (2, 1)
    >>> ex.plot("saliency", target=0).get_title()
    'Saliency'
    """
    found = _example(explanation, example, image, box)
    keys = _chosen_keys(found, method)
    rows = _chosen_targets(found, target)
    axes = _axes(ax, len(rows), len(keys))
    for row, one in enumerate(rows):
        for column, key in enumerate(keys):
            plot_style(
                found.maps[key][one],
                found.subject.image,
                found.style(key),
                axes[row, column],
                box=found.subject.box,
                bar=bar,
                title=None if row else heading_of(key),
            )
        said = score_text(found.scores[one], found.subject.activation)
        axes[row, 0].set_ylabel(f"{found.targets[one]['name']}\n{said}")
    return axes[0, 0] if axes.size == 1 else axes


def _example(
    explanation: Explained, example: int, image: Any, box: Sequence[float] | None
) -> ShownExample:
    count = explanation.inputs.batch_size
    if not -count <= example < count:
        raise InputError(f"example {example} is out of range for a batch of {count}")
    whole = with_rows(explanation)
    subject = replace(subjects_of(whole)[example], image=image)
    subject = replace(subject, box=None if box is None else Box(*box))
    return ShownExample.of(whole, example % count, subject)


def _chosen_keys(found: ShownExample, method: str | None) -> list[str]:
    keys = list(found.drawable)
    if not keys:
        raise InputError(
            "the inputs are no pictures or the maps are none, so nothing can be drawn; pass image"
            " for inputs that belong to a picture"
        )
    if method is not None and method not in keys:
        raise InputError(f"method must be one of {', '.join(keys)}, got {method!r}")
    return keys if method is None else [method]


def _chosen_targets(found: ShownExample, target: int | None) -> list[int]:
    count = len(found.targets)
    if target is None:
        return list(range(count))
    if not -count <= target < count:
        raise InputError(f"target {target} is out of range for {count} targets")
    return [target % count]


def _axes(given: Any, rows: int, columns: int) -> np.ndarray:
    """Return axes `(rows, columns)`: those that were given, else those of a new figure."""
    if given is None:
        from matplotlib.figure import Figure

        size = (_INCHES * columns, _INCHES * rows)
        return Figure(figsize=size, layout="constrained").subplots(rows, columns, squeeze=False)
    axes = np.array(given, object)
    if axes.size != rows * columns:
        raise ShapeError(
            f"ax has {axes.size} axes for {rows * columns} maps; name a method and a target, or"
            f" make them with matplotlib.pyplot.subplots({rows}, {columns})"
        )
    return axes.reshape(rows, columns)
