"""Runs over data sets by Ray: its actors work on the shards that Ray hands out."""

from __future__ import annotations

import pickle
import traceback
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from torchattr.bulk import packages
from torchattr.bulk.modelling import as_loaded
from torchattr.bulk.progress import RunProgress
from torchattr.bulk.run import RunReport, run
from torchattr.bulk.settings import SHARD_SIZE
from torchattr.bulk.shards import Shards
from torchattr.bulk.sources import as_pictures
from torchattr.bulk.store import MapStore
from torchattr.core.paths import expanded
from torchattr.core.printable import printable
from torchattr.errors import InputError, TorchattrError, WorkerError
from torchattr.methods import checked_count

LOADING = ("weights", "device", "transform", "trust", "activation")
"""The arguments of :func:`run` that say how a model is loaded, which each actor does once."""

_RETRIES = 5
"""How often Ray tries a shard again whose actor died. By itself it would do so for ever."""

_KEPT = "shards that are done are kept: run the same again"


class ShardWorker:
    """Works on shards of a run: a class for `map_batches` of Ray Data, or of any other engine.

    A batch is a dict with the array `shard`, the numbers of shards; the answer has, for each, the
    number of pictures that were explained: 0 where the shard was done. What is explained goes into
    the store.

    Args:
        model: as for :func:`run`.
        data: as for :func:`run`.
        methods: as for :func:`run`.
        targets: as for :func:`run`.
        out: as for :func:`run`.
        options: as for :func:`run`.

    >>> import tempfile
    >>> from torchattr.models.collage import examples
    >>> folder, out = examples()[0].path.parent, tempfile.mkdtemp() + "/maps.zarr"
    >>> worker = ShardWorker("demo", folder, "saliency", out=out, shard_size=2, workers=0)
    >>> worker({"shard": np.array([1, 1])})["pictures"].tolist()
    [2, 0]
    """

    def __init__(
        self,
        model: Any,
        data: Any,
        methods: Any,
        targets: Any = "top1",
        *,
        out: str | Path,
        **options: Any,
    ) -> None:
        loading = {name: options.pop(name) for name in LOADING if name in options}
        self._what = as_loaded(model, **loading), as_pictures(data), methods, targets
        self._options = {**options, "out": out, "watch": _silent}

    def __call__(self, batch: Mapping[str, Any]) -> dict[str, Any]:
        done = [self._explained(int(shard)) for shard in batch["shard"]]
        return {"shard": batch["shard"], "pictures": np.array(done, int)}

    def _explained(self, shard: int) -> int:
        return run(*self._what, **self._options, shards=[shard]).explained


def run_on_ray(
    model: Any,
    data: Any,
    methods: Any,
    targets: Any = "top1",
    *,
    out: str | Path,
    address: str | None = None,
    actors: int | None = None,
    **options: Any,
) -> RunReport:
    """Explain every picture of a data set as :func:`run` does, by actors of Ray.

    An actor holds the model; Ray hands it shards, and starts another one where it dies. A run that
    is ended otherwise is continued by the same call, or by :func:`run`.

    Args:
        model: as for :func:`run`.
        data: as for :func:`run`.
        methods: as for :func:`run`.
        targets: as for :func:`run`.
        options: as for :func:`run`; all but `rank`, `world`, `leases`, `shards` and `watch`.
        out: folder of the store, at the same place on all machines.
        address: of the cluster; `None` for the one that Ray finds, else one on this machine.
        actors: number of actors; `None` for one a GPU, or half the cores of a cluster without any.

    Returns:
        What this call did; a shard that a killed actor has written counts as nothing.

    Raises:
        PackageError: Ray is not installed.
        FolderError: the store cannot be written, or was begun with other settings.
        WorkerError: actors died again and again, or an error that :func:`run` passes on; its trace
            is in the log of Ray.
        TorchattrError: as :func:`run`.
    """
    ray = packages.ray()
    if not ray.is_initialized():
        ray.init(address=address)
    source, out = as_pictures(data), expanded(out, InputError).absolute()
    size = checked_count(options.get("shard_size", SHARD_SIZE), "shard_size")
    shards = Shards(len(source.ids()), size)
    what = (model, source, methods, targets)
    # Also where all is done, so that a store that was begun with other settings is refused.
    left = _left(shards, out) or [0]
    explained = _explained_by_actors(ray, left, actors, what, {**options, "out": out})
    return RunReport(out, explained, len(MapStore.open(out).tables.done()), len(shards))


def _explained_by_actors(
    ray: Any,
    left: Sequence[int],
    actors: int | None,
    what: Sequence[Any],
    options: Mapping[str, Any],
) -> int:
    """Return the number of pictures that actors explained of the shards that are left."""
    gpus = int(ray.cluster_resources().get("GPU", 0))
    cores = int(ray.cluster_resources().get("CPU", 1))
    count = checked_count(actors, "actors") if actors else gpus or max(cores // 2, 1)
    worked = ray.data.from_items(
        [{"shard": shard} for shard in left], override_num_blocks=len(left)
    ).map_batches(
        _AnsweringWorker,
        fn_constructor_args=tuple(what),
        fn_constructor_kwargs=dict(options),
        batch_size=1,
        compute=ray.data.ActorPoolStrategy(size=min(count, len(left))),
        num_gpus=1 if gpus else 0,
        max_task_retries=_RETRIES,
    )
    try:
        return sum(map(_pictures, worked.iter_rows()))
    except ray.exceptions.RayError as error:
        first = str(error).partition("\n")[0]
        raise WorkerError(f"the actors of Ray cannot go on ({first}); {_KEPT}") from error


class _AnsweringWorker:
    """A worker whose errors are part of its answers: Ray passes on their text only, among traces.

    Takes what :class:`ShardWorker` does.
    """

    def __init__(self, *what: Any, **options: Any) -> None:
        self._what, self._options = what, options

    @cached_property
    def _worker(self) -> ShardWorker:
        return ShardWorker(*self._what, **self._options)

    def __call__(self, batch: Mapping[str, Any]) -> dict[str, Any]:
        try:
            return {**self._worker(batch), "error": [b""]}
        except TorchattrError as error:
            return _answer(batch, error)
        except Exception as error:  # noqa: BLE001 - of the user's data set, model or method
            # Ray shows what actors print; the trace is not part of the answer.
            traceback.print_exc()
            what = f"an actor of Ray failed with {type(error).__name__} ({error}); {_KEPT}"
            return _answer(batch, WorkerError(printable(what)))


def _answer(batch: Mapping[str, Any], error: TorchattrError) -> dict[str, Any]:
    return {"shard": batch["shard"], "pictures": np.array([0]), "error": [pickle.dumps(error)]}


def _pictures(row: Mapping[str, Any]) -> int:
    """Return the number of pictures of an answer.

    Raises:
        TorchattrError: it is an error.
    """
    if row["error"]:
        raise pickle.loads(row["error"])
    return int(row["pictures"])


def _left(shards: Shards, out: Path) -> list[int]:
    """Return the shards that are not done."""
    store = MapStore.find(out)
    done = set() if store is None else set(store.tables.done())
    return [shard for shard in range(len(shards)) if shard not in done]


def _silent(progress: RunProgress) -> None:
    """Report nothing: Ray says how far a run has come."""
