"""Hooks of the site: notebooks, a reference of every public name, links to what is no page."""

from __future__ import annotations

import ast
import importlib
import inspect
import posixpath
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

from examples import ROLE
from mkdocs.structure.files import File
from notebooks import as_page, notebooks

ROOT = Path(__file__).parent.parent.parent
SOURCE = "https://github.com/torchattr/torchattr/blob/main/"

ROOMS = {
    "torchattr": "The package",
    "torchattr.show": "Pictures",
    "torchattr.models": "Models and images",
    "torchattr.inspect": "Looking inside",
    "torchattr.evaluate": "Evaluation",
    "torchattr.layers": "Rules and operations",
    "torchattr.results": "Results",
    "torchattr.bulk": "Data sets",
    "torchattr.integrations": "Integrations",
    "torchattr.robust": "Robustness",
    "torchattr.concepts": "Concepts",
    "torchattr.preparation": "Preparation",
    "torchattr.methods": "Parts of methods",
    "torchattr.runs": "Jobs of the commands",
    "torchattr.kernels": "Backends",
    "torchattr.web": "The viewer and its panels",
    "torchattr.captum": "Under Captum's names",
    "torchattr.quantus": "Under Quantus' names",
    "torchattr.tf_cnnvis": "Under tf_cnnvis' names",
    "torchattr.errors": "Errors",
}

APART = ("torchattr",)
"""Rooms with a page for each name: all on one page would be endless."""

MODULES = {
    "torchattr.core.inputs": "For methods: inputs",
    "torchattr.core.select": "For methods: layers",
    "torchattr.core.stepping": "For methods: progress",
    "torchattr.integrations.lightning": "Lightning",
}
"""Single modules with names of their own, which a page says how to use."""

FENCE = re.compile(r"^(```\w+) [^\n`]*$", re.MULTILINE)
LINK = re.compile(r"(\]\()(?!\w+:|#)([^)\s]+)(\))")


def on_config(config: Any) -> Any:
    """Add the pages of the reference to the navigation."""
    pages = [{title: page_of(name)} for name, title in (ROOMS | MODULES).items()]
    config.nav.append({"API reference": pages})
    return config


def on_files(files: Any, config: Any) -> Any:
    """Make a page of each notebook, and one for the public names of each room."""
    for path, content in (*pages_of_notebooks(), *pages_of_reference()):
        files.append(File.generated(config, path, content=content))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """Let links to files that are no pages lead to the repository, and to notebooks to their pages.

    Of fences, only the language stays: what else tests read there would keep them from being one.
    """

    def linked(match: re.Match[str]) -> str:
        path, _, anchor = match[2].partition("#")
        path = re.sub(r"\.ipynb$", ".md", path)
        inside = posixpath.normpath(posixpath.join(posixpath.dirname(page.file.src_uri), path))
        found = files.get_file_from_path(inside)
        is_page = found is not None and found.inclusion.is_included()
        outside = posixpath.normpath(posixpath.join("docs", inside))
        # What is nowhere stays as it is, for MkDocs to complain.
        start = path if is_page or not (ROOT / outside).exists() else SOURCE + outside
        return f"{match[1]}{start}{'#' if anchor else ''}{anchor}{match[3]}"

    return FENCE.sub(r"\1", LINK.sub(linked, markdown))


def pages_of_notebooks() -> Iterator[tuple[str, str | bytes]]:
    for path in notebooks():
        page, pictures = as_page(path.stem, path.read_text(encoding="utf-8"))
        yield f"notebooks/{path.stem}.md", page
        for name, picture in pictures.items():
            yield f"notebooks/{name}", picture


def pages_of_reference() -> Iterator[tuple[str, str]]:
    for room, title in ROOMS.items():
        names = names_of(room)
        sections = [f"::: {room}.{name}" for name in names]
        if room in APART:
            yield from zip((page_of(room, name) for name in names), sections, strict=True)
            sections = []
        yield page_of(room), "\n\n".join([f"# {title}: `{room}`", contents(room), *sections, ""])
    for module, title in MODULES.items():
        yield page_of(module), f"# {title}: `{module}`\n\n::: {module}\n"


def contents(room: str) -> str:
    """Return a table of a room's names, with the first sentence about each."""
    here = posixpath.basename(page_of(room))
    rows = []
    for name in names_of(room):
        page = f"{room}/{name}.md" if room in APART else here
        summary = first_sentence(getattr(importlib.import_module(room), name))
        rows.append(f"| [`{name}`]({page}#{room}.{name}) | {summary} |")
    return "\n".join(["| name | |", "|---|---|", *rows])


def first_sentence(value: Any) -> str:
    if not callable(value):  # Its docstring is that of its type.
        return ""
    text = ROLE.sub(r"`\1`", (inspect.getdoc(value) or "").partition("\n\n")[0])
    return " ".join(text.split()).replace("|", "\\|")


def page_of(room: str, name: str = "") -> str:
    return f"reference/{room}/{name}.md" if name else f"reference/{room.replace('.', '-')}.md"


def names_of(room: str) -> list[str]:
    """Return the names that a room's face exports: those written there without an underscore.

    Of the methods, those that the top level has not.
    """
    module = importlib.import_module(room)
    exported = {*vars(module), *re_exported(Path(inspect.getfile(module)))}
    public = {name for name in exported if not name.startswith("_") and is_own(module, name)}
    if room == "torchattr":
        return sorted(module.__all__)
    return sorted(public - set(names_of("torchattr")) if room == "torchattr.methods" else public)


def re_exported(face: Path) -> set[str]:
    """Return the names that a face re-exports, also those that it imports at their first use."""
    return {
        alias.asname
        for node in ast.walk(ast.parse(face.read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
        if alias.asname == alias.name
    }


def is_own(module: ModuleType, name: str) -> bool:
    value = getattr(module, name)
    return callable(value) and str(getattr(value, "__module__", "")).startswith("torchattr")
