"""Measurements in child processes; `python -m benchmarks.measure.child` measures memory.

The allocator is configured per process, the same for all sides.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

Allocator = Mapping[str, str]

GIVING_BACK: Allocator = {
    "MALLOC_MMAP_THRESHOLD_": str(2**16),
    "MALLOC_TRIM_THRESHOLD_": str(2**16),
}
"""Freed blocks of 64 KiB and more return to the system at once, so that resident memory is memory
in use, and not what an allocator keeps."""

KEEPING: Allocator = {
    "MALLOC_MMAP_THRESHOLD_": str(2**40),
    "MALLOC_TRIM_THRESHOLD_": str(2**40),
    "MALLOC_TOP_PAD_": str(2**26),
}
"""Freed memory is kept, so that its reuse causes no page faults."""

ROOT = Path(__file__).parents[2]


def measured_alone(what: str, **asked: Any) -> Any:
    """Run a measurement of memory in a child process and return its result."""
    options = [f"--{name}={value}" for name, value in asked.items()]
    return alone("benchmarks.measure.child", [what, *options], GIVING_BACK)


def alone(module: str, arguments: Sequence[str], allocator: Allocator) -> Any:
    """Run a module in a child process and return the JSON of its last line.

    Raises:
        RuntimeError: it failed.
    """
    done = subprocess.run(
        [sys.executable, "-m", module, *arguments],
        env={**os.environ, **allocator},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{module} {arguments} failed: {done.stderr.strip()[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def growth(options: argparse.Namespace) -> int:
    """Return the maximum growth of resident memory during a call, in bytes."""
    return grown(_side(options, options.batch), _side(options, 1))


def grown(run: Callable[[], Any], first: Callable[[], Any]) -> int:
    """Return the maximum growth of resident memory during a run, in bytes.

    One-time allocations by `first`, such as threads, are not counted.
    """
    first()
    before = _resident("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # Reset the peak.
    run()
    return _resident("VmHWM") - before


def largest_batch(options: argparse.Namespace) -> int:
    """Return the largest batch that fits into a fixed share of the GPU's memory, to 2 %."""
    import torch

    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.set_per_process_memory_fraction(options.budget * 2**20 / total)
    return largest(lambda batch: _fits(options, batch))


def largest(fits: Callable[[int], bool], precision: float = 0.02) -> int:
    """Return the largest number that fits: doubled while it does, then narrowed down."""
    low, high = 0, 1
    while fits(high):
        low, high = high, 2 * high
    while high - low > max(1, precision * low):
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low


def _fits(options: argparse.Namespace, batch: int) -> bool:
    import torch

    torch.cuda.empty_cache()
    try:
        _side(options, batch)()
    except torch.OutOfMemoryError:
        return False
    return True


def _side(options: argparse.Namespace, batch: int) -> Callable[[], Any]:
    import torch
    import torchvision

    from benchmarks.peers import OURS, PEERS
    from benchmarks.tasks import LAYERS, Task, images, inference

    torch.set_num_threads(options.threads)
    device = torch.device(options.device)
    model = torchvision.models.get_model(options.network, weights=None).eval().to(device)
    shown = images(batch, options.size, device)
    task = Task("GuidedBackprop", model, shown, LAYERS[options.network], 281)
    if options.side == "inference":
        return inference(task)
    libraries = {library.name: library for library in (OURS, *PEERS)}
    return libraries[options.side].run(replace(task))


def _resident(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    (line,) = (line for line in lines if line.startswith(f"{name}:"))
    return int(line.split()[1]) * 1024


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.measure.child", description=__doc__)
    parser.add_argument("what", choices=("growth", "largest_batch"))
    parser.add_argument("--network", required=True)
    parser.add_argument("--side", required=True)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--budget", type=float, default=0.0, help="MiB of the GPU's memory")
    options = parser.parse_args(arguments)
    measure = {"growth": growth, "largest_batch": largest_batch}[options.what]
    print(json.dumps(measure(options)))


if __name__ == "__main__":
    main()
