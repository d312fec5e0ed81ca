"""Run methods over a whole data set, into a store of maps."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from torchattr.bulk import packages
from torchattr.bulk.durable import remove_parts
from torchattr.bulk.map_form import Keep, MapForm, Reduce
from torchattr.bulk.modelling import as_loaded
from torchattr.bulk.probing import explainer_of, planned, resolved_by_probe
from torchattr.bulk.progress import StderrProgress, Watch
from torchattr.bulk.record import check_same, complete, requested
from torchattr.bulk.settings import SHARD_SIZE, BulkSettings, Wanted
from torchattr.bulk.shards import TakeByLease, TakeByRank, TakeGiven, Taking, rank_and_world
from torchattr.bulk.sources import Pictures, as_pictures
from torchattr.bulk.store import LEASES, MapStore
from torchattr.bulk.work import Work
from torchattr.core.arguments import checked_flags
from torchattr.core.output_target import OutputTarget
from torchattr.core.paths import expanded
from torchattr.core.targets import plain
from torchattr.errors import InputError
from torchattr.kernels import backend as kernel_backend
from torchattr.methods import Memory, checked_count, checked_memory
from torchattr.models import LoadedModel, Meaning, is_user_file
from torchattr.runs import ExplainSettings

_MOST_WORKERS = 8


@dataclass(frozen=True)
class RunReport:
    """What a process did of a run.

    Attributes:
        out: the store.
        explained: pictures that this process worked on.
        shards_done: shards that are done, by whichever process.
        shards: number of all shards.

    >>> RunReport(Path("maps.zarr"), 256, 1, 4).is_complete
    False
    """

    out: Path
    explained: int
    shards_done: int
    shards: int

    @property
    def is_complete(self) -> bool:
        """Whether all shards are done."""
        return self.shards_done == self.shards


@checked_flags
def run(
    model: str | nn.Module | LoadedModel,
    data: Any,
    methods: str | Sequence[str] | Mapping[str, Mapping[str, Any]],
    targets: Wanted | Sequence[Wanted] = "top1",
    *,
    out: str | Path,
    layer: str | Sequence[str] = (),
    rules: Mapping[str, str] | None = None,
    composite: str | None = None,
    options: Sequence[str] = (),
    output: str | int | None = None,
    activation: Meaning | None = None,
    memory: Memory = "auto",
    reduce: Reduce = "sum",
    keep: Keep = "layer",
    dtype: str = "float16",
    shard_size: int = SHARD_SIZE,
    batch_size: int | None = None,
    seed: int = 0,
    weights: str | Path | None = None,
    transform: Any = None,
    trust: bool = False,
    device: str | torch.device = "auto",
    backend: str = "auto",
    workers: int | None = None,
    rank: int | None = None,
    world: int | None = None,
    leases: bool = False,
    shards: Sequence[int] | None = None,
    watch: Watch | None = None,
) -> RunReport:
    """Explain every picture of a data set by several methods, into a store of maps.

    The ids of the data set are cut into shards. A shard that was written under its final name is
    done: a process that is killed costs the shards that it was working on, and the same call
    finishes the rest. Any number of processes may work on one store. Its maps are the same bit for
    bit however many there are, in which order they work and how often they are killed, on one kind
    of device, with one batch size: batches are cut from shards, and methods that draw random
    numbers draw them from each picture's id. A picture that cannot be read gets a row with the
    reason, and no map. Open the store with :func:`open_maps`.

    Args:
        model: a name, as for `torchattr explain`; a module, or a :class:`LoadedModel`, whose
            device is kept.
        data: a folder of pictures, with or without subfolders for the classes, or any
            :class:`Pictures`.
        methods: names of methods, or a dict from names to the options of their `attribute`. All
            gradient methods share one forward.
        targets: what is explained of each picture: the index or name of a class, `"top3"`,
            `"label"` for the picture's own label, or a function of the output such as
            :class:`Difference`.
        out: folder of the store, such as `maps.zarr`; one that another call began is continued.
        layer: for the methods that use a layer; none for the last spatial one, with a warning.
        rules: additional rules, see :func:`explain`.
        composite: for methods that are made of rules, such as lrp.
        options: of the methods by name, such as `"n_steps=20"` for all that have it, or
            `"rise.n_masks=40"` for one; also those of their constructors.
        output: entry of the model's output that holds the scores.
        activation: the meaning of the scores, see :class:`LoadedModel`.
        memory: how much a forward may remember, see :class:`GradientAttribution`.
        reduce: how channels become one value a pixel: `"sum"`, `"luma"`, `"max_abs"`, or `"none"`.
        keep: `"layer"` keeps the resolution that each method returns; `"pixels"` enlarges it to the
            input's.
        dtype: `"float32"`, `"float16"` or `"uint8"`. The latter two have a scale for each map.
        shard_size: ids in each shard.
        batch_size: pictures at once; by default as many as fit into free memory. It is found out
            once for a store, and halved by a process whose memory runs out.
        seed: what the seeds of random methods are derived from.
        weights: see :func:`torchattr.models.load_model`.
        trust: see :func:`torchattr.models.load_model`.
        transform: the preprocessing of a module, from an image to a tensor `(C, H, W)`.
        device: `"auto"` uses a GPU if there is one; each process of a machine another.
        backend: kernel backend, see :func:`backend`.
        workers: processes that read pictures; 0 reads in this one.
        rank: number of this process; by default as torchrun or SLURM say.
        world: number of all processes; shard `s` belongs to rank `s % world`.
        leases: take any shard that no other process holds instead, so that processes may come and
            go.
        shards: numbers of the shards to work on, as something else hands them out; shard `s` holds
            the sorted ids from `s * shard_size` on.
        watch: is told how far the run has come; by default, `sys.stderr` is.

    Returns:
        What this process did. It is *not* the state of other processes, which may still be at work.

    Raises:
        FolderError: the store cannot be written, or was begun with another model, method or
            preprocessing.
        PackageError: Zarr or PyArrow is not installed.
        WorkerError: a process that reads pictures died.
        OutOfMemory: not even one picture fits into memory, or reading takes more than there is.
        TorchattrError: a setting that does not fit.

    >>> import tempfile, torchattr as ta
    >>> from torchattr.models.collage import examples
    >>> folder, out = examples()[0].path.parent, tempfile.mkdtemp() + "/maps.zarr"
    >>> quiet = lambda progress: None
    >>> done = ta.run("demo", folder, "saliency", out=out, workers=0, watch=quiet)
    >>> done.explained
    4
    >>> ta.open_maps(out).arrays["saliency"].shape[:2]
    (4, 1)
    """
    packages.zarr()
    packages.parquet()
    named, layers = _by_name(methods), _several(layer)
    settings = BulkSettings(
        ExplainSettings(
            *(tuple(named), (), layers, rules or {}, output, checked_memory(memory)),
            composite=composite,
            options=_several(options),
        ),
        named,
        _several(targets),
        MapForm(reduce, keep),
        *(dtype, shard_size, batch_size, seed),
    )
    place = TakeByRank(*rank_and_world(rank, world))
    folder, source = _folder(out), as_pictures(data)
    # A user's file may register the backend, so it is checked after that file has run.
    with kernel_backend("auto" if isinstance(model, str) and is_user_file(model) else backend):
        loaded = as_loaded(
            *(model, weights, device), transform=transform, trust=trust, activation=activation
        )
    with kernel_backend(backend):
        taking = _taking(folder, place, leases, shards)
        going = _Going(taking, _workers(workers), watch or StderrProgress(_named(place)))
        return _run(loaded, source, settings, folder, weights, going)


@dataclass(frozen=True)
class _Going:
    """How a process works, on which its maps do not depend."""

    taking: Taking
    workers: int
    watch: Watch


def _run(
    loaded: LoadedModel,
    source: Pictures,
    settings: BulkSettings,
    out: Path,
    weights: str | Path | None,
    going: _Going,
) -> RunReport:
    plan, columns = planned(loaded, settings)
    ids, named = source.ids(), None if weights is None else str(weights)
    asked = requested(loaded, settings, source, ids, named)
    store = MapStore.find(out)
    if store is None:
        resolved = resolved_by_probe(plan, columns, settings, source)
        store = MapStore.create(out, complete(asked, resolved))
    check_same(out, store.record, asked)
    remove_parts(out)
    explainer = explainer_of(plan, columns, settings, store.resolved)
    work = Work(store, source, ids, explainer, going.taking, going.workers, going.watch)
    done = work.run()
    return RunReport(out, done, len(store.tables.done()), len(store.shards))


def _by_name(methods: Any) -> dict[str, Mapping[str, Any]]:
    """Return the options of each method."""
    options: Mapping[str, Any] = methods if isinstance(methods, Mapping) else {}
    return {name: options.get(name, {}) for name in _several(methods)}


def _several(given: Any) -> tuple[Any, ...]:
    """Return one value or several as several."""
    given = plain(given)
    return (given,) if isinstance(given, (str, int, OutputTarget)) else tuple(given)


def _folder(out: str | Path) -> Path:
    """Return the folder of the store, whose parent is made when the store is.

    Raises:
        InputError: no name.
    """
    if not str(out).strip():
        raise InputError("out is empty; name a folder for the maps, such as maps.zarr")
    return expanded(out, InputError).absolute()


def _workers(asked: int | None) -> int:
    """Return the number of processes that read pictures."""
    if asked is not None:
        return checked_count(asked, "workers", 0)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return max(min((cores or 1) - 1, _MOST_WORKERS), 1)


def _taking(folder: Path, place: TakeByRank, leases: bool, shards: Sequence[int] | None) -> Taking:
    if shards is not None:
        return TakeGiven(tuple(map(int, shards)))
    return TakeByLease(folder / LEASES) if leases else place


def _named(place: TakeByRank) -> str:
    return f"rank {place.rank}" if place.world > 1 else ""
