"""`torchattr methods`, `torchattr layers` and `torchattr info`."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from torchattr.cli.charts import show_table
from torchattr.cli.options import Device, Model, Weights, device_named
from torchattr.cli.talk import out, reported

if TYPE_CHECKING:
    from torch import Tensor

    from torchattr.info import LayerRow
    from torchattr.models import LoadedModel


def methods() -> None:
    """List the methods: their names, classes, and whether they look at a layer."""
    with reported():
        from torchattr.methods import registered_methods

        rows = [
            (name, method.__name__, _layer_of(method), _summary(method))
            for name, method in sorted(registered_methods().items())
        ]
        show_table(["name", "class", "layer", "what it shows"], rows, wide="what it shows")


def layers(
    model: Model = "demo",
    weights: Weights = None,
    device: Device = "auto",
    depth: Annotated[
        int | None, typer.Option(min=1, help="How many levels to show; all unless given")
    ] = None,
) -> None:
    """List the layers of a model, by the names that --layer takes, with their output shapes."""
    with reported():
        from torchattr.info import layers as layers_of
        from torchattr.models import load_model

        loaded = load_model(model, weights, device_named(device))
        inputs = _example_input(loaded)
        default = _default_layer(loaded, inputs)
        rows = [
            _layer_cells(row, default)
            for row in layers_of(loaded.model, inputs)
            if depth is None or row.depth < depth
        ]
        out.print(f"{loaded.name}, for an input of {_shape(tuple(inputs.shape))}")
        show_table(["layer", "type", "output", "what it is"], rows, wide="what it is")


def info() -> None:
    """Show versions, devices, operations with their rules, and backends."""
    with reported():
        from torchattr.info import backend_reasons, devices, operations, versions

        show_table(["package", "version"], list(versions().items()))
        out.print()
        show_table(["device", "what it is"], [(d.name, d.description) for d in devices()])
        out.print()
        rules = [(row.name, row.kind, _rule_names(row.rules)) for row in operations()]
        show_table(["operation", "kind", "rules"], rules, wide="rules")
        out.print()
        rows = [
            (name, device, "; ".join(reasons) or "available")
            for name, by_device in backend_reasons().items()
            for device, reasons in by_device.items()
        ]
        show_table(["backend", "device", "state"], rows, wide="state")


def _rule_names(rules: tuple[str, ...]) -> str:
    return ", ".join(rules) or "PyTorch's own gradient only"


def _summary(method: type) -> str:
    return (inspect.getdoc(method) or "").partition("\n")[0].replace("`", "")


def _layer_of(method: type) -> str:
    parameter = inspect.signature(method).parameters.get("layer")
    if parameter is None:
        return "no"
    return "needed" if parameter.default is inspect.Parameter.empty else "optional"


def _example_input(loaded: LoadedModel) -> Tensor:
    from torchattr.models import read_image
    from torchattr.models.collage import examples
    from torchattr.runs.pictures import device_of

    tensor = loaded.preprocess(read_image(examples()[0].path)).tensor
    return tensor[None].to(device_of(loaded))


def _default_layer(loaded: LoadedModel, inputs: Tensor) -> str | None:
    from torchattr.errors import LayerError
    from torchattr.inputs import as_inputs
    from torchattr.methods.layer import last_spatial_layer
    from torchattr.runs.answers import Reader

    try:
        return last_spatial_layer(loaded.model, as_inputs(inputs), (), Reader(loaded).scores)[0]
    except LayerError:
        return None


def _layer_cells(row: LayerRow, default: str | None) -> tuple[Any, ...]:
    chosen = row.name == default
    name = Text("  " * row.depth + row.name, "bold cyan" if chosen else "")
    calls = f"called {row.calls} times" if row.calls > 1 else ""
    said = ("default for --layer" if chosen else "", calls, row.description)
    shape = "" if row.shape is None else _shape(row.shape)
    return name, row.type, shape, "; ".join(part for part in said if part)


def _shape(shape: tuple[int, ...]) -> str:
    return " × ".join(map(str, shape))
