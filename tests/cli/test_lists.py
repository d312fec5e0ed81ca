"""The commands `methods` and `info`."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from command import call

import torchattr as ta


def explain(*arguments, model="models.py:relu"):
    return call("explain", "--model", model, *arguments)


def manifest(out="torchattr-out"):
    return json.loads((Path(out) / "manifest.json").read_text())


def arrays_of(name="photo", out="torchattr-out"):
    with np.load(Path(out) / f"{name}.npz") as arrays:
        return dict(arrays)


def every(base):
    return {base, *(one for sub in base.__subclasses__() for one in every(sub))}


def own(base):
    return sorted(
        (one for one in every(base) if one.__module__.startswith("torchattr")),
        key=lambda one: one.__name__,
    )


OWN = """
import torch
from torch import nn
from torchvision.transforms import Compose, Resize, ToTensor

import torchattr as ta


@ta.register_method("own_gradient")
class OwnGradient(ta.GradientAttribution):
    def finish(self, inputs, grads):
        return grads * 2


def make():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(392, 2))
    return net, Compose([Resize((16, 16)), ToTensor()])
"""


def test_methods_are_listed(here):
    lines = call("methods").stdout.splitlines()
    rows = {line.split()[0]: line for line in lines}
    assert "GuidedBackprop" in rows["guided_backprop"]
    assert " no " in rows["saliency"]
    assert " optional " in rows["grad_cam"]


def test_info_lists_rules_and_backends(here):
    text = call("info", "--all").stdout
    assert torch.__version__.partition("+")[0] in text
    rows = {line.split()[0]: line for line in text.splitlines() if line.strip()}
    assert "guided" in rows["relu"]
    assert "available" in text.partition("backend")[2]


def test_info_names_the_option_that_lists_what_needs_pytorch(here):
    short = call("info")
    assert torch.__version__.partition("+")[0] in short.stdout
    assert "relu" not in short.stdout
    assert "torchattr info --all" in short.stderr
    assert list(json.loads(call("info", "--json").stdout)) == ["versions"]


@pytest.mark.parametrize("line", [["info"], ["info", "--json"], ["explain", "--help"]])
def test_what_needs_no_pytorch_imports_neither_it_nor_other_large_packages(line):
    """Typer converts arguments by pydantic, which takes longer to import than help to print."""
    code = (
        "import sys; from torchattr.cli import app\n"
        f"app({line}, standalone_mode=False)\n"
        "large = {'torch', 'torchvision', 'numpy', 'matplotlib', 'PIL'}\n"
        f"large |= {{'pydantic'}} if {line[-1] == '--help'} else set()\n"
        "assert not large & set(sys.modules), large & set(sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], check=False, timeout=120, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def test_a_method_registered_in_the_models_file_is_seen(here, monkeypatch):
    from torchattr.methods import registry

    monkeypatch.setattr(registry.METHODS, "_entries", dict(registry.METHODS._entries))
    Path("own.py").write_text(OWN)
    line = ("photo.png", "--method", "own_gradient", "--method", "saliency", "--target", "0")
    for _ in range(2):
        result = explain(*line, model="own.py:make")
        assert result.exit_code == 0, result.output
    found = arrays_of()
    np.testing.assert_allclose(np.abs(found["own_gradient"]), 2 * found["saliency"], rtol=1e-6)
    report = call("report", *line[:5], "--model", "own.py:make", "--html", "page.html")
    assert report.exit_code == 0, report.output
    refused_method = explain("photo.png", "--method", "own_gradiant", model="own.py:make")
    assert refused_method.exit_code == 2
    assert "did you mean 'own_gradient'" in refused_method.stderr


def test_another_class_under_a_registered_name_is_refused():
    with pytest.raises(ta.errors.RegistryError, match="'saliency' is registered already"):
        ta.register_method("saliency")(ta.GradCAM)
    with pytest.raises(ta.errors.RegistryError, match="'saliency' is registered already"):
        ta.register_method("saliency")(ta.Saliency)


def test_the_options_of_a_method_are_listed():
    lines = call("methods", "rise").stdout
    assert "arXiv:1806.07421" in lines
    (masks,) = [line for line in lines.splitlines() if line.startswith("n_masks")]
    assert masks.split()[1:3] == ["integer", "4000"]
    assert "`" not in lines
    assert ":class:" not in lines


def test_an_unknown_method_has_no_options():
    failed = call("methods", "ris")
    assert failed.exit_code == 2
    assert "did you mean 'rise'" in failed.stderr


def test_lists_are_json_on_request():
    listed = json.loads(call("methods", "--json").stdout)
    assert {one["name"] for one in listed} == set(ta.methods.registered_methods())
    rise = json.loads(call("methods", "rise", "--json").stdout)
    assert rise["options"][0]["name"] == "n_masks"
    info = json.loads(call("info", "--all", "--json").stdout)
    assert info["versions"]["torch"] == torch.__version__.partition("+")[0]
    assert info["operations"]["relu"]["rules"]
    assert info["backends"]["torch"]["cpu"] == {"unavailable": []}
