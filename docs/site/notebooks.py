"""Notebooks as pages of the site: run, with what they print and draw."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import nbformat
from nbclient import NotebookClient
from nbconvert import MarkdownExporter

FOLDER = Path(__file__).parent.parent / "notebooks"
OPTIONS = {
    "timeout": 600,
    "kernel_name": "python3",
    "coalesce_streams": True,
    # The kernel warns that it talks to this process without encryption.
    "extra_arguments": ["--log-level=ERROR"],
}
# Of PyTorch's import of tqdm, where Jupyter's own progress bars are not installed.
QUIET = "ignore:IProgress not found"


def notebooks() -> list[Path]:
    return sorted(FOLDER.glob("*.ipynb"))


def executed(text: str) -> nbformat.NotebookNode:
    """Run a notebook in an empty folder; an exception in a cell is one here."""
    notebook = nbformat.reads(text, as_version=4)
    with TemporaryDirectory() as folder:
        client = NotebookClient(notebook, resources={"metadata": {"path": folder}}, **OPTIONS)
        client.execute(env={**os.environ, "PYTHONWARNINGS": QUIET})
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
