"""The notebooks run from top to bottom without a warning, and are stored without outputs.

Outputs would be megabytes of pictures in each change, and old as soon as the code is new: the site
runs the notebooks when it is built.
"""

import json
import runpy
from pathlib import Path

import pytest

from torchattr.models.lite0 import PACKAGE as PRETRAINED

DOCS = Path(__file__).parent.parent / "docs"
NOTEBOOKS = sorted((DOCS / "notebooks").glob("*.ipynb"))


def name(path):
    return path.stem


def test_there_are_notebooks():
    assert {path.stem for path in NOTEBOOKS} == {
        *("first-map", "what-misled-a-model", "is-it-true", "your-rule-and-method")
    }


@pytest.mark.parametrize("path", NOTEBOOKS, ids=name)
def test_a_notebook_has_no_outputs(path):
    notebook = json.loads(path.read_text(encoding="utf-8"))
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert code
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in code)
    assert notebook["metadata"]["kernelspec"]["name"] == "python3"


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=name)
def test_a_notebook_runs(path):
    for package in ("nbconvert", "ipykernel", PRETRAINED):
        pytest.importorskip(package)
    run = runpy.run_path(str(DOCS / "site" / "notebooks.py"))["executed"]
    outputs = [
        output
        for cell in run(path.read_text(encoding="utf-8")).cells
        if cell.cell_type == "code"
        for output in cell.outputs
    ]
    warned = [output.text for output in outputs if output.get("name") == "stderr"]
    assert not warned
    assert any("image/png" in output.get("data", {}) or output.get("text") for output in outputs)
