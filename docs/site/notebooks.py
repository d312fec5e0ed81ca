"""Notebooks as pages of the site: run, with what they print and draw."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import nbformat
from nbclient import NotebookClient
from nbconvert import MarkdownExporter

FOLDER = Path(__file__).parent.parent / "notebooks"
TIMEOUT = 600
"""Seconds that a cell may take."""


def notebooks() -> list[Path]:
    return sorted(FOLDER.glob("*.ipynb"))


def executed(text: str) -> nbformat.NotebookNode:
    """Run a notebook in an empty folder; an exception in a cell is one here."""
    notebook = nbformat.reads(text, as_version=4)
    # The kernel warns that it talks to this process without encryption.
    options = {"kernel_name": "python3", "extra_arguments": ["--log-level=ERROR"]}
    with TemporaryDirectory() as folder:
        place = {"metadata": {"path": folder}}
        NotebookClient(notebook, timeout=TIMEOUT, resources=place, **options).execute()
    return notebook


@cache
def as_page(name: str, text: str) -> tuple[str, dict[str, bytes]]:
    """Return the page of a notebook and its pictures, by their paths beside the page.

    Cached, because `mkdocs serve` asks again whenever any file changes.
    """
    places = {"unique_key": name, "output_files_dir": name}
    page, resources = MarkdownExporter().from_notebook_node(executed(text), places)
    page = page.replace("![png](", "![What the code above draws](")
    download = f'<a href="{name}.ipynb" download>Download this page as a notebook</a>'
    return f"{page}\n{download}\n", resources["outputs"]
