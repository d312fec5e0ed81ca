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
    assert {row.layer for row in read.values()} == {"no", "optional"}
    assert [row.name for row in method_rows()] == sorted(read)


def is_built_in(cls):
    return cls.__module__.startswith("torchattr.methods.")


def test_listing_imports_no_torch():
    code = (
        "import sys; from torchattr.cli import app\n"
        "app(['methods'], standalone_mode=False)\n"
        "assert not {'torch', 'torchvision', 'numpy'} & set(sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], check=True, timeout=120, capture_output=True, text=True
    )
    assert "grad_cam" in done.stdout


@pytest.mark.parametrize(
    ("text", "layer"),
    [
        ("class A:\n  def __init__(self, model, layer): ...", "required"),
        ("class A:\n  def __init__(self, model, /, layer=None, *, rules): ...", "optional"),
        ("class A:\n  def __init__(self, model, *, layer): ...", "required"),
        ("class A:\n  def __init__(self, model, *, rules, layer=1): ...", "optional"),
        ("class B:\n  def __init__(self, layer): ...\nclass A(Unknown, B[int]): ...", "required"),
        ("class A:\n  def __init__(self, model): ...", "no"),
    ],
)
def test_a_layer_is_read_as_python_reads_it(tmp_path, monkeypatch, text, layer):
    (tmp_path / "a.py").write_text(text.replace("class A", "@register_method('a')\nclass A"))
    monkeypatch.setattr(method_list, "_SOURCES", tmp_path)
    assert [row.layer for row in rows_of_sources()] == [layer]


def test_methods_of_other_packages_are_imported(monkeypatch: pytest.MonkeyPatch):
    """They are known only once their module has run."""
    other = EntryPoint("mine", "no.such.module", method_list.GROUP)
    monkeypatch.setattr(method_list, "entry_points", lambda group: [other])
    monkeypatch.setattr(method_list, "rows_of_sources", lambda: pytest.fail("reads the sources"))
    assert "saliency" in by_name(method_rows())
    assert registry.METHODS._group == method_list.GROUP
