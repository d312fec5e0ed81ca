"""`torchattr run`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from torchattr.cli import options
from torchattr.cli.console import note, out, reported
from torchattr.cli.run import SKIPPED
from torchattr.core.printable import printable


def run(
    data: Annotated[
        str, typer.Argument(metavar="DATA", help="Data set: a folder of pictures, ...")
    ],
    method: Annotated[
        list[str], typer.Option(help="Attribution method (see torchattr methods); repeatable")
    ],
    store: Annotated[str, typer.Option("--out", help="Store of maps", metavar="FOLDER")],
    model: options.Model = "demo",
    weights: options.Weights = None,
    trust: options.Trust = False,
    target: Annotated[
        list[str] | None,
        typer.Option(
            help="Class index or name, top3, or label for each picture's own; default top1;"
            " repeatable"
        ),
    ] = None,
    layer: Annotated[
        list[str] | None,
        typer.Option(help="Layer of class activation maps (see torchattr layers); repeatable"),
    ] = None,
    rule: options.Rules = None,
    composite: options.Composite = None,
    output: options.Output = None,
    scores: options.Scores = None,
    memory: options.Memory = "auto",
    reduce: Annotated[
        str, typer.Option(help="Channels to one value a pixel: sum, luma, max-abs, or none")
    ] = "sum",
    keep: Annotated[
        str,
        typer.Option(help="Resolution: that of the method's layer, or the input's: layer, pixels"),
    ] = "layer",
    dtype: Annotated[str, typer.Option(help="float32, float16 or uint8")] = "float16",
    shard_size: Annotated[int, typer.Option(min=1, help="Pictures in each shard")] = 256,
    batch_size: Annotated[
        int | None, typer.Option(min=1, help="Pictures at once; default: what fits into memory")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of random methods")] = 0,
    device: options.Device = "auto",
    backend: options.Backend = "auto",
    workers: Annotated[
        int | None, typer.Option(min=0, help="Processes that read pictures; default: by cores")
    ] = None,
    rank: Annotated[
        int | None,
        typer.Option(min=0, help="Number of this process; default: as torchrun or SLURM say"),
    ] = None,
    world: Annotated[int | None, typer.Option(min=1, help="Number of all processes")] = None,
    leases: Annotated[
        bool,
        typer.Option("--leases", help="Take any free shard, so that processes may come and go"),
    ] = False,
) -> None:
    """Explain a whole data set into a store of maps (Zarr) with a table of its pictures (Parquet).

    The same command goes on where a former one ended, however it ended. Several processes share the
    work: start it under torchrun or SLURM, or with --rank and --world, or with --leases.
    """
    with reported():
        from torchattr.methods import checked_memory

        kept: Any = {"reduce": reduce.replace("-", "_"), "keep": keep}
        import torchattr.bulk as bulk

        report = bulk.run(
            model,
            data,
            method,
            target or "top1",
            out=store,
            layer=layer or (),
            rules=options.rules_of(rule or ()),
            composite=composite,
            output=options.entry_of(output),
            activation=options.meaning_of(scores),
            memory=checked_memory(memory),
            **kept,
            dtype=dtype,
            shard_size=shard_size,
            batch_size=batch_size,
            seed=seed,
            weights=weights,
            trust=trust,
            device=device,
            backend=backend,
            workers=workers,
            rank=rank,
            world=world,
            leases=leases,
        )
        raise typer.Exit(_told(report.out, report.is_complete))


def _told(path: Path, is_complete: bool) -> int:
    """Say what the store holds, and return the exit code."""
    from torchattr.bulk import open_maps

    maps = open_maps(path)
    failed = maps.rows.num_rows - len(maps.finished)
    line = f"Wrote maps of {len(maps.finished)} of {len(maps)} pictures to {path}"
    out.print(printable(line), soft_wrap=True)
    if not is_complete:
        note("other shards are left to other processes, or to the same command again")
    if failed:
        reasons = maps.rows.column("reason").drop_null()
        note(f"{failed} pictures have no maps, see the column reason; the first: {reasons[0]}")
    return SKIPPED if failed else 0
