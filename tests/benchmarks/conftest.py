"""A folder with made-up results."""

from __future__ import annotations

from pathlib import Path

import pytest
from made_up import MACHINE, kernel_row, methods_row, scale_rows, section

from benchmarks.report.results import Results


@pytest.fixture
def results(tmp_path: Path) -> Path:
    sections = {
        "kernels": section(kernel_row("relu"), kernel_row("unpool")),
        "methods": section(methods_row()),
        "scale": section(*scale_rows()),
    }
    folder = tmp_path / "results"
    Results(MACHINE, sections, {}).write(folder, "abacus")
    return folder
