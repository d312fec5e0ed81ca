"""What is installed and what can run here: versions, devices, operations, backends, layers."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

import torch
from torch import Tensor, nn

from torchattr.core.select import layer_names
from torchattr.inspect.grids import maps_layout, maps_shape
from torchattr.inspect.receptive_field import any_output
from torchattr.kernels import Request, backends
from torchattr.layers import OPERATIONS, Captured, Layout, TapPoint, Trace, registered_rules

PACKAGES = ("torchattr", "torch", "torchvision", "numpy", "pillow")
OPTIONAL = ("triton", "timm", "captum")


def versions() -> dict[str, str]:
    """Give the versions that a result depends on, by package.

    >>> {"numpy", "pillow", "python", "torch"} <= set(versions())
    True
    """
    found = {package: _version(package) for package in (*PACKAGES, *OPTIONAL)}
    installed = {package: number for package, number in found.items() if number}
    return {"python": platform.python_version(), **installed}


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


@dataclass(frozen=True)
class Device:
    """A place where models can run."""

    name: str
    description: str


def devices() -> list[Device]:
    """Give the devices that PyTorch can use here, the CPU first."""
    cores = os.cpu_count() or 1
    cpu = f"{platform.processor() or platform.machine()}, {cores} cores"
    found = [Device("cpu", f"{cpu}, {torch.get_num_threads()} threads used")]
    for number in range(torch.cuda.device_count()):
        properties = torch.cuda.get_device_properties(number)
        memory = properties.total_memory / 2**30
        found.append(Device(f"cuda:{number}", f"{properties.name}, {memory:.0f} GiB"))
    if torch.backends.mps.is_available():
        found.append(Device("mps", "Apple GPU"))
    return found


@dataclass(frozen=True)
class OperationRow:
    """An operation, what kind it is, and the names of its rules."""

    name: str
    kind: str
    rules: tuple[str, ...]


def operations() -> list[OperationRow]:
    """Give every operation that rules can be written for.

    >>> operations()[0].name, "guided" in operations()[0].rules
    ('relu', True)
    """
    rules = sorted(registered_rules())
    return [
        OperationRow(name, op.kind, tuple(rule for known, rule in rules if known == name))
        for name, op in OPERATIONS.items()
    ]


def backend_reasons() -> Mapping[str, Mapping[str, list[str]]]:
    """Give, for each backend and device, every reason why it is unavailable there; none if it is.

    >>> backend_reasons()["torch"]["cpu"]
    []
    """
    return {
        name: {
            device.name: found.refusals(Request(torch.device(device.name), torch.float32))
            for device in devices()
        }
        for name, found in backends().items()
    }


@dataclass(frozen=True)
class LayerRow:
    """A layer: its name, type, options, and what it gave when it last ran.

    Attributes:
        shape: as the model has it; `None` if that was not one tensor.
        maps: the shape of its feature maps for one example, `(channels, places...)`.
        why: why it has none.
    """

    name: str
    type: str
    description: str
    shape: tuple[int, ...] | None
    calls: int
    maps: tuple[int, ...] | None = None
    why: str = ""

    @property
    def depth(self) -> int:
        return self.name.count(".")


def layers(model: nn.Module, inputs: Tensor) -> list[LayerRow]:
    """Give the layers of a model with the shapes that one forward of `inputs` shows.

    A layer without a call, or whose output is not one tensor, has the shape `None`.

    Raises:
        ScriptedModelError: a part of the model hides its operations.

    >>> rows = layers(nn.Sequential(nn.Flatten(), nn.Linear(12, 2)), torch.ones(1, 3, 2, 2))
    >>> [(row.name, row.type, row.shape) for row in rows]
    [('0', 'Flatten', (1, 12)), ('1', 'Linear', (1, 2))]
    """
    names = layer_names(model)
    places = {name: TapPoint(module, read=True, keep=False) for name, module in names.items()}
    trace = Trace(
        model, (inputs,), places=list(places.values()), key=any_output, differentiable=False
    )
    return [_row(name, place.module, trace.calls(place), inputs) for name, place in places.items()]


def _row(name: str, module: nn.Module, calls: Sequence[Captured], inputs: Tensor) -> LayerRow:
    shape, maps, why = None, None, "it did not run"
    if calls:
        last = calls[-1]
        found = maps_layout(last, (inputs,))
        shape = tuple(last.shapes[0]) if last.form == 0 else None
        why = found if isinstance(found, str) else "" if found.sizes else "it has no places"
        maps = maps_shape(last, found) if isinstance(found, Layout) and not why else None
    description = module.extra_repr().replace("\n", " ")
    return LayerRow(name, type(module).__name__, description, shape, len(calls), maps, why)
