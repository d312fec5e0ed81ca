"""`torchattr run`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from torchattr.cli import completion, options
from torchattr.cli.console import note, out, reported
from torchattr.cli.loading import Load
from torchattr.cli.run import SKIPPED
from torchattr.core.printable import printable

if TYPE_CHECKING:
    from torchattr.bulk import RunReport

Data = Annotated[
    str | None,
    typer.Argument(
        metavar="[DATA]",
        help="Data set: a folder of pictures, a table of their paths (.csv, .parquet), tars of"
        " WebDataset; default: the bundled pictures",
        show_default=False,
    ),
]
Methods = Annotated[
    list[str],
    typer.Option(
        "--method",
        help="Attribution method (see torchattr methods); repeatable",
        autocompletion=completion.methods,
    ),
]
Store = Annotated[str, typer.Option("--out", help="Store of maps", metavar="FOLDER")]
Targets = Annotated[
    list[str] | None,
    typer.Option(
        "--target",
        help="Class index or name, top3, or label for each picture's own; default top1; repeatable",
    ),
]
Layers = Annotated[
    list[str] | None,
    typer.Option(
        "--layer", help="Layer of class activation maps (see torchattr layers); repeatable"
    ),
]
Reduce = Annotated[
    str, typer.Option(help="Channels to one value a pixel: sum, luma, max-abs, or none")
]
Keep = Annotated[
    str, typer.Option(help="Resolution of maps: that of the method's layer, or pixels of the input")
]
DType = Annotated[str, typer.Option(help="float32, float16 or uint8")]
ShardSize = Annotated[int, typer.Option(min=1, help="Pictures in each shard")]
BatchSize = Annotated[
    int | None, typer.Option(min=1, help="Pictures at once; default: what fits into memory")
]
Seed = Annotated[int, typer.Option(min=0, help="Seed of random methods")]
Workers = Annotated[
    int | None, typer.Option(min=0, help="Processes that read pictures; default: by cores")
]
Rank = Annotated[
    int | None,
    typer.Option(min=0, help="Number of this process; default: as torchrun or SLURM say"),
]
World = Annotated[int | None, typer.Option(min=1, help="Number of all processes")]
Leases = Annotated[
    bool,
    typer.Option("--leases", help="Take any free shard, so that processes may come and go"),
]
Engine = Annotated[str, typer.Option(help="What hands out the shards: own (this command), or ray")]
Address = Annotated[
    str | None, typer.Option(help="Address of a cluster of Ray; default: the one that it finds")
]
Actors = Annotated[int | None, typer.Option(min=1, help="Actors of Ray; default: one a GPU")]


def run(
    method: Methods,
    store: Store,
    data: Data = None,
    model: options.Model = "demo",
    weights: options.Weights = None,
    trust: options.Trust = False,
    target: Targets = None,
    layer: Layers = None,
    rule: options.Rules = None,
    composite: options.Composite = None,
    option: options.MethodOptions = None,
    output: options.Output = None,
    scores: options.Scores = None,
    memory: options.Memory = "auto",
    reduce: Reduce = "sum",
    keep: Keep = "layer",
    dtype: DType = "float16",
    shard_size: ShardSize = 256,
    batch_size: BatchSize = None,
    seed: Seed = 0,
    device: options.Device = "auto",
    backend: options.Backend = "auto",
    workers: Workers = None,
    rank: Rank = None,
    world: World = None,
    leases: Leases = False,
    engine: Engine = "own",
    address: Address = None,
    actors: Actors = None,
    load: Load = None,
) -> None:
    """Explain a whole data set into a store of maps (Zarr) with a table of its pictures (Parquet).

    The same command goes on where a former one ended, however it ended. Several processes share the
    work: start it under torchrun or SLURM, or with --rank and --world, or with --leases.
    """
    with reported():
        from torchattr.methods import checked_memory

        form: Any = {"reduce": reduce.replace("-", "_"), "keep": keep, "dtype": dtype}
        how: Any = {"shard_size": shard_size, "batch_size": batch_size, "seed": seed}
        own: Any = {"rank": rank, "world": world, "leases": leases}
        explain = _run_by(engine, own, {"address": address, "actors": actors})
        report = explain(
            *(model, data or _bundled(model), method, target or "top1"),
            out=store,
            layer=layer or (),
            rules=options.rules_of(rule or ()),
            composite=composite,
            options=option or (),
            output=options.entry_of(output),
            activation=options.meaning_of(scores),
            memory=checked_memory(memory),
            weights=weights,
            trust=trust,
            device=device,
            backend=backend,
            workers=workers,
            **{**form, **how},
        )
        raise typer.Exit(_told(report))


def _bundled(model: str) -> Path:
    """Return the folder of the bundled pictures that a model is shown if there are no others."""
    from torchattr.models import find_images

    return find_images(["astronaut_cat" if model == "demo" else "cat"])[0].parent


def _run_by(
    engine: str, own: Mapping[str, Any], of_ray: Mapping[str, Any]
) -> Callable[..., RunReport]:
    """Return what runs: this process on its shards, or actors of Ray on all.

    Raises:
        InputError: an unknown engine, or options of the other one.
    """
    from torchattr.bulk import run, run_on_ray
    from torchattr.errors import InputError

    if engine not in ("own", "ray"):
        raise InputError(f"--engine must be own or ray, got {engine!r}")
    for name, value in (of_ray if engine == "own" else own).items():
        if value is not None and value is not False:
            raise InputError(f"--{name} does not go with --engine {engine}; leave it out")
    return partial(run, **own) if engine == "own" else partial(run_on_ray, **of_ray)


def _told(report: RunReport) -> int:
    """Print what the store holds, and return the exit code."""
    from torchattr.bulk import open_maps

    maps = open_maps(report.out)
    failed = maps.rows.num_rows - len(maps.finished)
    count = f"maps of {len(maps.finished)} of {len(maps)} pictures"
    line = f"Wrote {count} to" if report.explained else f"Nothing was left to do: kept {count} in"
    out.print(printable(f"{line} {report.out}"), soft_wrap=True)
    if not report.is_complete:
        note("other shards are left to other processes, or to the same command again")
    if failed:
        reasons = maps.rows.column("reason").drop_null()
        have = "picture has" if failed == 1 else "pictures have"
        note(f"{failed} {have} no maps, see the column reason; the first: {reasons[0]}")
    return SKIPPED if failed else 0
