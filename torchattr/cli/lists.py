"""`torchattr methods` and `torchattr info`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import typer

from torchattr.cli import completion, options
from torchattr.cli.charts import show_json, show_table
from torchattr.cli.console import note, out, reported
from torchattr.cli.loading import Load


def methods(
    name: Annotated[
        str | None,
        typer.Argument(
            help="A method, whose options are listed",
            show_default=False,
            autocompletion=completion.methods,
        ),
    ] = None,
    json: options.Json = False,
    load: Load = None,
) -> None:
    """List the methods, or the options of one."""
    with reported():
        from torchattr.cli.method_list import method_rows

        if name is not None:
            _show_method(name, json)
            return
        rows = [(row.name, row.cls, row.layer, row.description) for row in method_rows()]
        _show(("name", "class", "layer", "description"), rows, json)


def _show_method(name: str, json: bool) -> None:
    from torchattr.cli.method_list import plain_text
    from torchattr.runs import MethodForm, docstring_paragraphs

    form = MethodForm.of(name)
    if json:
        described = [field.as_json() for field in form.fields]
        show_json({"name": form.name, "class": form.method.__name__, "options": described})
        return
    for paragraph in docstring_paragraphs(form.method):
        out.print(plain_text(paragraph))
        out.print()
    rows = [
        (field.name, field.values, field.shown_default, plain_text(field.doc))
        for field in form.fields
    ]
    show_table(["option", "value", "default", "description"], rows, wide="description")


def _show(columns: Sequence[str], rows: Sequence[Sequence[str]], json: bool) -> None:
    if json:
        show_json([dict(zip(columns, row, strict=True)) for row in rows])
    else:
        show_table(columns, rows, wide=columns[-1])


def info(
    all: Annotated[
        bool,
        typer.Option(
            "--all",
            help="Also list devices, operations with their rules, and backends; imports PyTorch",
        ),
    ] = False,
    json: options.Json = False,
    load: Load = None,
) -> None:
    """Show the versions of packages; with --all also devices, rules and backends."""
    with reported():
        from torchattr.core.versions import versions

        installed = versions()
        if json:
            show_json({"versions": installed, **(_machine() if all else {})})
            return
        show_table(["package", "version"], list(installed.items()))
        if all:
            _show_machine()
        else:
            note("torchattr info --all also lists devices, operations, their rules, and backends")


def _show_machine() -> None:
    from torchattr.inspect import backend_reasons, list_devices, list_operations

    out.print()
    show_table(["device", "description"], [(d.name, d.description) for d in list_devices()])
    out.print()
    rules = [(row.name, row.kind, _rule_names(row.rules)) for row in list_operations()]
    show_table(["operation", "kind", "rules"], rules, wide="rules")
    out.print()
    rows = [
        (name, device, "; ".join(reasons) or "available")
        for name, by_device in backend_reasons().items()
        for device, reasons in by_device.items()
    ]
    show_table(["backend", "device", "status"], rows, wide="status")


def _machine() -> dict[str, Any]:
    from torchattr.inspect import backend_reasons, list_devices, list_operations

    return {
        "devices": {one.name: one.description for one in list_devices()},
        "operations": {
            one.name: {"kind": one.kind, "rules": one.rules} for one in list_operations()
        },
        "backends": {
            name: {device: {"unavailable": reasons} for device, reasons in by_device.items()}
            for name, by_device in backend_reasons().items()
        },
    }


def _rule_names(rules: tuple[str, ...]) -> str:
    return ", ".join(rules) or "PyTorch's own gradient only"
