"""The list of methods, read from their source: importing them imports PyTorch, which takes long."""

from __future__ import annotations

import ast
import inspect
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path

GROUP = "torchattr.methods"
"""The entry points of packages that bring methods of their own."""

_SOURCES = Path(__file__).parents[1] / "methods"
_DECORATOR = "register_method"

Classes = Mapping[str, ast.ClassDef]


@dataclass(frozen=True)
class MethodRow:
    """A registered method: its name and class, whether it needs a layer, and its first line."""

    name: str
    cls: str
    layer: str
    description: str


def method_rows() -> list[MethodRow]:
    """Return the registered methods by name, imported only if there may be further ones.

    >>> next(row for row in method_rows() if row.name == "grad_cam").cls
    'GradCAM'
    """
    # A file that was run before may have registered some, too.
    has_further = "torchattr.methods" in sys.modules or entry_points(group=GROUP)
    rows = rows_of_registry() if has_further else rows_of_sources()
    return sorted(rows, key=lambda row: row.name)


def rows_of_registry() -> Iterator[MethodRow]:
    """Import all methods, and yield what their classes say."""
    from torchattr.methods import registered_methods

    for name, cls in registered_methods().items():
        layer = inspect.signature(cls).parameters.get("layer")
        required = layer is not None and layer.default is inspect.Parameter.empty
        first = _first_line(inspect.getdoc(cls))
        yield MethodRow(name, cls.__name__, _layer(layer is not None, required), first)


def rows_of_sources() -> Iterator[MethodRow]:
    """Read the classes of this package's methods, and yield the same of those that it registers."""
    files = sorted(_SOURCES.rglob("*.py"))
    trees = [ast.parse(file.read_text(encoding="utf-8")) for file in files]
    classes = {
        one.name: one for tree in trees for one in tree.body if isinstance(one, ast.ClassDef)
    }
    for cls in classes.values():
        for name in _registered_names(cls):
            layer = _layer(*_layer_argument(cls, classes))
            yield MethodRow(name, cls.name, layer, _first_line(ast.get_docstring(cls)))


def _registered_names(cls: ast.ClassDef) -> Iterator[str]:
    for one in cls.decorator_list:
        if isinstance(one, ast.Call) and ast.unparse(one.func) == _DECORATOR:
            yield str(ast.literal_eval(one.args[0]))


def _layer_argument(cls: ast.ClassDef, classes: Classes) -> tuple[bool, bool]:
    """Return whether the constructor takes a layer, and whether it requires one."""
    arguments = next(_constructors(cls, classes)).args
    positional = [one.arg for one in (*arguments.posonlyargs, *arguments.args)]
    optional = positional[len(positional) - len(arguments.defaults) :]
    keywords = zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
    optional += [one.arg for one, default in keywords if default is not None]
    taken = {*positional, *(one.arg for one in arguments.kwonlyargs)}
    return "layer" in taken, "layer" in taken and "layer" not in optional


def _constructors(cls: ast.ClassDef, classes: Classes) -> Iterator[ast.FunctionDef]:
    """Yield the constructors of a class and of its bases, the one that runs first."""
    for one in cls.body:
        if isinstance(one, ast.FunctionDef) and one.name == "__init__":
            yield one
    for base in cls.bases:
        name = ast.unparse(base).partition("[")[0]
        if name in classes:
            yield from _constructors(classes[name], classes)


def _layer(takes: bool, required: bool) -> str:
    if not takes:
        return "no"
    return "required" if required else "optional"


def _first_line(docstring: str | None) -> str:
    return plain_text((docstring or "").partition("\n")[0])


def plain_text(text: str) -> str:
    """Remove the marks of code and references from a docstring.

    >>> plain_text("as for :class:`Saliency`, `(N, C)`")
    'as for Saliency, (N, C)'
    """
    return re.sub(r":\w+:`|`", "", text)
