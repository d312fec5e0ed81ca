"""Which tensors each access to global memory in a kernel's PTX can reach, and whether it may.

An access of several elements is right only if the tensor's address and the distances between its
rows are multiples of the access's width. What a register holds is followed from the kernel's
parameters through its arithmetic, so that each access is known with all tensors that it may be in.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import torch

ACCESS = re.compile(
    r"(?:ld|st)\.global[\w.:]*?\.(?:v(?P<count>\d)\.)?b(?P<bits>\d+)\b(?P<rest>[^;]*);"
    r"|cp\.async\.\w+\.shared\.global\s*\[[^\]]*\],(?P<copied>\s*\[[^\]]*\]),\s*(?P<bytes>0x\w+)"
)
REGISTER = re.compile(r"%\w+")


def tensors_of(argument: object) -> Iterator[torch.Tensor]:
    """Return the tensors of a launch in the order of their parameters."""
    if isinstance(argument, torch.Tensor):
        yield argument
    elif isinstance(argument, tuple | list):
        for item in argument:
            yield from tensors_of(item)


def reaching(ptx: str) -> dict[str, set[int]]:
    """Return the numbers of the pointers among the parameters that each register depends on."""
    pointers = re.findall(r"\.param \.[ub]64 \.ptr[^\n]*?(\w+_param_\d+)", ptx)
    found: dict[str, set[int]] = {}
    steps = []
    for line in ptx.splitlines():
        # A parameter, or its address: some compilers choose between parameters before they read.
        read = re.search(r"(?:ld\.param|mov)\.[ub]64\s+(%\w+), \[?(\w+_param_\d+)\b", line)
        if read and read[2] in pointers:
            found[read[1]] = {pointers.index(read[2])}
        elif not re.search(r"\b(?:ld\.(?!param)|st\.|cp\.)", line):
            registers = REGISTER.findall(re.sub(r"^\s*@!?%\w+", "", line))
            steps.append((registers[:1], registers[1:]))
    size = -1
    # Until nothing is added: loops carry addresses from one turn to the next.
    while size != (size := sum(map(len, found.values()))):
        for targets, sources in steps:
            reached = set().union(*(found.get(source, set()) for source in sources))
            for target in targets if reached else ():
                found.setdefault(target, set()).update(reached)
    return found


def accesses(ptx: str) -> list[tuple[int, frozenset[int]]]:
    """Return the width in bytes of each access, and the numbers of the pointers it may go to."""
    found = reaching(ptx)
    results = []
    for match in ACCESS.finditer(ptx):
        copied = match["copied"]
        width = int(match["bytes"], 16) if copied else int(match["bits"]) // 8
        width *= int(match["count"] or 1)
        place = re.search(r"\[\s*(%\w+)", copied or match["rest"])
        assert place, match[0]
        results.append((width, frozenset(found.get(place[1], set()))))
    return results


def may_be_accessed(tensor: torch.Tensor, width: int) -> bool:
    """Whether accesses of so many bytes fit where a tensor's rows start."""
    steps = [
        step
        for size, step in zip(tensor.shape, tensor.stride(), strict=True)
        if size > 1 and step != 1
    ]
    starts = (tensor.data_ptr(), *(step * tensor.itemsize for step in steps))
    return width <= tensor.itemsize or all(start % width == 0 for start in starts)


def misaligned(ptx: str, tensors: Sequence[torch.Tensor]) -> list[str]:
    """Return what a kernel accesses although it may not, or that an access goes nowhere known."""
    faults = []
    for width, pointers in accesses(ptx):
        if not pointers:
            faults.append(f"{width} bytes somewhere")
        for number in pointers:
            tensor = tensors[number]
            if not may_be_accessed(tensor, width):
                faults.append(f"{width} bytes of {tuple(tensor.shape)} in {tensor.stride()}")
    return faults
