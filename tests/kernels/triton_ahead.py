"""Compile every kernel as the backend launches it, for a GPU that need not be there.

Prints, as JSON, what was compiled: the kernel, the operation that launched it, the compute
capability, and how often each instruction that loads from global memory or stores there stands in
its PTX. Run as a script: Triton's interpreter, in which the tests run, compiles nothing.
Arguments: the compute capability, the names of windows, and the dtypes.
"""

from __future__ import annotations

import json
import re
import sys
from collections import Counter

import torch
from triton.backends.compiler import GPUTarget
from triton.runtime import driver, jit

from torchattr.kernels import Window, order_of
from torchattr.kernels.triton_backend import TritonBackend

BACKEND = TritonBackend()
WINDOWS = {
    "2x2": Window((2, 2), (2, 2), (0, 0), (1, 1)),
    "3x3": Window((3, 3), (2, 2), (1, 1), (1, 1)),
    "3x3x3": Window((3, 3, 3), (3, 3, 3), (0, 0, 0), (1, 1, 1)),
    "16x16": Window((16, 16), (16, 16), (0, 0), (1, 1)),
    "200": Window((200,), (100,), (0,), (2,), True),
}


class Pretended:
    """A driver without a device."""

    def __init__(self, capability: int) -> None:
        self._target = GPUTarget("cuda", capability, 32)

    def get_current_target(self) -> GPUTarget:
        return self._target

    def get_current_device(self) -> int:
        return 0

    def get_current_stream(self, device: int) -> int:
        return 0


def compiled_calls() -> list[tuple[str, object]]:
    """Have launches compile only, and give the list that their kernels are added to."""
    calls: list[tuple[str, object]] = []
    launch = jit.JITFunction.run

    def run(self, *args, grid, warmup, **kwargs):
        kernel = launch(self, *args, grid=grid, warmup=True, **kwargs)
        calls.append((self.fn.__name__, kernel))
        return kernel

    jit.JITFunction.run = run
    return calls


def rectifiers(x: torch.Tensor):
    """Launch all kernels that work on runs."""
    order, ones = order_of(x), torch.ones(x.shape[1])
    _, mask = yield "relu", BACKEND.relu(x)
    yield "relu6 in place", BACKEND.relu(x, 6.0, True)
    yield "pack_mask", BACKEND.pack_mask(x, order, None)
    for gate in ("gradient", "guided", "deconvolution"):
        yield gate, BACKEND.relu_backward(x, mask, order, gate)
    yield "batch_norm_relu", BACKEND.batch_norm_relu(x, ones, ones)
    back = BACKEND.batch_norm_relu_backward(x, mask, ones, order, "guided")
    yield "batch_norm_relu_backward", back


def pools(x: torch.Tensor, window: Window, name: str):
    values, switches = yield f"max_pool {name}", BACKEND.max_pool(x, window)
    yield f"unpool {name}", BACKEND.unpool(values, switches, x.shape, window)
    if window.tells_open:
        gated = BACKEND.unpool_gated(values, switches, x.shape, window, "guided")
        yield f"unpool_gated {name}", gated


def pictures(window: Window, dtype: torch.dtype, last: bool) -> torch.Tensor:
    shape = {1: (2, 32, 1000), 2: (2, 32, 56, 56), 3: (2, 32, 12, 12, 12)}[len(window.extent)]
    x = torch.ones(shape, dtype=dtype)
    return x.movedim(1, -1).contiguous().movedim(-1, 1) if last else x


def launches(dtype: torch.dtype, names: list[str]):
    yield rectifiers(torch.ones(2, 32, 56, 56, dtype=dtype))
    for name in names:
        window = WINDOWS[name]
        for last in (False, True):
            kind = f"{name} channels last" if last else name
            yield pools(pictures(window, dtype, last), window, kind)


def driven(calls):
    """Send each operation's result back to it, and give its name once it is launched."""
    result = None
    while True:
        try:
            name, result = calls.send(result)
        except StopIteration:
            return
        yield name


def row(name: str, dtype: torch.dtype, capability: int, call: tuple[str, object]) -> dict:
    kernel, found = call
    memory = Counter(re.findall(r"\b(?:ld|st)\.global[\w.:]*", found.asm["ptx"]))
    return {
        "operation": name,
        "dtype": str(dtype).removeprefix("torch."),
        "capability": capability,
        "kernel": kernel,
        "hash": found.hash,
        "binary": len(found.asm["cubin"]),
        "memory": memory,
    }


def main(capability: int, names: list[str], dtypes: list[str]) -> None:
    driver.set_active(Pretended(capability))
    calls = compiled_calls()
    rows = []
    for dtype in (getattr(torch, name) for name in dtypes):
        for launched in launches(dtype, names):
            for name in driven(launched):
                rows += [row(name, dtype, capability, call) for call in calls]
                calls.clear()
    # Other sizes of pictures, with rows that start as evenly, need no other kernels.
    for size in (40, 72, 104):
        x = torch.ones(3, 32, size, size)
        for launched in (rectifiers(x), pools(x, WINDOWS["3x3"], "3x3")):
            for name in driven(launched):
                rows += [row(f"{name} again", torch.float32, capability, call) for call in calls]
                calls.clear()
    sys.stdout.write(json.dumps(rows))


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2].split(","), sys.argv[3:])
