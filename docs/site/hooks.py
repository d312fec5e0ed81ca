"""Hooks of the site: links to files outside of the pages, and a reference of every public name."""

from __future__ import annotations

import importlib
import posixpath
import re
from typing import Any

from mkdocs.structure.files import File

SOURCE = "https://github.com/torchattr/torchattr/blob/main/"

ROOMS = {
    "torchattr": "The package",
    "torchattr.captum": "Under Captum's names",
    "torchattr.evaluate": "Evaluation",
    "torchattr.layers": "Rules and operations",
    "torchattr.show": "Pictures",
    "torchattr.models": "Models and images",
    "torchattr.results": "Results",
    "torchattr.robust": "Robustness",
    "torchattr.concepts": "Concepts",
    "torchattr.quantus": "Under Quantus' names",
    "torchattr.bulk": "Data sets",
    "torchattr.integrations": "Integrations",
    "torchattr.errors": "Errors",
}

FENCE = re.compile(r"^(```\w+) [^\n`]*$", re.MULTILINE)
LINK = re.compile(r"(\]\()(?!\w+:|#)([^)\s]+)(\))")


def on_config(config: Any) -> Any:
    """Add the pages of the reference to the navigation."""
    config.nav.append({"Reference": [{title: page_of(room)} for room, title in ROOMS.items()]})
    return config


def on_files(files: Any, config: Any) -> Any:
    """Make a page for the public names of each room."""
    for room, title in ROOMS.items():
        files.append(File.generated(config, page_of(room), content=reference(room, title)))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """Let links to files that are no pages lead to the repository.

    Of fences, only the language stays: what else tests read there would keep them from being one.
    """

    def linked(match: re.Match[str]) -> str:
        path, _, anchor = match[2].partition("#")
        inside = posixpath.normpath(posixpath.join(posixpath.dirname(page.file.src_uri), path))
        found = files.get_file_from_path(inside)
        if found is not None and found.inclusion.is_included():
            return match[0]
        outside = posixpath.normpath(posixpath.join("docs", inside))
        return f"{match[1]}{SOURCE}{outside}{'#' if anchor else ''}{anchor}{match[3]}"

    return FENCE.sub(r"\1", LINK.sub(linked, markdown))


def page_of(room: str) -> str:
    return f"reference/{room.replace('.', '-')}.md"


def reference(room: str, title: str) -> str:
    """Return the page of a room, with a section for each of its public names."""
    module = importlib.import_module(room)
    names = getattr(module, "__all__", None) or sorted(public_names(module))
    sections = [f"::: {room}.{name}" for name in names]
    return "\n\n".join([f"# {title}: `{room}`", *sections, ""])


def public_names(module: Any) -> list[str]:
    """Return the names that a room's face exports: those written there without an underscore."""
    return [
        name
        for name, value in vars(module).items()
        if not name.startswith("_")
        and callable(value)
        and str(getattr(value, "__module__", "")).startswith("torchattr")
    ]
