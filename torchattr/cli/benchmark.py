"""`torchattr benchmark`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import typer

from torchattr.cli import completion, options
from torchattr.cli.charts import show_json, show_table
from torchattr.cli.console import note, reported
from torchattr.cli.console import out as stdout
from torchattr.cli.loading import Load
from torchattr.cli.run import SKIPPED, Destinations, ModelSpec
from torchattr.core.paths import expanded
from torchattr.core.printable import printable
from torchattr.errors import InputError

if TYPE_CHECKING:
    from torchattr.evaluate import Benchmark, PlantedReport
    from torchattr.results import Entry

    Report: TypeAlias = Benchmark | PlantedReport

COLLAGE, PHOTOGRAPHS, PLANTED, DATA = "collage", "photographs", "planted", "data"
BUNDLED = (COLLAGE, PHOTOGRAPHS, PLANTED)

BELONGS: Mapping[str, Sequence[str]] = {
    "--model": (PHOTOGRAPHS, DATA),
    "--n": (COLLAGE, PLANTED),
    "--metric": (COLLAGE, PHOTOGRAPHS, DATA),
    "--plant": (PLANTED,),
}
"""The pictures that options belong to; all others that are checked belong to those of users."""

PAGE = "benchmark.html"

_FILES = "tables (.txt), figures (.png), raw values (.npz)"
WRITTEN = {False: _FILES, True: f"{_FILES}, a row for each picture and method (values/*.parquet)"}


Pictures = Annotated[
    str | None,
    typer.Argument(
        help="collage: fresh scenes with true masks, for the bundled model; photographs: the"
        " bundled ones, for a real network; planted: networks whose decision is known by"
        " construction",
        show_default="collage; with --model, photographs",
    ),
]
Data = Annotated[
    str | None, typer.Option(help="Folder of your own pictures, for --boxes", metavar="FOLDER")
]
Boxes = Annotated[
    str | None,
    typer.Option(
        help="Boxes of the objects in --data: a table (.csv, .tsv, .parquet) with the columns path,"
        " label, x0, y0, x1, y1, or the .json of COCO",
        metavar="FILE",
    ),
]
Model = Annotated[
    str | None,
    typer.Option(
        help="Network of the photographs, or of --data, such as lite0 or torchvision:NAME",
        show_default="lite0",
        metavar="MODEL",
        autocompletion=completion.models,
    ),
]
Number = Annotated[
    int | None,
    typer.Option(
        "-n",
        "--n",
        help="Number of scenes, or of planted pictures",
        show_default="12, of planted 16",
    ),
]
Seed = Annotated[int, typer.Option(help="Seed of scenes and planted pictures")]
Methods = Annotated[
    list[str] | None,
    typer.Option(
        "--method",
        help="Attribution method (see torchattr methods); repeatable; default all",
        autocompletion=completion.methods,
    ),
]
Metrics = Annotated[
    list[str] | None,
    typer.Option(
        "--metric", help="Metric, such as deletion (not of planted); repeatable; default all"
    ),
]
Plants = Annotated[
    list[str] | None,
    typer.Option("--plant", help="Case of planted, such as saturated; repeatable; default all"),
]
Out = Annotated[
    str | None,
    typer.Option(
        help="Write the results to this folder",
        show_default=f"none; with --data {options.OUT}",
        metavar="FOLDER",
    ),
]
Html = Annotated[
    str | None,
    typer.Option(
        help="Write a self-contained HTML report",
        show_default=f"none; with --data {PAGE} in --out",
        metavar="FILE",
    ),
]


def benchmark(
    pictures: Pictures = None,
    data: Data = None,
    boxes: Boxes = None,
    model: Model = None,
    weights: options.Weights = None,
    trust: options.Trust = False,
    n: Number = None,
    seed: Seed = 1,
    method: Methods = None,
    metric: Metrics = None,
    option: options.MethodOptions = None,
    plant: Plants = None,
    scores: options.Scores = None,
    device: options.Device = "auto",
    backend: options.Backend = "auto",
    out: Out = None,
    overwrite: options.Overwrite = False,
    logdir: options.Logdir = None,
    html: Html = None,
    json: options.Json = False,
    load: Load = None,
) -> None:
    """Measure methods where the truth is known: which are right?

    On the collage pictures: all metrics, a ranking with intervals, and how far the metrics agree.
    On planted ones: which methods find what decides by construction. On photographs and on your own
    data (--data, --boxes), only methods that share one forward are measured unless you name some.
    With --data, the same command goes on where a former one ended, however it ended.
    """
    with reported():
        kind = _kind(pictures, data, boxes, model)
        _check_belongs(
            kind,
            {
                "--model": model,
                "--n": n,
                "--metric": metric,
                "--plant": plant,
                "--weights": weights,
                "--trust": trust or None,
                "--scores": scores,
                "--device": None if device == "auto" else device,
                "--backend": None if backend == "auto" else backend,
            },
        )
        asked = _Asked.of(method, metric, option)
        if data is not None and boxes is not None:
            out = out or options.OUT
            html = html or str(Path(out) / PAGE)
            which = ModelSpec(
                model or "lite0", weights, device, backend, trust, options.meaning_of(scores)
            )
            job = _on_data(data, boxes, which, asked, expanded(out, InputError))
        else:
            job = _on_bundled(kind, model, n, seed, asked, plant)
        where = Destinations(out, overwrite, logdir, html, f"torchattr benchmark: {kind}")
        from torchattr.kernels import backend as running_on

        with running_on(backend):
            raise typer.Exit(_run(kind, job, where, json))


def _kind(pictures: str | None, data: str | None, boxes: str | None, model: str | None) -> str:
    """Return which pictures are measured.

    Raises:
        InputError: an unknown kind, or options of two.
    """
    if (data is None) != (boxes is None):
        raise InputError(
            "--data and --boxes belong together: the folder of your pictures, and the file with the"
            " boxes of their objects"
        )
    if data is not None:
        if pictures is not None:
            raise InputError(
                f"--data names your own pictures, so {pictures!r} does not go with it; leave out"
                " one of them"
            )
        return DATA
    kind = pictures or (COLLAGE if model is None else PHOTOGRAPHS)
    if kind not in BUNDLED:
        raise InputError(
            f"pictures must be {COLLAGE}, {PHOTOGRAPHS} or {PLANTED}, got {pictures!r}; pictures of"
            " yours are named by --data and --boxes"
        )
    return kind


def _check_belongs(kind: str, given: Mapping[str, Any]) -> None:
    """Check that options belong to the pictures that are measured.

    Raises:
        InputError: one belongs to others.
    """
    for option, value in given.items():
        kinds = BELONGS.get(option, (DATA,))
        if value not in (None, []) and kind not in kinds:
            *others, last = (f"--{one}" if one == DATA else one for one in kinds)
            listed = f"{', '.join(others)} and {last}" if others else last
            raise InputError(f"{option} belongs to torchattr benchmark {listed}")


@dataclass(frozen=True)
class _Asked:
    """The methods, the metrics, and the options of methods by their names.

    methods, metrics: `None` is all.
    """

    methods: list[str] | None
    metrics: list[str] | None
    options: Mapping[str, Mapping[str, Any]]

    @classmethod
    def of(
        cls, methods: list[str] | None, metrics: list[str] | None, texts: list[str] | None
    ) -> _Asked:
        """Read the options of the methods.

        Raises:
            InputError: an option that no method has, or an invalid value.
        """
        from torchattr.methods import registered_methods
        from torchattr.runs import options_by_method

        names = methods or list(registered_methods())
        given = options_by_method(texts, names) if texts else {}
        return cls(methods or None, metrics or None, given)


@dataclass(frozen=True)
class _Job:
    """What is measured.

    names: of the entries that its report will have.
    measure: measures.
    panels: makes further entries of the report.
    """

    names: Sequence[str]
    measure: Callable[[], Report]
    panels: Callable[[Any], Iterable[Entry]] = lambda _: ()


def _on_bundled(
    kind: str,
    model: str | None,
    n: int | None,
    seed: int,
    asked: _Asked,
    plants: list[str] | None,
) -> _Job:
    """Return what measures on bundled pictures.

    Raises:
        ModelError: an unknown model.
    """
    from torchattr.evaluate import Benchmark, PlantedReport, planted
    from torchattr.evaluate import benchmark as measure
    from torchattr.models import load_model

    common: dict[str, Any] = {
        "seed": seed,
        "methods": asked.methods,
        "options": asked.options,
        "show_progress": True,
    }
    if n is not None:
        common["n"] = n
    if kind == PLANTED:
        return _Job(PlantedReport.ENTRIES, lambda: planted(plants=plants or None, **common))
    loaded = None if model is None else load_model(model)
    return _Job(
        Benchmark.ENTRIES,
        lambda: measure(kind, model=loaded, metrics=asked.metrics, **common),
    )


def _on_data(
    data: str,
    boxes: str,
    which: ModelSpec,
    asked: _Asked,
    out: Path,
) -> _Job:
    """Return what measures on the user's own pictures, after all quick checks.

    Raises:
        TorchattrError: whatever of these does not fit.
    """
    from torchattr.bulk import AnnotatedPictures, DataBenchmark, panel_entries
    from torchattr.evaluate import Benchmark, BenchmarkPlan

    source = AnnotatedPictures(data, boxes)
    plan = BenchmarkPlan.of(asked.methods, asked.metrics, asked.options)
    loaded = which.load()

    @cache
    def begun() -> DataBenchmark:
        return DataBenchmark.begin(
            *(loaded, source, plan, out),
            weights=which.weights,
            only_shared=not asked.methods,
            show_progress=True,
        )

    return _Job(
        Benchmark.ENTRIES,
        lambda: begun().run(show_progress=True),
        lambda found: panel_entries(begun(), found),
    )


def _run(kind: str, job: _Job, where: Destinations, as_json: bool) -> int:
    """Measure, print and write; return the exit code."""
    from torchattr.evaluate import Benchmark

    sink = where.sink()
    with sink:
        # Before minutes of measuring.
        sink.claim([f"{kind}/{name}" for name in job.names])
        report = job.measure()
        if as_json:
            show_json(report.as_dict())
        else:
            _show(report)
        panels = list(job.panels(report))
        sink.claim([entry.path for entry in panels])
        files = [file for entry in [*report.entries(), *panels] for file in sink.add(entry)]
        left_out = report.left_out if isinstance(report, Benchmark) else {}
        for name, reason in left_out.items():
            sink.skip(name, reason)
    if not as_json:
        for file in files:
            stdout.print(f"  {printable(str(file))}", style="dim", soft_wrap=True)
        where.say("the benchmark", WRITTEN[kind == DATA])
    return SKIPPED if left_out else 0


def _show(report: Report) -> None:
    for title, table in report.tables().items():
        stdout.print(title, style="bold")
        show_table(table.head, table.rows)
        stdout.print()
    for text in report.notes():
        note(text)
