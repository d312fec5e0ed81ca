"""`torchattr benchmark`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

from torchattr.cli import options
from torchattr.cli.charts import show_table
from torchattr.cli.console import note, reported
from torchattr.cli.console import out as stdout
from torchattr.cli.loading import Load
from torchattr.cli.run import Destinations
from torchattr.core.printable import printable

if TYPE_CHECKING:
    from torchattr.evaluate import Benchmark, PlantedReport

    Report: TypeAlias = Benchmark | PlantedReport

COLLAGE, PHOTOGRAPHS, PLANTED = "collage", "photographs", "planted"


def benchmark(
    pictures: Annotated[
        str | None,
        typer.Argument(
            help="collage: fresh scenes with true masks, for the bundled model; photographs: the"
            " bundled ones, for a real network; planted: networks whose decision is known by"
            " construction",
            show_default="collage; with --model, photographs",
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            help="Network of the photographs, such as lite0", show_default="lite0", metavar="MODEL"
        ),
    ] = None,
    n: Annotated[
        int | None,
        typer.Option(
            "-n",
            "--n",
            help="Number of scenes, or of planted pictures",
            show_default="12, of planted 16",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of scenes and planted pictures")] = 1,
    method: Annotated[
        list[str] | None,
        typer.Option(help="Attribution method (see torchattr methods); repeatable; default all"),
    ] = None,
    metric: Annotated[
        list[str] | None,
        typer.Option(
            help="Metric of collage and photographs, such as deletion; repeatable; default all"
        ),
    ] = None,
    plant: Annotated[
        list[str] | None,
        typer.Option(help="Case of planted, such as saturated; repeatable; default all"),
    ] = None,
    out: options.OutIfAny = None,
    overwrite: options.Overwrite = False,
    logdir: options.Logdir = None,
    html: options.Html = None,
    load: Load = None,
) -> None:
    """Measure methods where the truth is known: which are right?

    On the collage pictures: all metrics, a ranking with intervals, and how far the metrics agree.
    On planted ones: which methods find what decides by construction. On photographs, only methods
    that share one forward are measured unless you name some.
    """
    with reported():
        chosen = pictures or (COLLAGE if model is None else PHOTOGRAPHS)
        where = Destinations(out, overwrite, logdir, html, f"torchattr benchmark: {chosen}")
        _run(chosen, _measure(chosen, model, n, seed, method, metric, plant), where)


def _measure(
    pictures: str,
    model: str | None,
    n: int | None,
    seed: int,
    methods: list[str] | None,
    metrics: list[str] | None,
    plants: list[str] | None,
) -> Callable[[], Report]:
    """Return what measures, after all checks of names.

    Raises:
        InputError: an option of the other kind of pictures, or an unknown name.
        RegistryError: an unknown method.
    """
    from torchattr.errors import InputError
    from torchattr.evaluate import benchmark as measure
    from torchattr.evaluate import planted
    from torchattr.models import load_model

    if pictures not in (COLLAGE, PHOTOGRAPHS, PLANTED):
        raise InputError(
            f"pictures must be {COLLAGE}, {PHOTOGRAPHS} or {PLANTED}, got {pictures!r}"
        )
    if model is not None and pictures != PHOTOGRAPHS:
        raise InputError("--model belongs to torchattr benchmark photographs")
    if n is not None and pictures == PHOTOGRAPHS:
        raise InputError("--n belongs to torchattr benchmark collage and planted")
    given = {"--metric": metrics, "--plant": plants}
    foreign = "--metric" if pictures == PLANTED else "--plant"
    if given[foreign]:
        own = COLLAGE if pictures == PLANTED else PLANTED
        raise InputError(f"{foreign} belongs to torchattr benchmark {own}")
    number = {} if n is None else {"n": n}
    if pictures == PLANTED:
        return lambda: planted(
            methods or None, plants or None, seed=seed, show_progress=True, **number
        )
    loaded = None if model is None else load_model(model)
    return lambda: measure(
        pictures,
        model=loaded,
        seed=seed,
        methods=methods or None,
        metrics=metrics or None,
        show_progress=True,
        **number,
    )


def _run(pictures: str, measure: Callable[[], Report], where: Destinations) -> None:
    from torchattr.evaluate import Benchmark, PlantedReport

    names = PlantedReport.ENTRIES if pictures == PLANTED else Benchmark.ENTRIES
    sink = where.sink()
    with sink:
        # Before minutes of measuring.
        sink.claim([f"{pictures}/{name}" for name in names])
        report = measure()
        for title, table in report.tables().items():
            stdout.print(title, style="bold")
            show_table(table.head, table.rows)
            stdout.print()
        for text in report.notes():
            note(text)
        for entry in report.entries():
            for file in sink.add(entry):
                stdout.print(f"  {printable(str(file))}", style="dim", soft_wrap=True)
    where.say("the benchmark", "tables (.txt), figures (.png), raw values (.npz)")
