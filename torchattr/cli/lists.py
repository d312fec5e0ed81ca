"""`torchattr methods` and `torchattr info`."""

from __future__ import annotations

from torchattr.cli.charts import show_table
from torchattr.cli.console import out, reported
from torchattr.cli.method_list import method_rows


def methods() -> None:
    """List the methods: names, classes, and whether they need a layer."""
    with reported():
        rows = [(row.name, row.cls, row.layer, row.description) for row in method_rows()]
        show_table(["name", "class", "layer", "description"], rows, wide="description")


def info() -> None:
    """Show versions, devices, operations with their rules, and backends."""
    with reported():
        from torchattr.core.versions import versions
        from torchattr.inspect import backend_reasons, list_devices, list_operations

        show_table(["package", "version"], list(versions().items()))
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


def _rule_names(rules: tuple[str, ...]) -> str:
    return ", ".join(rules) or "PyTorch's own gradient only"
