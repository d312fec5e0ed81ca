"""Panels of some annotated pictures by the methods that rank best."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from PIL import Image, ImageDraw

from torchattr.bulk.annotated.annotation import Annotation
from torchattr.bulk.annotated.benchmark import DATA, DataBenchmark
from torchattr.bulk.annotated.seen_pictures import SeenPicture, SeenPictureReader, labelled
from torchattr.evaluate import Benchmark
from torchattr.explanation import Explanation
from torchattr.results import Entry, Subject, entry_of, plain_name

PICTURES, METHODS = 3, 4
GROUP = f"{DATA}/panels"
"""The folder of the panels among the results."""

_OUTLINE = (255, 60, 60)
_SHORT_SIDES = 150
"""How many outlines the shorter side of a picture would hold."""


def panel_entries(benchmark: DataBenchmark, found: Benchmark) -> Iterator[Entry]:
    """Yield a panel of each of the first pictures, with its boxes and the maps of the best methods.

    Args:
        benchmark: the pictures and the methods.
        found: its result.
    """
    chosen = _first(benchmark)
    own = {one.name for one in benchmark.plan.methods}
    best = [name for name in found.ranking if name in own][:METHODS]
    pictures = labelled(benchmark.loaded, list(chosen.values()), benchmark.form.activation)
    explained = benchmark.plan.explanation(pictures, best)
    for index, position in enumerate(chosen):
        yield _entry(benchmark, explained, index, position)


def _first(benchmark: DataBenchmark) -> dict[int, SeenPicture]:
    """Return the first pictures that were measured, by position; each file once."""
    reader = SeenPictureReader(benchmark.loaded, benchmark.source, benchmark.form)
    chosen: dict[int, SeenPicture] = {}
    paths: set[str] = set()
    for position, annotation in enumerate(benchmark.source.annotations):
        if len(chosen) == PICTURES:
            break
        read = reader.read(position) if annotation.path not in paths else None
        if isinstance(read, SeenPicture):
            chosen[position] = read
            paths.add(annotation.path)
    return chosen


def _entry(benchmark: DataBenchmark, explained: Explanation, index: int, position: int) -> Entry:
    annotation, picture = benchmark.source.annotations[position], benchmark.source.read(position)
    prepared = benchmark.loaded.preprocess(picture)
    name = plain_name(annotation.name)
    subject = Subject(
        name,
        _outlined(picture, annotation),
        prepared.box,
        heading="Input and its boxes",
        details={"source": annotation.path, "boxes": [list(box) for box in annotation.boxes]},
    )
    entry = entry_of(explained, index, subject, benchmark.loaded.class_names)
    return replace(entry, group=GROUP, title=annotation.name, index=index)


def _outlined(picture: Image.Image, annotation: Annotation) -> Any:
    shown = picture.copy()
    width = max(min(shown.size) // _SHORT_SIDES, 1)
    for left, top, right, bottom in annotation.boxes:
        # Outlines of Pillow include the right and bottom edge.
        ImageDraw.Draw(shown).rectangle((left, top, right - 1, bottom - 1), None, _OUTLINE, width)
    return shown
