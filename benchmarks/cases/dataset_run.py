"""Whole data sets: what a run costs beyond its attributions, and how it grows."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any

import captum.attr
import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision.models import get_model_weights

import torchattr as ta
from benchmarks.cases.base import Case, Row
from benchmarks.measure.dataset_child import (
    Numbers,
    quiet,
    started_alone,
    tiny,
    waited_for,
    write_pictures,
)
from benchmarks.measure.timing import Runs, Times, by_turns
from benchmarks.report.text import number, say, table
from benchmarks.settings import Settings
from benchmarks.tasks import LAYERS, network
from torchattr.models import LoadedModel

BATCH, TURNS = 8, 2
LAYER = LAYERS["resnet18"]
FIVE = ("saliency", "deconvolution", "guided_backprop", "grad_cam", "guided_grad_cam")


class DatasetRun(Case):
    """`torchattr.run` on photographs of 500 × 375 pixels, and on numbers where only ids matter."""

    name = "dataset_run"
    title = "Whole data sets"
    how = (
        "Runs and what they are compared with take turns; the figures are medians of two turns."
        " Memory and many ids are measured once."
    )

    def missing(self, settings: Settings) -> str | None:
        lacking = [name for name in ("zarr", "pyarrow") if find_spec(name) is None]
        return (
            f"it needs {' and '.join(lacking)}: pip install 'torchattr[data]'" if lacking else None
        )

    def run(self, settings: Settings) -> Iterator[dict[str, Any]]:
        quick = settings.quick
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            steps: list[Callable[[], dict[str, Any]]] = [
                lambda: overhead(folder, 16 if quick else 400, FIVE, settings),
                lambda: overhead(folder, 16 if quick else 2000, ("guided_backprop",), settings),
                lambda: plain_script(folder, 8 if quick else 200, settings),
                lambda: memory(2000 if quick else 20_000),
                lambda: many_ids(folder, 2000 if quick else 1_000_000),
                lambda: two_processes(folder, 16 if quick else 400, settings),
            ]
            for step in steps:
                row = step()
                say(row)
                yield row

    def tables(self, rows: Sequence[Row]) -> list[str]:
        text = (
            "What a run over a data set costs. *Overhead* is the time of a run from call to return"
            " beyond that of `explain` on the same batches, which are in memory already:"
            " starting, reading, decoding, encoding and writing, as far as they do not hide behind"
            " the attributions. *Read ms* is what one picture takes to be read, decoded and"
            " preprocessed by one process, *alone ms* what its attributions take on all cores. On a"
            " CPU all of it shares the cores, so that no run has an overhead below"
            " read / (alone × cores). The plain script is a DataLoader with as many workers,"
            " Captum's GuidedBackprop, and `np.save` of all channels for each picture."
        )
        return [text, "", *table(["what", "pictures", "figures"], map(_cells, rows))]


def _cells(row: Row) -> list[str]:
    own = {key: value for key, value in row.items() if key not in ("name", "pictures", "network")}
    figures = ", ".join(f"{key.replace('_', ' ')} {_shown(value)}" for key, value in own.items())
    return [row["name"], str(row["pictures"]), figures]


def _shown(value: Any) -> str:
    return number(value) if isinstance(value, (int, float)) else str(value)


def _loaded(name: str, device: torch.device) -> LoadedModel:
    transform = get_model_weights(name).DEFAULT.transforms()
    return LoadedModel(name, network(name).to(device), transform)


def overhead(
    folder: Path, count: int, methods: Sequence[str], settings: Settings
) -> dict[str, Any]:
    """Compare a run with its attributions alone."""
    loaded = _loaded("resnet18", settings.device)
    pictures = write_pictures(folder / f"pictures_{count}", count)
    started = time.perf_counter()
    batches = list(_batches(loaded, pictures, settings.device))
    reading = time.perf_counter() - started

    def alone(batches: Sequence[Tensor]) -> None:
        for inputs in batches:
            found = ta.explain(loaded.model, inputs, list(methods), ta.TopK(1), layer=LAYER)
            found.scores.cpu()

    alone(batches[:1])
    own = _run(loaded, pictures, methods, folder, layer=LAYER)
    times = _by_turns({"run": own, "alone": lambda: alone(batches)}, settings)
    what = "five methods" if len(methods) > 1 else methods[0]
    return {
        "name": f"overhead, {what}",
        "network": "resnet18",
        "pictures": count,
        "run_s": median(times["run"]),
        "alone_s": median(times["alone"]),
        "overhead": _ratio(times, "run", "alone") - 1,
        "read_ms": 1e3 * reading / count,
        "alone_ms": 1e3 * median(times["alone"]) / count,
    }


def _run(
    loaded: LoadedModel, pictures: Path, methods: Any, folder: Path, **options: Any
) -> Callable[[], object]:
    """Return a run into a new store whenever it is called."""
    return lambda: ta.run(
        *(loaded, pictures, methods),
        out=Path(tempfile.mkdtemp(dir=folder)) / "maps.zarr",
        batch_size=BATCH,
        watch=quiet,
        **options,
    )


def _by_turns(runs: Runs, settings: Settings) -> dict[str, list[float]]:
    return by_turns(runs, 1 if settings.quick else TURNS, settings.device)


def _ratio(times: Times, one: str, other: str) -> float:
    """Return the median over turns of one time as a share of another."""
    return median(a / b for a, b in zip(times[one], times[other], strict=True))


def _batches(loaded: LoadedModel, pictures: Path, device: torch.device) -> Iterator[Tensor]:
    source = ta.PictureFolder(pictures)
    positions = range(len(source.ids()))
    for start in range(0, len(positions), BATCH):
        rows = [loaded.preprocess(source.read(k)).tensor for k in positions[start : start + BATCH]]
        yield torch.stack(rows).to(device)


class _Files(Dataset):
    def __init__(self, pictures: Path, transform: Callable[[Image.Image], Tensor]) -> None:
        self._paths, self._transform = sorted(pictures.iterdir()), transform

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self._transform(Image.open(self._paths[index]).convert("RGB")), index


def plain_script(folder: Path, count: int, settings: Settings) -> dict[str, Any]:
    """Compare a run with what a user would write without this package."""
    loaded = _loaded("resnet50", settings.device)
    pictures = write_pictures(folder / "few", count)
    script = partial(_script, loaded, pictures, folder, settings.device)
    own = _run(loaded, pictures, "guided_backprop", folder)
    times = _by_turns({"run": own, "script": script}, settings)
    return {
        "name": "plain script",
        "network": "resnet50",
        "pictures": count,
        "run_s": median(times["run"]),
        "script_s": median(times["script"]),
        "ratio": _ratio(times, "run", "script"),
    }


def _script(loaded: LoadedModel, pictures: Path, folder: Path, device: torch.device) -> None:
    out = Path(tempfile.mkdtemp(dir=folder))
    workers = max((os.cpu_count() or 2) - 1, 1)
    loader = DataLoader(_Files(pictures, loaded.transform), BATCH, num_workers=workers)
    method = captum.attr.GuidedBackprop(loaded.model)
    for inputs, indices in loader:
        inputs = inputs.to(device).requires_grad_()
        with torch.no_grad():
            targets = loaded.model(inputs).argmax(1)
        maps = method.attribute(inputs, target=targets).detach().cpu().numpy()
        for index, values in zip(indices.tolist(), maps, strict=True):
            np.save(out / f"{index}.npy", values)


def memory(count: int) -> dict[str, Any]:
    """Return the growth of a process's memory with each picture."""
    child = started_alone("memory", count=count)
    return {"name": "memory", "pictures": count, **waited_for(child)}


def many_ids(folder: Path, count: int) -> dict[str, Any]:
    """Return how long a large data set takes to list, to resume and to open."""
    listing = _listing(folder / "names", count)
    model, source, out = tiny(), Numbers(count), folder / "many.zarr"
    options: dict[str, Any] = {"out": out, "watch": quiet, "batch_size": 256}
    started = time.perf_counter()
    ta.run(model, source, "saliency", **options)
    whole = time.perf_counter() - started
    resume = _seconds(lambda: ta.run(model, source, "saliency", workers=0, **options))
    opening = _seconds(lambda: ta.open_maps(out).row(source.ids()[count // 2]))
    return {
        "name": "many ids",
        "pictures": count,
        "listing_s": listing,
        "resume_s": resume,
        "opening_s": opening,
        "slowest_s": max(listing, resume, opening),
        "run_s": whole,
    }


def _listing(folder: Path, count: int) -> float:
    """Return how long it takes to list this many files in a thousand folders."""
    for start in range(0, count, 1000):
        own = folder / f"{start // 1000:04d}"
        own.mkdir(parents=True)
        for number_ in range(start, min(start + 1000, count)):
            os.close(os.open(own / f"{number_:07d}.jpg", os.O_CREAT | os.O_WRONLY))
    return _seconds(lambda: ta.PictureFolder(folder).ids())


def _seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def two_processes(folder: Path, count: int, settings: Settings) -> dict[str, Any]:
    """Return how much faster two processes are than one, each on one core."""
    pictures = write_pictures(folder / "shared", count)
    times: dict[str, list[float]] = {"one": [], "two": []}
    for _ in range(1 if settings.quick else TURNS):
        for world, name in enumerate(times, 1):
            times[name].append(_shared_by(world, pictures, folder))
    return {
        "name": "two processes",
        "network": "resnet18",
        "pictures": count,
        "one_s": median(times["one"]),
        "two_s": median(times["two"]),
        "speedup": _ratio(times, "one", "two"),
    }


def _shared_by(world: int, pictures: Path, folder: Path) -> float:
    """Return how long so many processes take for a data set, without their start."""
    out = Path(tempfile.mkdtemp(dir=folder)) / "maps.zarr"
    asked = {"pictures": pictures, "out": out, "world": world}
    children = [started_alone("process", rank=rank, **asked) for rank in range(world)]
    found = [waited_for(child) for child in children]
    ended: float = max(one["ended"] for one in found)
    return ended - float(min(one["started"] for one in found))
