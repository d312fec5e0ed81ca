"""Compile every kernel as the backend launches it, without needing a GPU.

Prints, as JSON, for each compilation: the kernel, the operation that launched it, the compute
capability, the number of each instruction in its PTX that loads from or stores to global memory,
those of them that are wider than the launched tensors allow, and the dtypes that its tensor cores
multiply. Run as a script, since Triton's interpreter, in which
the tests run, compiles nothing. Arguments: the compute capability, the names of windows (`blocks`
adds products of every block, `misplaced` or `every misplaced` a few or
all tensors of odd places), and the dtypes.
"""

from __future__ import annotations

import json
import re
import sys
from collections import Counter

import numpy as np
import torch
from triton.backends.compiler import GPUTarget
from triton.runtime import driver, jit
from triton_accesses import misaligned, tensors_of

from torchattr.kernels import Window, order_of
from torchattr.kernels.patches import Boxes, Convolution, Epilogue, Patches, Pooling
from torchattr.kernels.triton import convolutions
from torchattr.kernels.triton.backend import TritonBackend
from torchattr.kernels.triton.patches import TritonPatches

BACKEND, PATCHES = TritonBackend(), TritonPatches()
CHOSEN = convolutions._block_for
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


Call = tuple[str, object, list[torch.Tensor]]


def compiled_calls() -> list[Call]:
    """Make launches only compile, and return the list to which their kernels are added.

    They return nothing, so that Triton is asked each time.
    """
    calls: list[Call] = []
    launch = jit.JITFunction.run

    def run(self, *args, grid, warmup, **kwargs):
        kernel = launch(self, *args, grid=grid, warmup=True, **kwargs)
        calls.append((self.fn.__name__, kernel, list(tensors_of(args))))

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


CONVOLUTIONS = {
    "1x1": (64, 256, 1, 1),
    "3x3": (64, 64, 1, 3),
    "3x3 of few channels": (3, 64, 1, 3),
    "3x3 in groups": (64, 64, 4, 3),
    "3x3 depthwise": (64, 64, 64, 3),
}
"""Input channels, output channels, groups and kernel size."""


def patches(channels: int, dtype: torch.dtype, size: int = 28) -> Patches:
    """Return patches whose height, width and number are not special to a compiler."""
    none = np.zeros(5, dtype=np.int64)
    boxes = Boxes.of(none, none + 2, none + 3, none + 9, none + 9)
    clean = torch.ones(1, size, size, channels, dtype=dtype)
    return Patches(clean, torch.ones(boxes.rows, channels, dtype=dtype), boxes)


def convolved(name: str, dtype: torch.dtype, kind: str = "", size: int = 28):
    inputs, outputs, groups, extent = CONVOLUTIONS[name]
    weight = torch.ones(outputs, inputs // groups, extent, extent, dtype=dtype)
    around = (extent // 2, extent // 2)
    conv = Convolution(weight, weight[:, 0, 0, 0], padding=around, groups=groups)
    x, residual = (patches(channels, dtype, size) for channels in (inputs, outputs))
    yield f"convolve {name}{kind}", PATCHES.convolve(x, x.boxes, conv, Epilogue(residual, 0.0))
    yield f"convolve {name} alone{kind}", PATCHES.convolve(x, x.boxes, conv, Epilogue())


def on_patches(dtype: torch.dtype, every: bool):
    """Launch the kernels on patches, the products with the first block or with every one."""
    x = patches(64, dtype)
    yield "gather patches", PATCHES.gather(x, Boxes.whole(x.boxes.table[:, 0], 28, 28))
    for maximum in (True, False):
        pooling = Pooling(maximum, (3, 3), (2, 2), (1, 1))
        yield f"pool patches {maximum}", PATCHES.pool(x, x.boxes, pooling)
    blocks = convolutions.EXACT if dtype == torch.float32 else convolutions.NARROW
    for block in blocks if every else blocks[:1]:
        convolutions._block_for = lambda *args, block=block: block
        for name in CONVOLUTIONS if block == blocks[0] else ("3x3", "3x3 of few channels"):
            yield from convolved(name, dtype)
    if dtype == torch.float32:
        torch.backends.cuda.matmul.fp32_precision = "tf32"
        for block in convolutions.NARROW:
            convolutions._block_for = lambda *args, block=block: block
            yield from convolved("3x3", dtype, " in TF32")
        torch.backends.cuda.matmul.fp32_precision = "ieee"
    convolutions._block_for = CHOSEN


def elsewhere(tensor: torch.Tensor, offset: int) -> torch.Tensor:
    """Return a tensor like another, so many elements after an aligned address."""
    room = tensor.new_ones(tensor.numel() + offset)[offset:]
    return room.as_strided(tensor.shape, tensor.stride(), room.storage_offset())


def misplaced_patches(dtype: torch.dtype, channels: int, clean: int, changed: int):
    """Launch the kernels on patches that start so many elements after an aligned address."""
    x = patches(channels, dtype)
    x = Patches(elsewhere(x.clean, clean), elsewhere(x.changed, changed), x.boxes)
    kind = f" of {channels} channels at {clean} and {changed}"
    whole = Boxes.whole(x.boxes.table[:, 0], 28, 28)
    yield f"misplaced gather{kind}", PATCHES.gather(x, whole)
    yield f"misplaced pool{kind}", PATCHES.pool(x, x.boxes, Pooling(True, (3, 3), (2, 2), (1, 1)))
    for groups in (1, channels):
        weight = torch.ones(channels, channels // groups, 3, 3, dtype=dtype)
        bias = elsewhere(weight[:, 0, 0, 0].contiguous(), changed)
        conv = Convolution(weight, bias, padding=(1, 1), groups=groups)
        for at, after in (("", Epilogue()), (" and residual", Epilogue(x, 0.0))):
            done = PATCHES.convolve(x, x.boxes, conv, after)
            yield f"misplaced convolve in {groups} groups{at}{kind}", done


def renamed(calls, prefix: str):
    result = None
    while True:
        try:
            name, result = calls.send(result)
        except StopIteration:
            return
        result = yield prefix + name, result


PLACES = ((64, 0, 1), (64, 2, 0), (37, 0, 0), (24, 0, 0), (6, 8, 8))
"""Channels of patches, and the offsets of their clean and their changed pixels."""


def misplaced(dtype: torch.dtype, every: bool):
    """Launch kernels on tensors whose rows start where no 16-byte access may, all or a few."""
    for channels, clean, changed in PLACES if every else PLACES[:1]:
        yield misplaced_patches(dtype, channels, clean, changed)
    whole = torch.ones(2, 24, 12, 30, dtype=dtype)
    views = {
        "1 element on": elsewhere(whole, 1),
        "odd rows": whole[..., :29].contiguous(),
        "part of rows": whole[..., 1:29],
        "every other channel": whole[:, ::2],
        "every other element": whole[..., ::2],
        "channels last": whole.contiguous(memory_format=torch.channels_last),
        "odd channels last": whole[:, :23].contiguous(memory_format=torch.channels_last),
        **{f"{offset} elements on": elsewhere(whole, offset) for offset in (2, 4, 8)},
    }
    for name, x in list(views.items())[: None if every else 2]:
        yield renamed(rectifiers(x), f"misplaced, {name}: ")
        yield renamed(pools(x, WINDOWS["3x3"], "3x3"), f"misplaced, {name}: ")


def launches(dtype: torch.dtype, names: list[str]):
    if {"misplaced", "every misplaced"} & set(names):
        yield from misplaced(dtype, "every misplaced" in names)
    yield rectifiers(torch.ones(2, 32, 56, 56, dtype=dtype))
    yield on_patches(dtype, "blocks" in names)
    for name in [name for name in names if name in WINDOWS]:
        window = WINDOWS[name]
        for last in (False, True):
            kind = f"{name} channels last" if last else name
            yield pools(pictures(window, dtype, last), window, kind)


def driven(calls):
    """Send each operation's result back to it, and yield its name once it is launched."""
    result = None
    while True:
        try:
            name, result = calls.send(result)
        except StopIteration:
            return
        yield name


def as_run(tensor: torch.Tensor) -> torch.Tensor:
    """Return a tensor as kernels see it that know no rows: from its first element to its last."""
    return tensor.as_strided((tensor.numel(),), (1,), tensor.storage_offset())


def row(name: str, dtype: torch.dtype, capability: int, call: Call) -> dict:
    kernel, found, tensors = call
    if kernel in ("rectify_kernel", "gate_kernel"):
        tensors = [as_run(tensor) for tensor in tensors]
    memory = Counter(re.findall(r"\b(?:ld|st)\.global[\w.:]*|cp\.async\.cg", found.asm["ptx"]))
    return {
        "operation": name,
        "dtype": str(dtype).removeprefix("torch."),
        "capability": capability,
        "kernel": kernel,
        "hash": found.hash,
        "binary": len(found.asm["cubin"]),
        "memory": memory,
        "misaligned": misaligned(found.asm["ptx"], tensors),
        "products": sorted(set(re.findall(r"\bw?g?mma\S*?\.f32\.(\w+)\.", found.asm["ptx"]))),
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
    # Other image sizes, with rows aligned as well, need no other kernels.
    for size, activation in ((40, 28), (72, 48), (104, 9)):
        x = torch.ones(3, 32, size, size)
        again = convolved("3x3", torch.float32, size=activation)
        for launched in (rectifiers(x), pools(x, WINDOWS["3x3"], "3x3"), again):
            for name in driven(launched):
                rows += [row(f"{name} again", torch.float32, capability, call) for call in calls]
                calls.clear()
    sys.stdout.write(json.dumps(rows))


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2].split(","), sys.argv[3:])
