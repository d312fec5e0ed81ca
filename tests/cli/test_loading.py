"""The option `--load`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer.main
from command import call

from torchattr.cli import app
from torchattr.methods.registry import METHODS

OWN = """
import torchattr as ta


@ta.register_method("{name}")
class Negated(ta.GradientAttribution):
    \"\"\"The gradient, negated.\"\"\"

    def finish(self, inputs, grads):
        return -grads
"""


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    """Discard what a test registers."""
    with METHODS.temporary():
        yield


def written(folder: Path, name: str) -> str:
    file = folder / f"{name}.py"
    file.write_text(OWN.format(name=name).replace("Negated", name.title().replace("_", "")))
    return str(file)


@pytest.mark.parametrize("command", typer.main.get_group(app).commands)
def test_every_command_takes_it(command: str) -> None:
    assert "--load" in call(command, "--help").stdout


def test_what_a_file_registers_is_there(here: Path) -> None:
    own = written(here, "negated_gradient")
    assert "The gradient, negated." in call("methods", "--load", own).stdout
    done = call("explain", "photo.png", "--load", own, "--method", "negated_gradient")
    assert done.exit_code == 0, done.stderr
    manifest = json.loads(Path("torchattr-out/manifest.json").read_text())
    assert "negated_gradient" in json.dumps(manifest)


def test_several_files_are_run_in_order(here: Path) -> None:
    files = [written(here, "first_of_two"), written(here, "second_of_two")]
    listed = call("methods", "--load", files[0], "--load", files[1]).stdout
    assert "first_of_two" in listed
    assert "second_of_two" in listed


def test_a_file_that_fails_is_named_in_a_sentence(here: Path) -> None:
    missing = call("info", "--load", "missing.py")
    assert missing.exit_code == 2
    assert "there is no file missing.py" in missing.stderr
    Path("broken.py").write_text("x = 1 / 0")
    broken = call("explain", "photo.png", "--load", "broken.py")
    assert broken.exit_code == 2
    assert "broken.py, line 1" in broken.stderr
    assert "ZeroDivisionError" in broken.stderr
    assert not Path("torchattr-out").exists()
