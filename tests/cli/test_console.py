"""How the command reports faults and warnings."""

import json
from pathlib import Path

import pytest
from command import call, refused

import torchattr as ta
from torchattr.core.warn import warn


def explain(*arguments, model="models.py:relu"):
    return call("explain", "--model", model, *arguments)


def manifest(out="torchattr-out"):
    return json.loads((Path(out) / "manifest.json").read_text())


FAULTS = {
    "raises": ("def make():\n    raise KeyError('no such entry')\n", "line 2, in make: KeyError"),
    "imports": ("import no_such_package\n", "line 1, in <module>: ModuleNotFoundError: No module"),
    "syntax": ("def make(:\n    pass\n", "line 1: SyntaxError: "),
    "exits": ("import sys\n\ndef make():\n    sys.exit(7)\n", "line 4, in make: SystemExit: 7"),
    "calls": ("def make():\n    open('no such')\n", "line 2, in make: FileNotFoundError"),
    "forward": (
        "import torch\nfrom torchvision.transforms import ToTensor\n\n"
        "class Net(torch.nn.Module):\n    def forward(self, x):\n        return x / self.scale\n\n"
        "def make():\n    return Net(), ToTensor()\n",
        "line 6, in forward: AttributeError: 'Net' object has no attribute 'scale'",
    ),
    "transform": (
        "import torch\n\ndef wrong(image):\n    return image.no_such\n\n"
        "def make():\n    return torch.nn.Flatten(), wrong\n",
        "line 4, in wrong: AttributeError",
    ),
}


def every(base):
    return {base, *(one for sub in base.__subclasses__() for one in every(sub))}


def own(base):
    """Kinds of error that a command may raise: those of the viewer answer requests only."""
    kinds = (kind for kind in every(base) if kind.__module__.startswith("torchattr."))
    return sorted(
        (kind for kind in kinds if not kind.__module__.startswith("torchattr.web.")),
        key=lambda kind: kind.__name__,
    )


@pytest.mark.parametrize("kind", FAULTS)
@pytest.mark.parametrize("command", ["explain", "layers", "report"])
def test_faults_of_a_users_file_are_named_with_their_place(here, kind, command, monkeypatch):
    code, said = FAULTS[kind]
    Path("mine.py").write_text(code)
    result = call(command, "photo.png", "--model", "mine.py:make")
    refused(result, "mine.py, ", said, "TORCHATTR_TRACEBACK=1")
    monkeypatch.setenv("TORCHATTR_TRACEBACK", "1")
    kept = call(command, "photo.png", "--model", "mine.py:make").exception
    assert type(kept).__name__ in said


@pytest.mark.parametrize("error", own(ta.errors.TorchattrError), ids=lambda one: one.__name__)
def test_every_error_of_the_package_is_a_sentence(here, monkeypatch, error):
    def raising(*args, **kwargs):
        raise error("what is wrong,\nin two lines")

    monkeypatch.setattr("torchattr.runs.explain_settings.explain", raising)
    refused(explain("photo.png"), "error: what is wrong, in two lines")


@pytest.mark.parametrize("warning", own(ta.errors.TorchattrWarning), ids=lambda one: one.__name__)
def test_every_warning_of_the_package_is_a_note(here, monkeypatch, warning):
    from torchattr.runs import explain_settings as plan

    whole = plan.explain

    def warning_first(*args, **kwargs):
        warn("what to know", warning)
        return whole(*args, **kwargs)

    monkeypatch.setattr(plan, "explain", warning_first)
    result = explain("photo.png", "--method", "saliency")
    assert result.exit_code == 0, result.output
    # The command itself reports coverage, for all methods at once.
    expected = 0 if warning is ta.errors.CoverageWarning else 1
    assert result.stderr.count("note: what to know") == expected


def test_other_faults_keep_their_traceback(here, monkeypatch):
    monkeypatch.setattr("torchattr.models.find_images", lambda images: 1 / 0)
    result = explain("photo.png")
    assert result.exit_code == 1
    assert isinstance(result.exception, ZeroDivisionError)


def test_messages_are_shown_as_they_are(here):
    refused(explain("photo.png", "--target", "[bold]x[/bold]"), "unknown class '[bold]x[/bold]'")
