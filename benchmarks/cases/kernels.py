"""Each fused operation against a copy, the eager sequence that it replaces, and `torch.compile`."""

from __future__ import annotations

import gc
from collections.abc import Callable, Sequence
from statistics import median
from typing import Any

import torch

from benchmarks.cases.base import Case, Row
from benchmarks.cases.fused_operations import Operation, images_of, operations, wrong
from benchmarks.measure.memory import MIB
from benchmarks.measure.timing import Times, by_turns, ratio
from benchmarks.report.text import number, say, table
from benchmarks.settings import Settings
from torchattr.kernels.api import Backend, Request
from torchattr.kernels.dispatch import backends

MEMORY = {"contiguous": torch.contiguous_format, "channels-last": torch.channels_last}


class Kernels(Case):
    name = "kernels"
    title = "Kernels"

    def run(self, settings: Settings) -> list[dict[str, Any]]:
        rows = []
        for dtype in dtypes(settings):
            for memory in MEMORY if settings.on_gpu else ["contiguous"]:
                made = operations(images(settings, dtype), settings.device, dtype, MEMORY[memory])
                for make in made.values():
                    rows += of_operation(make(), memory, settings)
                    gc.collect()
        return rows

    def tables(self, rows: Sequence[Row]) -> list[str]:
        head = ["operation", "type", "memory", "backend", "GB/s", "copy, GB/s", "of a copy", "ms"]
        return [
            "GB/s count each byte that must be read or written once; the copy is PyTorch's own,"
            " of a tensor of the same size. The eager sequence does the same with PyTorch's own"
            " operations, which save one byte per mask element and eight per index."
            " In brackets the backend's time as a share of it. Results were verified first.",
            "",
            *table([*head, "eager, ms", "compiled, ms"], map(_cells, rows)),
        ]


def dtypes(settings: Settings) -> tuple[torch.dtype, ...]:
    return (torch.float32, torch.bfloat16) if settings.on_gpu else (torch.float32,)


def images(settings: Settings, dtype: torch.dtype) -> int:
    """Return the number of images in a tensor of 64 MiB, or of 256 MiB on a GPU."""
    if settings.quick:
        return 1
    return images_of(256 if settings.on_gpu else 64, dtype)


def serving(device: torch.device, dtype: torch.dtype) -> list[Backend]:
    """Return the backends that support such tensors, by priority."""
    request = Request(device, dtype)
    return [backend for backend in backends().values() if backend.is_offered(request)]


def of_operation(operation: Operation, memory: str, settings: Settings) -> list[dict[str, Any]]:
    """Check each backend's result, then time the correct ones."""
    x = operation.x
    offered = serving(x.device, x.dtype)
    verdicts = {backend.name: wrong(operation, backend) for backend in offered}
    runs = beside(operation)
    compiled = _compiled(operation)
    if compiled is not None:
        runs["compiled"] = compiled
    for backend in offered:
        if not verdicts[backend.name]:
            runs[backend.name] = by(operation, backend)
    for run in runs.values():
        run()
    rounds = 1 if settings.quick else 4 * settings.rounds
    times = by_turns(runs, rounds, settings.device, repeats=10 if settings.on_gpu else 1)
    rows = []
    for backend in offered:
        row = {
            "operation": operation.name,
            "dtype": str(x.dtype).removeprefix("torch."),
            "memory": memory,
            "mib": x.nbytes / MIB,
            "backend": backend.name,
            "chosen": backend is offered[0],
            "rounds": rounds,
        }
        why = verdicts[backend.name]
        row |= {"wrong": why} if why else figures(times, backend.name, operation)
        say(*_cells(row))
        rows.append(row)
    return rows


def beside(operation: Operation) -> dict[str, Callable[[], Any]]:
    """Return the runs that the backends are compared with."""
    x = operation.x
    into = torch.empty_like(x)
    runs: dict[str, Callable[[], Any]] = {"copy": lambda: into.copy_(x), "eager": operation.eager}
    if operation.plain is not None:
        runs["plain"] = operation.plain
    return runs


def by(operation: Operation, backend: Backend) -> Callable[[], Any]:
    return lambda: operation.by(backend)


def _compiled(operation: Operation) -> Callable[[], Any] | None:
    """Return the compiled eager sequence, if there is a working compiler."""
    torch.compiler.reset()
    run = torch.compile(operation.eager)
    try:
        run()
    except RuntimeError as error:
        say(f"{operation.name} is not compiled here: {str(error).strip().splitlines()[0]}")
        return None
    return run


def figures(times: Times, name: str, operation: Operation) -> dict[str, Any]:
    """Return a backend's figures; those of bandwidth as medians of each round."""
    copied = 2 * operation.x.nbytes
    gb_s = {side: operation.moved / median(taken) / 1e9 for side, taken in times.items()}
    found = {
        "ms": 1e3 * median(times[name]),
        "gb_s": gb_s[name],
        "copy_gb_s": copied / median(times["copy"]) / 1e9,
        "of_copy": operation.moved / copied / ratio(times, name, "copy"),
        "eager_ms": 1e3 * median(times["eager"]),
        "to_eager": ratio(times, name, "eager"),
        "faster_than_eager": ratio(times, "eager", name),
        "eager_of_copy": operation.moved / copied / ratio(times, "eager", "copy"),
    }
    if "compiled" in times:
        found["compiled_ms"] = 1e3 * median(times["compiled"])
        found["to_compiled"] = ratio(times, name, "compiled")
        found["compiled_of_copy"] = operation.moved / copied / ratio(times, "compiled", "copy")
    if "plain" in times:
        found["plain_ms"] = 1e3 * median(times["plain"])
        found["to_plain"] = ratio(times, name, "plain")
    return found


def _cells(row: Row) -> list[str]:
    first = [row["operation"], row["dtype"], row["memory"], row["backend"]]
    if "wrong" in row:
        return [*first, row["wrong"], *[""] * 5]
    compiled = "–"
    if "compiled_ms" in row:
        compiled = f"{number(row['compiled_ms'])} ({number(row['to_compiled'])})"
    return [
        *first,
        number(row["gb_s"]),
        number(row["copy_gb_s"]),
        f"{100 * row['of_copy']:.0f} %",
        number(row["ms"]),
        f"{number(row['eager_ms'])} ({number(row['to_eager'])})",
        compiled,
    ]
