"""An explanation as HTML: a whole page, or what a notebook shows."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from PIL import ImageShow

from torchattr.core.versions import versions
from torchattr.errors import InputError, ShapeError
from torchattr.results.entries import ClassNames, ShownExample
from torchattr.results.explained import Explained
from torchattr.results.html_page import PagePart, notes_html, page
from torchattr.results.rows import with_rows
from torchattr.results.subjects import subjects_of
from torchattr.show import page_style

MOST_SHOWN = 4
"""The examples that a notebook shows of its own accord."""


def explanation_page(
    explanation: Explained,
    *,
    title: str = "Explanation",
    class_names: ClassNames | None = None,
    cell: int = 256,
    **options: Any,
) -> str:
    """Return a self-contained page: the pictures of each example, then what the rules rewrote.

    It works offline, runs no scripts, fits narrow windows, and follows the reader's light or dark
    scheme.

    Args:
        explanation: the result of :func:`torchattr.explain`.
        title: of the page.
        class_names, cell: see :func:`torchattr.results.save_explanation`.
        options: `images`, `boxes`, `names`, `probabilities`, `activation`, as there.

    Raises:
        ShapeError: as there.

    >>> import torch, torchattr as ta
    >>> model = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU(), torch.nn.Flatten())
    >>> ex = ta.explain(model, torch.rand(1, 3, 8, 8), ["saliency"])
    >>> ex.to_html(title="Why?").startswith("<!DOCTYPE html>")
    True
    """
    whole = with_rows(explanation)
    examples = _examples(whole, class_names, options)
    bodies = [(one.subject.name, _panel_html(one, cell)) for one in examples]
    notes = notes_html(whole.notes, whole.refused)
    if not any(body for _, body in bodies):
        bodies = [("Explanation", _as_text(whole, ""))]
    parts = [PagePart(name, "Evidence per class", body, versions()) for name, body in bodies]
    if notes:
        parts.append(PagePart("Coverage", "What the rules rewrote", notes, versions()))
    return page(escape(title), parts, {})


def shown(explanation: Explained) -> str:
    """Show an explanation in a notebook: the panels of the first examples, and the coverage once.

    Colours and fonts are those of the notebook.
    """
    try:
        whole = with_rows(explanation)
    except ShapeError as reason:
        return _as_text(explanation, str(reason))
    return _fragment(whole, _examples(whole, None, {}, MOST_SHOWN))


def show_explanation(
    explanation: Explained, *, class_names: ClassNames | None = None, **options: Any
) -> None:
    """Show the panels of all examples: in a notebook as HTML, else in the system's picture viewer.

    Args:
        explanation: the result of :func:`torchattr.explain`.
        class_names: see :func:`torchattr.results.save_explanation`.
        options: `images`, `boxes`, `names`, `probabilities`, `activation`, as there.

    Raises:
        InputError: nothing can be drawn, or the system has no picture viewer.
    """
    whole = with_rows(explanation)
    examples = _examples(whole, class_names, options)
    if notebook := _notebook():
        notebook.display(notebook.HTML(_fragment(whole, examples)))
        return
    panels = [panel for one in examples if (panel := one.panel())]
    if not panels:
        raise InputError("the inputs or the maps are no pictures, so there is nothing to show")
    for panel in panels:
        if not ImageShow.show(panel.image()):
            raise InputError(
                "this system has no picture viewer; write the pictures with save(FOLDER), or the"
                " text of to_html() into a file for a browser"
            )


def _notebook() -> Any:
    """Return the module that displays objects in this notebook; `None` outside of notebooks."""
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    return None if getattr(shell, "kernel", None) is None else sys.modules["IPython"].display


def _examples(
    explanation: Explained,
    class_names: ClassNames | None,
    options: Mapping[str, Any],
    most: int | None = None,
) -> list[ShownExample]:
    return [
        ShownExample.of(explanation, index, subject, class_names)
        for index, subject in enumerate(subjects_of(explanation, **options)[:most])
    ]


def _fragment(explanation: Explained, examples: Sequence[ShownExample]) -> str:
    panels = [panel for one in examples if (panel := _panel_html(one, _CELL))]
    notes = notes_html(explanation.notes, explanation.refused)
    if not panels:
        return _as_text(explanation, "") + notes
    count = explanation.inputs.batch_size
    if count > 1:
        panels = [f"<h4>Example {number}</h4>{panel}" for number, panel in enumerate(panels)]
    hidden = count - len(examples)
    more = f"<p>{hidden} more: .show() has all {count} examples</p>" if hidden else ""
    all_shown = "".join(panels)
    return f'<style>{page_style()}</style>{all_shown}<div class="torchattr">{more}{notes}</div>'


def _panel_html(example: ShownExample, cell: int) -> str:
    panel = example.panel(cell)
    return "" if panel is None or panel.source is None else panel.source.html()


def _as_text(explanation: Explained, reason: str) -> str:
    return f"<div><code>{escape(repr(explanation))}</code></div><div>{escape(reason)}</div>"


_CELL = 224
