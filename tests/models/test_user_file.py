import sys

import pytest
import torch
from PIL import Image

from torchattr.errors import ModelError, WeightsError
from torchattr.models import TransformWarning, blamed, frames_of_user, load_model

SOURCE = """
from torch import nn
from torchvision.transforms import ToTensor
from torchattr.models import LoadedModel
from sibling_of_user_file import WIDTH

def net():
    return nn.Sequential(nn.Conv2d(3, WIDTH, 1), nn.Dropout(), nn.Flatten())

def with_transform():
    return net(), ToTensor()

def with_names():
    return net(), ToTensor(), ["cat", 7]

def complete():
    return LoadedModel("mine", net(), ToTensor(), activation="sigmoid")

def exported():
    import torch
    program = torch.export.export(net().eval(), (torch.zeros(1, 3, 4, 4),))
    return program.module(), ToTensor()

def number():
    return 3

def with_a_number_for_names():
    return net(), ToTensor(), 5

def with_names_by_index():
    return net(), ToTensor(), {0: "cat", 1: "dog"}

def deep():
    return broken()

def broken():
    raise ZeroDivisionError("inside the user's code")
"""


@pytest.fixture
def file(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    (tmp_path / "sibling_of_user_file.py").write_text("WIDTH = 2\n")
    (tmp_path / "mine.py").write_text(SOURCE)
    yield tmp_path / "mine.py"
    sys.modules.pop("sibling_of_user_file", None)


def test_every_form_of_result(file):
    loaded = load_model(f"{file}:with_transform")
    assert (loaded.name, loaded.class_names) == ("mine.py:with_transform", None)
    assert not any(module.training for module in loaded.model.modules())
    assert load_model(f"{file}:with_names").class_names == ("cat", "7")
    complete = load_model(f"{file}:complete")
    assert (complete.name, complete.activation) == ("mine", "sigmoid")
    assert not complete.model.training


def test_an_exported_program_is_taken_as_it_is(file):
    loaded = load_model(f"{file}:exported")
    assert loaded.model(torch.zeros(1, 3, 4, 4)).shape == (1, 32)
    assert not loaded.model.training


def test_a_missing_transform_is_assumed_aloud(file):
    with pytest.warns(TransformWarning, match=r"mine\.py:net comes without its preprocessing"):
        loaded = load_model(f"{file}:net")
    assert loaded.preprocess(Image.new("RGB", (300, 300))).tensor.shape == (3, 224, 224)


def test_weights_are_loaded(file, tmp_path):
    state = {"0.weight": torch.ones(2, 3, 1, 1), "0.bias": torch.zeros(2)}
    torch.save(state, tmp_path / "w.pth")
    loaded = load_model(f"{file}:with_transform", weights=tmp_path / "w.pth")
    assert torch.equal(loaded.model[0].weight, state["0.weight"])
    with pytest.raises(WeightsError, match="there is no file"):
        load_model(f"{file}:with_transform", weights=tmp_path / "none.pth")


def test_the_search_path_is_left_alone(file):
    before = list(sys.path)
    load_model(f"{file}:with_transform")
    with pytest.raises(ZeroDivisionError, match="inside the user's code"):
        load_model(f"{file}:broken")
    assert sys.path == before


def test_wrong_specs_are_named(file, tmp_path):
    with pytest.raises(ModelError, match="there is no file"):
        load_model(f"{tmp_path}/none.py:net")
    with pytest.raises(ModelError, match=r"has no function 'nett'; did you mean 'net'"):
        load_model(f"{file}:nett")
    with pytest.raises(ModelError, match=r"must return an nn\.Module.*got \(int\)"):
        load_model(f"{file}:number")
    with pytest.raises(ModelError, match="has no function ''"):
        load_model(f"{file}:")


@pytest.mark.parametrize("function", ["with_a_number_for_names", "with_names_by_index"])
def test_class_names_are_a_list(file, function):
    with pytest.raises(ModelError, match=r"class_names must be a list of names .*, got (5|\{0)"):
        load_model(f"{file}:{function}")


def test_a_function_makes_its_own_weights(file):
    with pytest.raises(WeightsError, match=r"mine\.py:with_transform makes its own weights"):
        load_model(f"{file}:with_transform", weights="random")


def test_the_calls_of_the_users_code_are_known(file, tmp_path):
    with pytest.raises(ZeroDivisionError) as caught:
        load_model(f"{file}:deep")
    assert [one.name for one in frames_of_user(caught.value)] == ["deep", "broken"]
    assert blamed(caught.value).endswith("in broken: ZeroDivisionError: inside the user's code")


def test_a_fault_in_a_module_beside_the_file_is_blamed_there(file, tmp_path):
    (tmp_path / "sibling_of_user_file.py").write_text("WIDTH = nothing\n")
    with pytest.raises(NameError) as caught:
        load_model(f"{file}:net")
    assert f"{tmp_path / 'sibling_of_user_file.py'}, line 1" in blamed(caught.value)
    with pytest.raises(ModelError) as own:
        load_model("nothing")
    assert frames_of_user(own.value) == []
