import pytest
import torch
from PIL import Image

from torchattr.bulk.modelling import as_loaded, chosen_device
from torchattr.errors import InputError, InputTypeError


def test_a_name_is_loaded() -> None:
    assert as_loaded("demo", device="cpu").name == "demo"


def test_a_module_without_a_transform_serves_tensors_only(model) -> None:
    loaded = as_loaded(model)
    assert (loaded.model, repr(loaded.transform)) == (model, "none")
    with pytest.raises(InputError, match="pass transform"):
        loaded.preprocess(Image.new("RGB", (8, 8)))


def test_a_module_with_a_transform(model, loaded) -> None:
    loaded = as_loaded(model, transform=loaded.transform, activation="logits")
    assert loaded.preprocess(Image.new("RGB", (8, 8))).tensor.shape == (3, 8, 8)
    assert loaded.activation == "logits"


def test_a_loaded_model_is_used_as_it_is(loaded) -> None:
    assert as_loaded(loaded) is loaded
    assert as_loaded(loaded, device="cpu").model is loaded.model


def test_what_does_not_go_together_is_refused(loaded, model) -> None:
    for given, options in (
        (loaded, {"transform": len}),
        ("demo", {"transform": len}),
        (model, {"weights": "w.pth"}),
    ):
        with pytest.raises(InputError, match="does not go with this model"):
            as_loaded(given, **options)


def test_anything_else_is_refused() -> None:
    with pytest.raises(InputTypeError, match="got int"):
        as_loaded(3)


def test_auto_takes_the_gpu_of_the_process(monkeypatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert (chosen_device("auto"), chosen_device("cpu")) == ("cpu", "cpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setenv("LOCAL_RANK", "3")
    assert chosen_device("auto") == "cuda:1"
