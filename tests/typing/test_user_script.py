"""The types of the public interface, as a user's type checker sees them."""

from __future__ import annotations

import os
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

import torchattr
from torchattr.methods.registry import METHODS

SCRIPT = Path(__file__).with_name("user_script.py")


def test_the_script_runs() -> None:
    with METHODS.temporary():
        summary = runpy.run_path(str(SCRIPT))["summary"]
    assert summary.startswith("Explanation(saliency (2, 3, 3, 8, 8), grad_cam")


@pytest.mark.slow
def test_mypy_knows_the_types_without_help(tmp_path: Path) -> None:
    # A user has no settings of ours, and torchattr is an installed package to them.
    options = ["--strict", "--config-file=", "--follow-imports=silent", f"--cache-dir={tmp_path}"]
    root = Path(torchattr.__file__).parents[1]
    # A folder of installed packages is searched in any case, and must not be named.
    sources = {} if root.name == "site-packages" else {"MYPYPATH": str(root)}
    done = subprocess.run(
        [sys.executable, "-m", "mypy", *options, str(SCRIPT)],
        cwd=tmp_path,
        env={**os.environ, **sources},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
