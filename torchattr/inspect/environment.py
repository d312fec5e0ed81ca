"""What can run on this machine: devices, operations and their rules, backends."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from dataclasses import dataclass

import torch

from torchattr.kernels import Request, backends
from torchattr.layers import OPERATIONS, registered_rules


@dataclass(frozen=True)
class Device:
    """A device that models can run on."""

    name: str
    description: str


def list_devices() -> list[Device]:
    """Return the devices that PyTorch can use on this machine, the CPU first."""
    cores = os.cpu_count() or 1
    cpu = f"{platform.processor() or platform.machine()}, {cores} cores"
    devices = [Device("cpu", f"{cpu}, {torch.get_num_threads()} threads used")]
    for number in range(torch.cuda.device_count()):
        properties = torch.cuda.get_device_properties(number)
        memory = properties.total_memory / 2**30
        devices.append(Device(f"cuda:{number}", f"{properties.name}, {memory:.0f} GiB"))
    if torch.backends.mps.is_available():
        devices.append(Device("mps", "Apple GPU"))
    return devices


@dataclass(frozen=True)
class OperationRow:
    """An operation, its kind, and the names of its rules."""

    name: str
    kind: str
    rules: tuple[str, ...]


def list_operations() -> list[OperationRow]:
    """Return every operation that rules can be written for.

    >>> list_operations()[0].name, "guided" in list_operations()[0].rules
    ('relu', True)
    """
    rules = sorted(registered_rules())
    return [
        OperationRow(name, op.kind, tuple(rule for known, rule in rules if known == name))
        for name, op in OPERATIONS.items()
    ]


def backend_reasons() -> Mapping[str, Mapping[str, list[str]]]:
    """Return for each backend and device why the backend is unavailable there, if it is.

    >>> backend_reasons()["torch"]["cpu"]
    []
    """
    return {
        name: {
            device.name: backend.refusals(Request(torch.device(device.name), torch.float32))
            for device in list_devices()
        }
        for name, backend in backends().items()
    }
