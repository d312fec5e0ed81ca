"""The registry: duplicates, files executed again, entry points, and errors for unknown names."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from helpers import refused

from torchattr.core import registry as module
from torchattr.core.registry import Registry, closest, suggest
from torchattr.errors import BackendError, Listing, RegistryError, WayOut

SOURCE = """
@shapes.register("square")
class Square:
    corners = 4
"""


@pytest.fixture
def shapes() -> Registry[type]:
    registry: Registry[type] = Registry("shape")

    @registry.register("circle")
    class Circle: ...

    return registry


def execute(registry: Registry[type], file: Path) -> type:
    """Execute a file as the module `drawn`, as importing or reloading it does."""
    drawn = SimpleNamespace(__file__=str(file))
    sys.modules["drawn"] = drawn  # type: ignore[assignment]
    try:
        exec(file.read_text(), {"__name__": "drawn", "shapes": registry})
    finally:
        del sys.modules["drawn"]
    return registry["square"]


def test_entries_are_found_by_name_and_names_by_entry(shapes: Registry[type]) -> None:
    assert shapes["circle"].__name__ == "Circle"
    assert shapes.name_of(shapes["circle"]) == "circle"
    assert shapes.name_of(int) is None


def test_a_snapshot_keeps_the_order_and_is_a_copy(shapes: Registry[type]) -> None:
    shapes.add("number", int)
    shapes.add("abacus", float)
    snapshot = shapes.snapshot()
    assert list(snapshot) == ["circle", "number", "abacus"]
    snapshot.clear()
    assert shapes["number"] is int


def test_a_taken_name_is_refused(shapes: Registry[type]) -> None:
    with refused(RegistryError, "a shape called 'circle'", "Circle", "another name"):
        shapes.register("circle")(int)
    with refused(RegistryError, "'circle'"):
        shapes.add("circle", shapes["circle"])
    assert shapes["circle"].__name__ == "Circle"


def test_a_file_that_is_executed_again_replaces_its_entries(
    shapes: Registry[type], tmp_path: Path
) -> None:
    file = tmp_path / "drawn.py"
    file.write_text(SOURCE)
    first, second = execute(shapes, file), execute(shapes, file)
    assert first is not second
    assert shapes["square"] is second
    other = tmp_path / "other.py"
    other.write_text(SOURCE)
    with refused(RegistryError, "'square' is registered already"):
        execute(shapes, other)


def test_a_cell_of_a_notebook_that_is_executed_again_replaces_its_entries(
    shapes: Registry[type], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "__main__", SimpleNamespace())  # type: ignore[arg-type]
    cell = {"__name__": "__main__", "shapes": shapes}
    exec(SOURCE, cell)
    first = shapes["square"]
    exec(SOURCE, cell)
    assert shapes["square"] is cell["Square"] is not first
    with refused(RegistryError, "'square' is registered already"):
        exec(SOURCE.replace("Square", "Other"), cell)


def test_unknown_names_are_answered_by_the_closest(shapes: Registry[type]) -> None:
    shapes.add("number", int)
    with refused(RegistryError, "no shape is called 'circel'; did you mean 'circle'?"):
        shapes["circel"]
    with refused(RegistryError, "no shape is called 'x'; there are: circle, number"):
        shapes["x"]
    assert "there are: any, circle" in str(shapes.unknown("x", also=["any"]))
    assert "did you mean 'any'" in str(shapes.unknown("an", also=["any"]))


def test_the_error_is_that_of_the_registry() -> None:
    backends: Registry[type] = Registry("backend", error=BackendError)
    with refused(BackendError, "no backend is called 'x'; there are: none"):
        backends["x"]
    backends.add("x", int)
    with refused(BackendError, "registered already"):
        backends.add("x", float)


def test_entry_points_are_loaded_once_at_the_first_look_up(monkeypatch: pytest.MonkeyPatch) -> None:
    installed: Registry[type] = Registry("shape", group="shapes")
    loaded: list[str] = []

    def load() -> None:
        loaded.append("shapes")
        # A module may look up an entry while it registers.
        assert "number" not in installed.snapshot()
        installed.add("number", int)

    def entry_points(group: str) -> list[SimpleNamespace]:
        assert group == "shapes"
        return [SimpleNamespace(load=load)]

    monkeypatch.setattr(module, "entry_points", entry_points)
    installed.add("early", float)
    assert loaded == []
    assert list(installed.snapshot()) == ["early", "number"]
    assert installed["number"] is int
    assert loaded == ["shapes"]


def test_built_in_modules_are_imported_at_the_first_look_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "built_in_shapes.py").write_text("loaded = True\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    shapes: Registry[type] = Registry("shape", built_in=["built_in_shapes"])
    assert "built_in_shapes" not in sys.modules
    shapes.snapshot()
    assert sys.modules.pop("built_in_shapes").loaded


def test_what_is_registered_in_a_block_can_be_temporary(shapes: Registry[type]) -> None:
    with shapes.temporary():
        shapes.add("number", int)
        assert shapes["number"] is int
    assert list(shapes.snapshot()) == ["circle"]
    shapes.add("number", float)
    assert shapes["number"] is float


def test_closest_names_and_suggestions() -> None:
    names = ["saliency", "guided_backprop", "guided_grad_cam"]
    assert closest("guided-backprop", names)[0] == "guided_backprop"
    assert closest("guided", names, most=1) != []
    assert closest("zzz", names) == []
    assert suggest("salency", names) == "did you mean 'saliency'?"
    assert suggest("zzz", names) == "there are: saliency, guided_backprop, guided_grad_cam"
    assert suggest("zzz", []) == "there are: none"
    assert suggest("zzz", map(str, range(25))) == "there are 25, such as 0, 1, 2"
    assert suggest("zzz", map(str, range(24))).startswith("there are: 0, 1, 2, 3, ")


def test_messages_about_unknown_names_say_where_all_are_listed() -> None:
    listed = WayOut("all are listed by {setting}", "shape", Listing("shapes()"))
    shapes: Registry[type] = Registry("shape", listed=listed)
    shapes.add("circle", int)
    for name in ("circel", "x"):
        with refused(RegistryError, "All are listed by shapes()"):
            shapes[name]
