"""Methods and their options through the API, compared with the library."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from asking import (
    CAT,
    ask_panel,
    attribute,
    raw,
    sentence,
    unpacked,
)
from helpers import assert_same
from starlette.testclient import TestClient

import torchattr as ta
from torchattr.methods import RelevanceAttribution, find_method
from torchattr.models import LoadedModel
from torchattr.runs.method_form import input_bounds
from torchattr.web import (
    Bars,
    LedgerCard,
    Panel,
    Scene,
    Text,
    register_panel,
)


@pytest.mark.parametrize(
    "method",
    [
        *("saliency", "guided_backprop", "grad_cam", "guided_grad_cam", "input_x_gradient"),
        *("lrp", "attn_lrp", "libra_grad"),
    ],
)
def test_maps_are_those_of_the_library(
    client: TestClient, picture: str, method: str, demo: LoadedModel, inputs: torch.Tensor
) -> None:
    answer = attribute(client, picture, method)
    found = torch.from_numpy(raw(client, answer["parts"][0]).copy())
    layer = "stage3" if "cam" in method else None
    expected = ta.explain(demo.model, inputs, [method], ta.Classes(CAT), layer=layer)[method][0, 0]
    assert_same(found, expected.detach(), 1e-5)
    arrays = unpacked(client.get(f"/api/results/{answer['parts'][0]['id']}.npz"))
    np.testing.assert_array_equal(arrays["map"], found)
    np.testing.assert_array_equal(arrays["box"], [0, 0, 320, 320])


def test_a_method_says_what_it_rewrote_and_for_which_class(
    client: TestClient, picture: str
) -> None:
    answer = attribute(client, picture, "guided_backprop")
    assert answer["note"] == "11 relu calls, 11 rewritten"
    assert (answer["title"], answer["target"]) == ("cat", CAT)
    best = client.post("/api/attributions", json={"picture": picture, "method": "saliency"}).json()
    assert best["title"] == "astronaut"


def test_options_reach_the_method(client: TestClient, picture: str) -> None:
    signed = raw(client, attribute(client, picture, "saliency", options={"abs": False})["parts"][0])
    plain = raw(client, attribute(client, picture, "saliency")["parts"][0])
    assert (signed < 0).any()
    np.testing.assert_array_equal(np.abs(signed), plain)
    options = {"layer": "stage1", "relu_attributions": True}
    cam = attribute(client, picture, "grad_cam", options=options)["parts"][0]
    assert cam["shape"] == [1, 32, 32]
    assert raw(client, cam).min() == 0
    rules = {"rules": "relu=gradient"}
    answer = attribute(client, picture, "guided_backprop", options=rules)
    np.testing.assert_allclose(raw(client, answer["parts"][0]), signed, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize(
    ("asked", "used"),
    [({}, "sigmoid"), ({"activation": None}, "sigmoid"), ({"activation": "none"}, "none")],
)
def test_the_model_says_how_scores_become_probabilities(
    client: TestClient, picture: str, demo: LoadedModel, inputs: torch.Tensor, asked: Any, used: Any
) -> None:
    answer = attribute(client, picture, "rise", options={"n_masks": 20, **asked})
    expected = ta.RISE(demo.model).attribute(inputs, CAT, n_masks=20, activation=used)
    found = raw(client, answer["parts"][0])
    np.testing.assert_allclose(found, expected[0].numpy(), rtol=1e-5)


def test_each_call_of_a_layer_gets_its_map(client: TestClient, picture: str) -> None:
    options = {"layer": "stage1.0.relu", "calls": "each"}
    answer = attribute(client, picture, "grad_cam", options=options)
    assert [part["title"] for part in answer["parts"]] == ["Grad-CAM, 1", "Grad-CAM, 2"]
    last = attribute(client, picture, "grad_cam", options={"layer": "stage1.0.relu"})
    assert "called 2 times" in last["notes"][0]
    np.testing.assert_array_equal(raw(client, last["parts"][0]), raw(client, answer["parts"][1]))


@pytest.mark.usefixtures("registered")
def test_a_method_brings_its_own_panel(client: TestClient, picture: str) -> None:
    @ta.register_method("halved")
    class Halved(ta.GradientAttribution):
        """Half of the gradient; it is *not* the whole."""

        def attribute(self, inputs, target=None, additional_forward_args=None, share=0.5):
            return self._attribute(inputs, target, additional_forward_args, share=share)

        def finish(self, inputs, grads, *, share=0.5):
            return grads * share

        def panel(self, values, scene):
            yield Bars(["red", "green", "blue"], values.abs().sum((0, 2, 3)), "By colour")
            yield Text(scene.class_name)

    listed = client.get("/api/model").json()["methods"][-1]
    assert (listed["title"], listed["panel"]) == ("Halved", True)
    assert [one["name"] for one in listed["fields"]][-1:] == ["share"]
    question = {"picture": picture, "method": "halved", "target": 1, "options": {"share": 0.25}}
    found = client.post("/api/attributions", json=question).json()["parts"]
    question = {"picture": picture, "method": "saliency", "target": 1, "options": {"abs": False}}
    whole = client.post("/api/attributions", json=question).json()["parts"][0]
    np.testing.assert_allclose(4 * raw(client, found[0]), raw(client, whole), rtol=1e-6)
    expected = np.abs(raw(client, found[0])).sum((1, 2))
    np.testing.assert_allclose(found[1]["values"], expected, rtol=1e-4)
    assert found[2]["text"] == "cat"


@pytest.mark.usefixtures("registered")
@pytest.mark.parametrize(
    ("method", "shape", "kind"),
    [("flat", (5,), "text"), ("plane", (4, 4), "map"), ("volume", (2, 3, 4, 4), "text")],
)
def test_results_that_are_no_pictures_are_said_to_be_none(
    client: TestClient, picture: str, method: str, shape: tuple[int, ...], kind: str
) -> None:
    @ta.register_method(method)
    class Shaped(ta.GradientAttribution):
        def finish(self, inputs, grads):
            return grads.new_ones(len(grads), *shape)

    answer = client.post("/api/attributions", json={"picture": picture, "method": method}).json()
    assert [part["kind"] for part in answer["parts"]] == [kind]


@pytest.mark.usefixtures("registered")
def test_wrong_parts_and_faults_are_sentences(client: TestClient, picture: str) -> None:
    @register_panel("wrong")
    class Wrong(Panel):
        def show(self, scene: Scene, fault: bool = False) -> Any:
            return [1 / 0] if fault else ["a.png"]

    @register_panel("needy")
    class Needy(Panel):
        def show(self, scene: Scene, thing: Any) -> Any:
            return []

    assert "wrong must return parts" in sentence(ask_panel(client, picture, "wrong"), 422)
    assert "ZeroDivisionError" in sentence(ask_panel(client, picture, "wrong", fault=True), 500)
    assert "requires thing" in sentence(ask_panel(client, picture, "needy"), 422)


@pytest.mark.parametrize("method", ["lrp", "attn_lrp", "libra_grad"])
def test_a_relevance_map_comes_with_its_ledger(
    client: TestClient, picture: str, method: str, demo: LoadedModel, inputs: torch.Tensor
) -> None:
    chosen, ledger = attribute(client, picture, method)["parts"]
    assert (chosen["kind"], ledger["kind"]) == ("map", "ledger")
    made = find_method(method)(demo.model)
    assert isinstance(made, RelevanceAttribution)
    (expected,) = made.ledgers(inputs, CAT)
    assert ledger["bars"]["values"] == pytest.approx(
        [share for _, share in LedgerCard(expected).shares()], rel=1e-4, abs=1e-4
    )
    shown = dict(zip(ledger["bars"]["labels"], ledger["bars"]["values"], strict=True))
    assert shown["inputs"] == pytest.approx(raw(client, chosen).sum(), rel=1e-3)


def test_the_ledger_follows_the_options(client: TestClient, picture: str) -> None:
    options = {"composite": "zero", "zero_params": "bias"}
    plain, other = (
        attribute(client, picture, "lrp", options=chosen)["parts"][1] for chosen in ({}, options)
    )
    assert plain["bars"]["values"] != other["bars"]["values"]


def test_bounds_of_the_input_are_those_of_black_and_white(
    client: TestClient, picture: str, demo: LoadedModel, inputs: torch.Tensor
) -> None:
    box = {"composite": "epsilon_gamma_box"}
    found = raw(client, attribute(client, picture, "lrp", options=box)["parts"][0])
    given = attribute(client, picture, "lrp", options={**box, "low": -9.0, "high": 9.0})
    assert not np.allclose(found, raw(client, given["parts"][0]))
    method = ta.LRP(demo.model, "epsilon_gamma_box", **input_bounds(demo))
    assert_same(torch.from_numpy(found.copy()), method.attribute(inputs, CAT)[0], 1e-5)
    assert "low and high" in sentence(
        client.post(
            "/api/attributions",
            json={"picture": picture, "method": "lrp", "options": {**box, "low": 0.0}},
        ),
        422,
    )


@pytest.mark.parametrize("method", ["saliency", "excitation_backprop"])
def test_maps_of_other_quantities_have_no_ledger(
    client: TestClient, picture: str, method: str
) -> None:
    """The map of excitation backprop is a layer's, and its sum is not the share of the inputs."""
    parts = attribute(client, picture, method)["parts"]
    assert [part["kind"] for part in parts] == ["map"]
