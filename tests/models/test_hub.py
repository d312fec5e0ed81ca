import re
import sys
from contextlib import nullcontext
from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torchvision.transforms import ToTensor

from torchattr.errors import ModelError, WeightsError
from torchattr.models import hub, load_model


class ImageNetInfo:
    def __init__(self, subset):
        self.subset = subset

    def num_classes(self):
        return 2

    def index_to_description(self, index):
        return f"{self.subset}-{index}"


def create(name, pretrained):
    if name == "hf-hub:own/net":
        model = nn.Sequential(nn.Conv2d(3, 2, 1))
        model.pretrained_cfg = {"label_names": ["n1", "n2"], "label_descriptions": {"n2": "cat"}}
        return model
    if ":" in name or pretrained:
        raise RuntimeError("cannot open it") from ConnectionError("cannot reach the hub")
    model = nn.Sequential(nn.Dropout(), nn.Conv2d(3, 2, 1))
    model.pretrained_cfg = {}
    return model


@pytest.fixture
def timm(monkeypatch):
    """A stand-in for the used part of timm's interface, so that the tests need no timm."""
    data = SimpleNamespace(
        resolve_model_data_config=lambda model: {"input_size": (3, 8, 8)},
        create_transform=lambda input_size, is_training: ToTensor(),
        infer_imagenet_subset=lambda model: "imagenet-1k",
        ImageNetInfo=ImageNetInfo,
    )
    stub = SimpleNamespace(
        data=data,
        create_model=create,
        is_model=lambda name: name == "tiny_net",
        list_models=lambda: ["tiny_net", "other"],
    )
    monkeypatch.setattr(hub, "cached_if_unreachable", lambda: nullcontext(None))
    monkeypatch.setitem(sys.modules, "timm", stub)
    monkeypatch.setitem(sys.modules, "timm.data", data)


def test_without_timm_the_error_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(ModelError, match="pip install timm"):
        load_model("timm:resnet18")


@pytest.mark.usefixtures("timm")
def test_a_model_comes_with_its_names_in_eval_mode():
    loaded = load_model("timm:tiny_net", weights="random")
    assert loaded.name == "timm:tiny_net"
    assert loaded.class_names == ("imagenet-1k-0", "imagenet-1k-1")
    assert not loaded.model[0].training


@pytest.mark.parametrize("spec", ["timm:tiny_net", "demo", "torchvision:squeezenet1_1"])
@pytest.mark.usefixtures("timm")
def test_random_weights_are_the_same_each_time_and_leave_the_random_state_alone(spec):
    states = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        before = torch.random.get_rng_state()
        states.append(load_model(spec, weights="random").model.state_dict())
        assert torch.equal(torch.random.get_rng_state(), before)
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


@pytest.mark.usefixtures("timm")
def test_weights_from_a_file(tmp_path):
    state = {"1.weight": torch.ones(2, 3, 1, 1), "1.bias": torch.zeros(2)}
    torch.save(state, tmp_path / "w.pth")
    loaded = load_model("timm:tiny_net", weights=tmp_path / "w.pth")
    assert torch.equal(loaded.model[1].weight, state["1.weight"])


@pytest.mark.usefixtures("timm")
def test_errors_name_the_way_out():
    with pytest.raises(WeightsError, match=r"cannot reach the hub.*weights="):
        load_model("timm:tiny_net")
    with pytest.raises(ModelError, match=r"no model named 'tiny_nets'; did you mean 'tiny_net'"):
        load_model("timm:tiny_nets")


@pytest.mark.usefixtures("timm")
def test_models_of_the_hub_come_with_the_names_of_their_configuration():
    loaded = load_model("timm:hf-hub:own/net")
    assert loaded.class_names == ("n1", "cat")


@pytest.mark.usefixtures("timm")
@pytest.mark.parametrize("weights", [None, "random"])
def test_what_the_hub_does_not_answer_is_a_sentence(weights):
    said = r"net could not be downloaded from the Hub .* cannot reach the hub\). Check the network"
    with pytest.raises(WeightsError, match=said):
        load_model("timm:hf-hub:other/net", weights=weights)
    with pytest.raises(ModelError, match=r"is no folder of a model of timm \(cannot reach"):
        load_model("timm:local-dir:here", weights=weights)


@pytest.mark.usefixtures("timm")
@pytest.mark.parametrize("weights", [None, "random"])
def test_without_a_network_there_is_a_way_out(monkeypatch, weights):
    why = "https://huggingface.co cannot be reached: no network"
    monkeypatch.setattr(hub, "cached_if_unreachable", lambda: nullcontext(why))
    out = "run hf download other/net --local-dir FOLDER, then load timm:local-dir:FOLDER"
    with pytest.raises(WeightsError, match=f"{re.escape(why)}.*{out}"):
        load_model("timm:hf-hub:other/net", weights=weights)
    assert load_model("timm:hf-hub:own/net").class_names == ("n1", "cat")


@pytest.mark.usefixtures("timm")
def test_a_revision_is_an_option_of_the_way_out(monkeypatch):
    monkeypatch.setattr(hub, "cached_if_unreachable", lambda: nullcontext("no network"))
    with pytest.raises(WeightsError, match=r"hf download other/net --revision v2 --local-dir"):
        load_model("timm:hf-hub:other/net@v2")


@pytest.mark.usefixtures("timm")
@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("tiny_net.tag", r"weights of timm:tiny_net.tag could not be loaded \(no such tag\)"),
        ("hf-hub:other/net", r"could not be loaded from the Hub \(no such tag\). Check the name"),
    ],
)
def test_an_unreachable_hub_does_not_hide_what_is_wrong(monkeypatch, name, said):
    def fail(name, pretrained):
        raise RuntimeError("no such tag")

    monkeypatch.setattr(hub, "cached_if_unreachable", lambda: nullcontext("no network"))
    monkeypatch.setattr(sys.modules["timm"], "create_model", fail)
    with pytest.raises(WeightsError, match=said):
        load_model(f"timm:{name}")


class TransportError(Exception):
    """The base of httpx's errors of the network."""


@pytest.mark.usefixtures("timm")
@pytest.mark.parametrize(
    ("name", "weights", "said"),
    [
        ("tiny_net", None, r"timm:tiny_net could not be downloaded .* Check .* weights="),
        ("hf-hub:other/net@v2", None, r"Check the network .* download other/net --revision v2"),
        ("hf-hub:other/net", "random", r"downloaded from the Hub .* Check the network and try"),
    ],
)
def test_a_lost_connection_is_a_sentence(monkeypatch, name, weights, said):
    def fail(name, pretrained):
        raise TransportError("peer closed connection")

    monkeypatch.setattr(sys.modules["timm"], "create_model", fail)
    with pytest.raises(WeightsError, match=said) as caught:
        load_model(f"timm:{name}", weights=weights)
    assert "(the connection failed meanwhile: peer closed connection)" in str(caught.value)


@pytest.mark.usefixtures("timm")
@pytest.mark.parametrize(
    ("spec", "error"), [("hf-hub:other/net", WeightsError), ("local-dir:here", ModelError)]
)
def test_a_wrong_configuration_is_a_sentence(monkeypatch, spec, error):
    def fail(name, pretrained):
        raise KeyError("architecture")

    monkeypatch.setattr(sys.modules["timm"], "create_model", fail)
    with pytest.raises(error, match="there is no entry 'architecture'"):
        load_model(f"timm:{spec}")
