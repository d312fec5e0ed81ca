"""Completion by the shell: commands, methods and models, without PyTorch, and its script."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import torchattr

ROOT = str(Path(torchattr.__file__).parents[1])


def run(*arguments: str, **variables: str) -> str:
    done = subprocess.run(
        [sys.executable, *arguments],
        env={**os.environ, "PYTHONPATH": ROOT, **variables},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


def completed(line: str) -> list[str]:
    """Return what Bash is told to complete the last word of a line to."""
    words = line.split(" ")
    asked = {"_TORCHATTR_COMPLETE": "complete_bash", "COMP_WORDS": line}
    return run("-m", "torchattr", **asked, COMP_CWORD=str(len(words) - 1)).split()


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("torchattr exp", ["explain"]),
        ("torchattr explain --meth", ["--method"]),
        ("torchattr explain --method guided_", ["guided_backprop", "guided_grad_cam"]),
        ("torchattr benchmark --method guided_g", ["guided_grad_cam"]),
        ("torchattr methods guided_b", ["guided_backprop"]),
        ("torchattr explain --model ti", ["timm:", "timm:hf-hub:"]),
        ("torchattr view --other l", ["lite0"]),
    ],
)
def test_words_are_completed(line: str, words: list[str]) -> None:
    assert completed(line) == words


def test_nothing_is_run_to_complete_a_line(tmp_path: Path) -> None:
    file = tmp_path / "own.py"
    file.write_text("print('it ran')")
    assert completed(f"torchattr explain --load {file} --method rise") == ["rise"]


def test_no_torch_is_imported() -> None:
    script = (
        "import sys\n"
        "from torchattr.cli import app\n"
        "try:\n"
        "    app(prog_name='torchattr')\n"
        "finally:\n"
        "    assert 'torch' not in sys.modules\n"
    )
    words = {"COMP_WORDS": "torchattr explain --method guided_g", "COMP_CWORD": "3"}
    assert run("-c", script, _TORCHATTR_COMPLETE="complete_bash", **words) == "guided_grad_cam\n"


def test_the_script_is_shown() -> None:
    # A shell is named, since the test may not be run from one.
    named = {"_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}
    script = run("-m", "torchattr", "--show-completion", "bash", **named)
    assert "_TORCHATTR_COMPLETE=complete_bash" in script
    assert script.strip().endswith("_torchattr_completion torchattr")
