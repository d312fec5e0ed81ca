"""What is read of the methods' source is what their classes say."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import EntryPoint

import pytest

from torchattr.cli import method_list
from torchattr.cli.method_list import method_rows, rows_of_registry, rows_of_sources
from torchattr.methods import registry


def by_name(rows):
    return {row.name: row for row in rows}


def test_the_sources_say_what_the_classes_do():
    read, imported = by_name(rows_of_sources()), by_name(rows_of_registry())
    assert read == {name: imported[name] for name in read}
    built_in = {name for name, cls in registry.registered_methods().items() if is_built_in(cls)}
    assert read.keys() == built_in
    assert {row.layer for row in read.values()} == {"no", "optional", "required"}
    assert [row.name for row in method_rows()] == sorted(read)


def is_built_in(cls):
    return cls.__module__.startswith("torchattr.methods.")


def test_listing_imports_no_torch():
    code = (
        "import sys; from torchattr.cli.method_list import method_rows\n"
        "assert method_rows() and 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


def test_methods_of_other_packages_are_imported(monkeypatch: pytest.MonkeyPatch):
    """They are known only once their module has run."""
    other = EntryPoint("mine", "no.such.module", method_list.GROUP)
    monkeypatch.setattr(method_list, "entry_points", lambda group: [other])
    monkeypatch.setattr(method_list, "rows_of_sources", lambda: pytest.fail("reads the sources"))
    assert "saliency" in by_name(method_rows())
    assert registry.METHODS._group == method_list.GROUP
