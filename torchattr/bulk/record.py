"""The record of a run: all that its maps depend on, and how another run differs from it."""

from __future__ import annotations

import json
import reprlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from torchattr.bulk.settings import BulkSettings
from torchattr.bulk.sources import Pictures
from torchattr.core.printable import printable
from torchattr.core.versions import versions
from torchattr.errors import FolderError
from torchattr.kernels import requested_backend
from torchattr.models import LoadedModel
from torchattr.runs import model_digest, plain_text, source_digest

FORMAT = 1
"""The number of the layout of stores."""

COMPARED = {
    "format": "layout of the store",
    "model": "model",
    "weights": "weights or layers, by their digest",
    "preprocessing": "preprocessing",
    "sources": "source code of the model, its transform or the methods, by its digest",
    "methods": "methods",
    "composite": "composite",
    "rules": "rules",
    "layers": "layers",
    "output": "entry of the output",
    "activation": "meaning of the scores",
    "targets": "targets",
    "reduce": "reduction of channels",
    "keep": "resolution of maps",
    "dtype": "dtype",
    "seed": "seed",
    "memory": "memory",
    "backend": "kernel backend",
    "shard_size": "shard size",
    "batch_size": "batch size",
    "ids": "ids of the data set, by their number and digest",
    "versions": "versions",
}
"""The entries of a record that a run must share to continue it, and what messages call them."""

_PACKAGES = ("torchattr", "torch", "torchvision", "pillow")
"""The packages whose versions must be the same; others are recorded only."""


@dataclass(frozen=True)
class Resolved:
    """What the process that began a run found out, for all processes that work on it.

    inputs: the shape `(C, H, W)` of each input.
    arrays: the shape of a picture's maps in each array, `(T, h, w)`.
    targets: a name for each target.
    layers: the layers of the methods that read one.
    activation: what turns the model's scores into probabilities.
    batch_size: number of pictures at once.
    threads: number of threads, which sums depend on; `None` on a GPU.
    """

    inputs: tuple[int, ...]
    arrays: Mapping[str, tuple[int, ...]]
    targets: tuple[str, ...]
    layers: tuple[str, ...]
    activation: Any
    batch_size: int
    threads: int | None

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> Resolved:
        """Return it from a record."""
        plain = {key: _tuples(value) for key, value in record["resolved"].items()}
        return cls(**plain)


def _tuples(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _tuples(item) for key, item in value.items()}
    return tuple(value) if isinstance(value, list) else value


def requested(
    loaded: LoadedModel,
    settings: BulkSettings,
    source: Pictures,
    ids: Sequence[str],
    weights: str | None,
) -> dict[str, Any]:
    """Return the record of a run, as plain data, without what it has yet to find out.

    Args:
        loaded: the model.
        settings: what is computed.
        source: the data set.
        ids: its ids.
        weights: where the model's weights came from.
    """
    explain = settings.explain
    return {
        "format": FORMAT,
        **of_model(loaded, explain.names, weights),
        "methods": {name: _plain(options) for name, options in settings.all_options.items()},
        "composite": explain.composite,
        "rules": _plain(explain.rules),
        "layers": list(explain.layers),
        "output": explain.output,
        "targets": _plain(list(settings.targets)),
        "reduce": settings.form.reduce,
        "keep": settings.form.keep,
        "dtype": settings.dtype,
        "seed": settings.seed,
        "memory": explain.memory,
        "shard_size": settings.shard_size,
        "batch_size": settings.batch_size,
        "ids": {"count": len(ids), "digest": ids_digest(ids)},
        "data": _plain(source.described()),
        "class_names": _listed(source.class_names()),
    }


def of_model(loaded: LoadedModel, methods: Sequence[str], weights: str | None) -> dict[str, Any]:
    """Return the part of a record that says with what maps are made, as plain data.

    Args:
        loaded: the model.
        methods: the methods by name.
        weights: where the model's weights came from.
    """
    own = versions()
    return {
        "model": loaded.name,
        "weights": model_digest(loaded),
        "weights_from": weights,
        "preprocessing": json.loads(plain_text(loaded.transform)),
        "sources": source_digest(loaded, methods),
        "activation": loaded.activation,
        "backend": requested_backend(),
        "model_class_names": _listed(loaded.class_names),
        "versions": {name: own.get(name) for name in _PACKAGES},
        "all_versions": own,
    }


def complete(record: Mapping[str, Any], resolved: Resolved) -> dict[str, Any]:
    """Return a record with what was found out."""
    return {**record, "resolved": json.loads(json.dumps(asdict(resolved)))}


def check_same(
    out: Path,
    begun: Mapping[str, Any],
    now: Mapping[str, Any],
    compared: Mapping[str, str] = COMPARED,
) -> None:
    """Check that a run may go on with what another began.

    Args:
        out: the folder.
        begun: the record of the run that began it.
        now: that of this run.
        compared: the entries that must be the same, and what messages call them.

    Raises:
        FolderError: it differs; the message says in what.
    """
    differing = list(_differences(begun, now, compared))
    if differing:
        raise FolderError(
            printable(
                f"out: {out} was begun with other settings: {'; '.join(differing)}. Run it with the"
                " same, or choose another folder"
            )
        )


def _differences(
    begun: Mapping[str, Any], now: Mapping[str, Any], compared: Mapping[str, str]
) -> Iterator[str]:
    for key, title in compared.items():
        before, after = begun.get(key), now[key]
        if key == "batch_size" and after is not None:
            # What was chosen then counts, whether it was asked for or found out.
            before = begun["resolved"]["batch_size"]
        elif key == "batch_size":
            continue
        if before != after:
            yield f"{title}: {_shown(before)}, now {_shown(after)}"


def _shown(value: Any) -> str:
    short = reprlib.Repr()
    short.maxstring = short.maxother = 160
    short.maxdict = short.maxlist = 12
    return short.repr(value)


def ids_digest(ids: Sequence[str]) -> str:
    """Return the digest of all ids, in order."""
    digest = sha256()
    for one in ids:
        digest.update(one.encode("utf-8", "surrogateescape") + b"\0")
    return digest.hexdigest()


def _plain(data: Any) -> Any:
    return json.loads(plain_text(data))


def _listed(names: Sequence[str] | None) -> list[str] | None:
    return None if names is None else list(names)
