import urllib.error

import pytest
import torch
from PIL import Image
from torchvision import models
from torchvision.models._api import WeightsEnum
from torchvision.transforms._presets import ImageClassification

from torchattr.errors import ModelError, WeightsError
from torchattr.models import load_model


@pytest.fixture(scope="module")
def squeezenet():
    return load_model("torchvision:squeezenet1_1", weights="random")


def test_random_weights_come_with_transform_and_names(squeezenet):
    assert squeezenet.name == "torchvision:squeezenet1_1"
    assert isinstance(squeezenet.transform, ImageClassification)
    assert (len(squeezenet.class_names), squeezenet.class_names[281]) == (1000, "tabby")
    assert squeezenet.activation == "softmax"
    assert not any(module.training for module in squeezenet.model.modules())


def test_random_weights_are_the_same_each_time_and_leave_the_random_state(squeezenet):
    before = torch.get_rng_state()
    again = load_model("torchvision:squeezenet1_1", weights="random")
    assert torch.equal(torch.get_rng_state(), before)
    for a, b in zip(again.model.parameters(), squeezenet.model.parameters(), strict=True):
        assert torch.equal(a, b)


def test_a_file_is_loaded_into_the_model(tmp_path, squeezenet):
    state = {k: torch.full_like(v, 0.5) for k, v in squeezenet.model.state_dict().items()}
    torch.save(state, tmp_path / "w.pth")
    loaded = load_model("torchvision:squeezenet1_1", weights=tmp_path / "w.pth")
    assert all((p == 0.5).all() for p in loaded.model.parameters())
    assert not loaded.model.training


def test_a_published_file_brings_its_own_transform(tmp_path):
    model = models.mobilenet_v3_large()
    v1 = models.MobileNet_V3_Large_Weights.IMAGENET1K_V1
    torch.save(model.state_dict(), tmp_path / v1.url.rpartition("/")[2])
    torch.save(model.state_dict(), tmp_path / "own.pth")
    named = load_model("torchvision:mobilenet_v3_large", tmp_path / v1.url.rpartition("/")[2])
    other = load_model("torchvision:mobilenet_v3_large", tmp_path / "own.pth")
    assert (named.transform.resize_size, other.transform.resize_size) == ([256], [232])


def test_weights_of_another_size_do_not_fit(tmp_path):
    torch.save(models.squeezenet1_1(num_classes=7).state_dict(), tmp_path / "w.pth")
    with pytest.raises(WeightsError, match=r"classifier\.1\.weight \(7, 512, 1, 1\) instead of"):
        load_model("torchvision:squeezenet1_1", weights=tmp_path / "w.pth")


def test_old_densenet_names_are_understood(tmp_path):
    state = models.densenet121().state_dict()
    old = {k: v for k, v in state.items() if "num_batches" not in k}
    for part in ("norm1", "norm2", "conv1", "conv2"):
        old = {k.replace(f".{part}.", f".{part[:-1]}.{part[-1]}."): v for k, v in old.items()}
    assert "features.denseblock1.denselayer1.norm.1.weight" in old
    torch.save(old, tmp_path / "w.pth")
    loaded = load_model("torchvision:densenet121", weights=tmp_path / "w.pth")
    key = "features.denseblock1.denselayer1.conv2.weight"
    assert torch.equal(loaded.model.state_dict()[key], state[key])


@pytest.mark.parametrize("auxiliary", [True, False])
def test_googlenet_fits_with_and_without_its_auxiliary_heads(tmp_path, auxiliary):
    net = models.googlenet(aux_logits=auxiliary, init_weights=False)
    torch.save(net.state_dict(), tmp_path / "w.pth")
    model = load_model("torchvision:googlenet", weights=tmp_path / "w.pth").model
    assert model.transform_input
    assert model.aux_logits is auxiliary


@pytest.mark.parametrize("auxiliary", [True, False])
def test_segmentation_models_download_no_backbone(tmp_path, monkeypatch, auxiliary):
    def fail(*args, **kwargs):
        raise AssertionError("a download was tried")

    monkeypatch.setattr(WeightsEnum, "get_state_dict", fail)
    assert load_model("torchvision:lraspp_mobilenet_v3_large", "random").class_names[8] == "cat"
    build = models.segmentation.deeplabv3_mobilenet_v3_large
    state = build(weights_backbone=None, aux_loss=auxiliary).state_dict()
    torch.save(state, tmp_path / "w.pth")
    loaded = load_model("torchvision:deeplabv3_mobilenet_v3_large", tmp_path / "w.pth")
    assert (loaded.model.aux_classifier is not None) is auxiliary


def test_a_download_that_fails_says_how_to_give_a_file(monkeypatch):
    def fail(*args, **kwargs):
        raise urllib.error.URLError("no route to host")

    monkeypatch.setattr(WeightsEnum, "get_state_dict", fail)
    with pytest.raises(WeightsError) as caught:
        load_model("torchvision:squeezenet1_1")
    message = str(caught.value)
    assert "no route to host" in message
    assert "weights=" in message
    assert models.SqueezeNet1_1_Weights.DEFAULT.url in message


def test_published_weights_can_be_chosen_by_name(monkeypatch):
    seen = []
    state = models.squeezenet1_1().state_dict()
    monkeypatch.setattr(
        WeightsEnum, "get_state_dict", lambda self, *a, **k: seen.append(self) or state
    )
    load_model("torchvision:squeezenet1_1", weights="IMAGENET1K_V1")
    assert seen == [models.SqueezeNet1_1_Weights.IMAGENET1K_V1]


def test_a_missing_file_lists_the_published_names():
    with pytest.raises(WeightsError, match=r"there is no file none\.pth.*IMAGENET1K_V1"):
        load_model("torchvision:squeezenet1_1", weights="none.pth")


def test_an_unknown_name_gets_the_closest():
    with pytest.raises(ModelError, match=r"no model named 'resnet51'; did you mean .*resnet50"):
        load_model("torchvision:resnet51")


@pytest.mark.parametrize("name", ["raft_small", "r3d_18", "quantized_resnet18"])
def test_other_kinds_of_models_are_refused(name):
    with pytest.raises(ModelError, match="not a floating-point classification, segmentation or"):
        load_model(f"torchvision:{name}", weights="random")


@pytest.mark.parametrize(
    "name", ["ssdlite320_mobilenet_v3_large", "fasterrcnn_mobilenet_v3_large_320_fpn"]
)
def test_detectors_are_loaded_with_their_labels(name):
    loaded = load_model(f"torchvision:{name}", weights="random")
    assert loaded.class_names[17] == "cat"
    prepared = loaded.preprocess(Image.new("RGB", (80, 60)))
    assert prepared.tensor.shape == (3, 60, 80)
    (found,) = loaded.model(prepared.tensor[None])
    assert set(found) == {"boxes", "labels", "scores"}
