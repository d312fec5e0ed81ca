"""What is said of a text that names no model."""

import pickle
import zipfile
from pathlib import Path

import pytest

from torchattr.errors import ModelError
from torchattr.models import FORMS, load_model


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def refusal(spec):
    with pytest.raises(ModelError) as caught:
        load_model(spec)
    return str(caught.value)


@pytest.mark.parametrize(
    "spec", ["", "torchvision:", "timm:", "hub:a", "quite_another", "a b", "."]
)
def test_an_unknown_text_lists_the_forms(spec):
    said = refusal(spec)
    assert repr(spec) in said
    assert all(form in said for form in FORMS)


def test_a_name_without_its_scheme_is_recognised():
    said = refusal("resnet50")
    assert said.startswith("unknown model 'resnet50'; did you mean 'torchvision:resnet50'")
    assert "resnet152" not in said  # Of a name that is right, nothing is close.
    assert "'torchvision:resnet50' or 'torchvision:" in refusal("resnet5")
    assert "did you mean 'demo'?" in refusal("Demo")
    assert "did you mean 'timm:hf-hub:timm/some.net'?" in refusal("hf-hub:timm/some.net")


def test_a_python_file_needs_a_function_of_it():
    assert refusal("net.py") == "there is no file net.py"
    Path("net.py").write_text("1 / 0\ndef small(): ...\ndef _own(): ...\n")
    assert refusal("net.py").endswith("returns the model, as net.py:small; there are: small")
    Path("net.py").write_text("def broken(:")
    assert "as net.py:FUNCTION; there are: none" in refusal("net.py")
    Path("notes.txt").write_text("x")
    assert refusal("notes.txt:net").startswith("notes.txt is not a Python file")


class Loud:
    """Would write a file if it were unpickled."""

    def __reduce__(self):
        return Path.touch, (Path("was_run"),)


@pytest.mark.parametrize("name", ["demo.pkl", "whole.pt", "whole.PTH"])
def test_a_pickle_is_not_opened_and_the_way_out_is_said(name):
    Path(name).write_bytes(pickle.dumps(Loud()))
    said = refusal(name)
    assert f"{name} is a pickle: reading a model from it would run any code" in said
    assert said.endswith(f"read its weights with weights='{name}'")
    assert not Path("was_run").exists()


def test_other_files_are_told_apart():
    with zipfile.ZipFile("scripted.pt", "w") as archive:  # As torch.jit.save lays it out.
        archive.writestr("scripted/code/__torch__.py", "")
    Path("net.onnx").write_bytes(b"")
    Path("w.safetensors").write_bytes(b"")
    assert "is a scripted model" in refusal("scripted.pt")
    assert "is not a PyTorch model" in refusal("net.onnx")
    assert "holds weights, but not the model" in refusal("w.safetensors")
    assert refusal("gone.pkl") == "there is no file gone.pkl"
