"""Launch kernels as the backend does, on a driver that only records, twice each.

Prints, as JSON, for each launch: the kernel, whether all that the driver was called with was the
same when Triton launched it and when it was launched directly, and how many of both calls
asked Triton. Run as a script, since the tests run in Triton's interpreter.
With the argument `every` it launches every kernel, otherwise a few.
"""

from __future__ import annotations

import json
import sys
from itertools import count
from typing import Any

import torch
from triton.runtime import driver, jit
from triton_accesses import tensors_of
from triton_ahead import (
    WINDOWS,
    Pretended,
    driven,
    elsewhere,
    misplaced_patches,
    pools,
    rectifiers,
)

from torchattr.kernels.triton.launch import Launch

Call = tuple[object, ...]
CALLS: list[Call] = []


class Launcher:
    """Records what Triton passes to the launcher of a compiled kernel."""

    def __init__(self, source: object, metadata: object) -> None:
        self.source = source

    def __call__(self, *arguments: object) -> None:
        CALLS.append((self.source, *arguments))


class Utils:
    """Loads nothing, but tells binaries apart."""

    numbers = count(1)

    def load_binary(self, *binary: object) -> tuple[int, ...]:
        return next(self.numbers), next(self.numbers), 0, 0, 1024

    def get_device_properties(self, device: int) -> dict[str, int]:
        return {"max_shared_mem": 2**20}

    def unload_module(self, module: int) -> None:
        pass


class Recorder(Pretended):
    """A driver whose launches are only recorded."""

    launcher_cls, utils = Launcher, Utils()


def operations(every: bool):
    """Launch each kernel, or a few, with some types, layouts and alignments."""
    plain = torch.ones(2, 16, 12, 12)
    if not every:
        yield from (rectifiers(x) for x in (plain, elsewhere(plain, 1)))
        return
    last = plain.bfloat16().contiguous(memory_format=torch.channels_last)
    for x in (plain, elsewhere(plain, 1), last):
        yield rectifiers(x)
        yield pools(x, WINDOWS["2x2"], "")
    for changed in (0, 1):
        yield misplaced_patches(torch.float32, 16, 0, changed)


def collected(every: bool) -> list[tuple[Launch, tuple[Any, ...]]]:
    """Return the launches of the backend's operations, and their tensors."""
    found: dict[tuple[Any, ...], tuple[Launch, tuple[Any, ...]]] = {}

    def noted(self: Launch, *tensors: Any) -> None:
        kinds = [(tensor.dtype, tensor.data_ptr() % 16) for tensor in tensors_of(tensors)]
        found[(self, *kinds)] = self, tensors

    begin, Launch.__call__ = Launch.__call__, noted
    for calls in operations(every):
        list(driven(calls))
    Launch.__call__ = begin
    return list(found.values())


def asked() -> list[str]:
    """Return a list to which the name of each kernel is added that Triton is asked to launch."""
    names: list[str] = []
    run = jit.JITFunction.run

    def counted(self, *args, **kwargs):
        names.append(self.fn.__name__)
        return run(self, *args, **kwargs)

    jit.JITFunction.run = counted
    return names


def is_same(one: object, other: object) -> bool:
    if isinstance(one, tuple) and isinstance(other, tuple):
        return len(one) == len(other) and all(map(is_same, one, other))
    if isinstance(one, torch.Tensor):
        return one is other
    if hasattr(one, "data") and hasattr(one, "extras"):  # The metadata for a user's hooks.
        return one.data == other.data
    return type(one) is type(other) and one == other


def main(every: bool) -> None:
    driver.set_active(Recorder(90))
    names = asked()
    rows, launches = [], collected(every)
    for launch, tensors in launches:
        launch(*tensors)
    first, asked_first = list(CALLS), len(names)
    CALLS.clear()
    for launch, tensors in launches:
        launch(*tensors)
    for one, other in zip(first, CALLS, strict=True):
        name = one[0].fn.fn.__name__
        rows.append({"kernel": name, "same": is_same(one, other), "function": one[5]})
    done = {"rows": rows, "first": asked_first, "second": len(names) - asked_first}
    sys.stdout.write(json.dumps(done))


if __name__ == "__main__":
    main("every" in sys.argv)
