"""Which methods are right where that is known, and what metrics say of them."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from benchmarks.cases.base import Case, Row
from benchmarks.report.text import number, say, table
from benchmarks.settings import Settings
from torchattr.errors import PackageError
from torchattr.evaluate import CHECKED, Benchmark, Check, benchmark, check, planted
from torchattr.evaluate.ground_truth.asked_methods import asked_methods
from torchattr.evaluate.ground_truth.collage_pictures import collage_pictures
from torchattr.evaluate.ground_truth.measured_methods import FittingMethods, fitting_methods
from torchattr.evaluate.ground_truth.metrics import METRICS
from torchattr.evaluate.ground_truth.photograph_pictures import photograph_pictures
from torchattr.models import LoadedModel, load_model

SEED = 1
PICTURES = 32
PLANTED = 16
TIMED = 2
"""Pictures of the batch whose time is measured."""

FEW = 3
REAL = "lite0"
"""The real network, whose weights are in a package that need not be installed."""

QUICK = ("saliency", "grad_cam", "lrp", "eigen_cam")
QUICK_METRICS = ("mass", "grid")
"""The pictures, methods and metrics of a quick run, which are cheap."""


class Truth(Case):
    """Planted truth, the benchmark on collage scenes, and the time of each method."""

    name = "truth"
    title = "Which methods are right"
    how = "Times are those of a single call, for orientation."

    def run(self, settings: Settings) -> Iterator[dict[str, Any]]:
        methods = QUICK if settings.quick else None
        n, planted_n = (FEW, FEW) if settings.quick else (PICTURES, PLANTED)
        yield {"name": "planted", **planted(methods, n=planted_n, seed=SEED).as_dict()}
        found = benchmark(n=n, seed=SEED, methods=methods)
        times = dict(_times(methods))
        say(f"{len(found.methods)} rows, {len(found.metrics)} metrics, {n} pictures")
        yield {"name": "collage", "pictures_measured": n, "ms": times, **found.as_dict()}
        try:
            real = load_model(REAL, device=settings.device)
        except PackageError as error:
            say(f"{REAL} is left out: {error}")
            return
        metrics = QUICK_METRICS if settings.quick else None
        yield {"name": REAL, **_photographs(real, methods, metrics).as_dict()}
        checked = QUICK[:1] if settings.quick else CHECKED
        yield {"name": f"check of {REAL}", "text": str(_checked(real, checked))}

    def tables(self, rows: Sequence[Row]) -> list[str]:
        by_name = {row["name"]: row for row in rows}
        lines = []
        if "planted" in by_name:
            lines += ["### Planted truth", "", *_planted(by_name["planted"])]
        if "collage" in by_name:
            lines += ["### Scenes", "", *_scenes(by_name["collage"])]
            lines += ["### Agreement of the metrics", "", *_agreement(by_name["collage"])]
        if REAL in by_name:
            lines += ["### A real network", "", *_real(by_name[REAL])]
        if f"check of {REAL}" in by_name:
            text = by_name[f"check of {REAL}"]["text"]
            lines += ["### Sanity checks of it", "", "```text", *text.splitlines(), "```", ""]
        return lines


def _times(methods: Sequence[str] | None) -> Iterator[tuple[str, float]]:
    """Yield the milliseconds of each method for a picture, of a batch."""
    pictures = collage_pictures(TIMED, SEED).asked
    for method in fitting_methods(pictures, asked_methods(methods)).methods:
        started = time.perf_counter()
        list(FittingMethods([method]).explained(pictures))
        yield method.name, 1e3 * (time.perf_counter() - started) / TIMED


def _photographs(
    real: LoadedModel, methods: Sequence[str] | None, metrics: Sequence[str] | None
) -> Benchmark:
    return benchmark("photographs", model=real, methods=methods, metrics=metrics)


def _checked(real: LoadedModel, methods: Sequence[str]) -> Check:
    """Check methods on the photographs; all of these are few, which the result says."""
    return check(real.model, photograph_pictures(real).inputs, list(methods), steps=4)


def _real(row: Row) -> list[str]:
    text = (
        "EfficientNet-Lite0 with ImageNet's classes explains the class that it predicts for each"
        " of the four bundled photographs, whose objects have boxes, and for each cell of a grid"
        " of them. Methods that need forwards of their own are left out. Four pictures tell little"
        " apart: read the columns, not the ranks."
    )
    return [text, "", *_ranking(row)]


def _planted(row: Row) -> list[str]:
    plants = list(row["plants"])
    gains = dict(zip(row["methods"], row["gains"]["value"], strict=True))
    order = sorted(
        row["methods"], key=lambda name: _found_first(row["verdicts"][name], gains[name])
    )
    text = (
        "What decides is known by construction. In brackets the gain: 1 if all attribution is"
        " there, 0 if no more than by chance. “Nothing” is a map of zeros, a dash no map that could"
        " tell. Rows in brackets are maps that know nothing of the network."
    )
    cells = (
        [name, *(_verdict(row, name, plant, gains[name][k]) for k, plant in enumerate(plants))]
        for name in order
    )
    meanings = [f"- **{name}**: {what}" for name, what in row["plants"].items()]
    return [text, "", *meanings, "", *table(["method", *plants], cells)]


def _found_first(verdicts: Mapping[str, str], gains: Sequence[float | None]) -> tuple[int, float]:
    known = [gain for gain in gains if gain is not None]
    return -list(verdicts.values()).count("found"), -sum(known) / max(1, len(known))


def _verdict(row: Row, method: str, plant: str, gain: float | None) -> str:
    verdict: str = row["verdicts"][method][plant]
    return verdict if gain is None or verdict == "nothing" else f"{verdict} ({_decimals(gain)})"


def _scenes(row: Row) -> list[str]:
    text = (
        f"Means over {row['pictures_measured']} scenes and as many cells of grids of seed"
        f" {row['seed']}, in which the bundled network explains one object. Arrows point to where a"
        " metric is better. The mean rank is that over the metrics of localisation and of"
        " faithfulness, with its 95% interval over the pictures; rows whose intervals overlap are"
        " not told apart."
    )
    bounded = "; ".join(f"{name}: {what}" for name, what in row["settings"].items())
    left_out = ", ".join(row["refused"])
    below = [f"Bounded: {bounded or 'none'}.", "", f"Left out: {left_out or 'none'}.", ""]
    return [text, "", *_ranking(row), *below]


def _ranking(row: Row) -> list[str]:
    """Return the table of a benchmark, with times if there are any."""
    times = row.get("ms")
    ranks, names = row["ranks"], row["methods"]
    order = sorted(range(len(names)), key=ranks["value"].__getitem__)
    arrows = {name: METRICS[name].title for name in row["metrics"]}
    cells = (
        [
            names[k],
            f"{ranks['value'][k]:.1f} ({ranks['low'][k]:.1f} to {ranks['high'][k]:.1f})",
            *map(_decimals, row["means"]["value"][k]),
            *([] if times is None else [number(times.get(names[k]))]),
        ]
        for k in order
    )
    head = ["method", "mean rank", *arrows.values(), *([] if times is None else ["ms"])]
    return [*table(head, cells)]


def _agreement(row: Row) -> list[str]:
    text = (
        "Spearman's correlation of each two metrics over the methods: 1 is the same order of the"
        " methods, 0 no relation."
    )
    pairs = zip(row["metrics"], row["agreement"], strict=True)
    cells = ([name, *map(_decimals, values)] for name, values in pairs)
    return [text, "", *table(["", *row["metrics"]], cells)]


def _decimals(value: float | None) -> str:
    return "–" if value is None else f"{round(value, 2) + 0.0:.2f}"
