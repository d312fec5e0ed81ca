"""Layers, their feature maps and back-projections, compared with those of the library."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from asking import raw, sentence, unpacked
from helpers import assert_same
from starlette.testclient import TestClient
from torch import nn
from torchvision.transforms import Compose, Resize, ToTensor

import torchattr as ta
from torchattr.models import LoadedModel
from torchattr.web import create_app


def test_layers_are_listed_with_what_they_give(client: TestClient, picture: str) -> None:
    said = client.get(f"/api/pictures/{picture}/layers").json()
    layers = {layer["name"]: layer for layer in said["layers"]}
    assert said["default"] == "stage3"
    assert layers["stage3"]["shape"] == [96, 16, 16]
    assert layers["stage1.0.relu"]["calls"] == 2
    assert not layers["head"]["has_maps"]
    names = list(layers)
    assert names.index("stem.pool") < names.index("stem.relu") < names.index("stage1")
    assert (layers["stem.relu"]["module"], layers["stem.relu"]["type"]) == (False, "operation")


def test_feature_maps_are_those_of_the_library(
    client: TestClient, picture: str, demo: LoadedModel, inputs: torch.Tensor
) -> None:
    answer = client.post("/api/features", json={"picture": picture, "layer": "stage2"}).json()
    maps = ta.feature_maps(demo.model, inputs, "stage2")["stage2"][0]
    assert answer["shape"] == list(maps.shape)
    content = client.get(f"/api/results/{answer['id']}.f32?channels=5,0,63").content
    found = np.frombuffer(content, "<f4").reshape(3, 16, 16)
    np.testing.assert_array_equal(found, maps[[5, 0, 63]].numpy())
    np.testing.assert_allclose(answer["largest"], maps.amax((1, 2)).numpy())
    np.testing.assert_allclose(answer["mean"], maps.mean((1, 2)).numpy(), rtol=1e-5)
    arrays = unpacked(client.get(f"/api/results/{answer['id']}.npz"))
    np.testing.assert_array_equal(arrays["maps"], maps.numpy())


@pytest.mark.parametrize("rule", ["deconvolution", "guided", "gradient"])
@pytest.mark.parametrize("at", [None, [8, 4]])
def test_projections_are_those_of_the_library(
    client: TestClient,
    picture: str,
    rule: Any,
    at: Any,
    demo: LoadedModel,
    inputs: torch.Tensor,
) -> None:
    question = {"picture": picture, "layer": "stage2", "channel": 11, "position": at, "rule": rule}
    answer = client.post("/api/projections", json=question).json()
    starts = ["max" if at is None else tuple(at), "map"]
    for part, start in zip(answer["parts"], starts, strict=True):
        expected = ta.back_project(demo.model, inputs, "stage2", 11, start, rule)
        found = torch.from_numpy(raw(client, part).copy())
        assert_same(found, expected.pictures[0, 0].detach(), 1e-5)
        if start != "map":
            assert answer["position"] == expected.positions[0, 0].tolist()
            assert answer["activation"] == pytest.approx(float(expected.activations[0, 0]))


def test_calls_of_a_layer_are_told_apart(client: TestClient, picture: str) -> None:
    question = {"picture": picture, "layer": "stage1.0.relu", "channel": 0}
    found = [
        client.post("/api/projections", json={**question, "call": call}).json() for call in (1, 2)
    ]
    assert found[0]["activation"] != found[1]["activation"]


class Smooth(nn.Module):
    """A model without rectifiers, whose scores are not probabilities."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Conv2d(3, 4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return nn.functional.gelu(self.body(x)).mean((2, 3))


@pytest.fixture(scope="module")
def smooth() -> Any:
    transform = Compose([Resize((16, 16)), ToTensor()])
    return create_app(LoadedModel("smooth", Smooth().eval(), transform, activation="none"))


def test_a_model_without_relu_is_refused_by_rules_and_not_by_the_gradient(
    smooth: Any, visit: Any
) -> None:
    client = visit(smooth)
    key = client.get("/api/pictures").json()[0]["id"]
    assert (
        client.get(f"/api/pictures/{key}/scores").json()["classes"][0]["name"].startswith("class")
    )
    question = {"picture": key, "layer": "body", "channel": 0}
    said = sentence(client.post("/api/projections", json=question), 422)
    assert "no relu" in said
    assert "rule 'gradient'" in said
    assert client.post("/api/projections", json={**question, "rule": "gradient"}).is_success
    question = {"picture": key, "method": "guided_backprop"}
    assert "gelu" in sentence(client.post("/api/attributions", json=question), 422)
    assert client.post(
        "/api/attributions", json={**question, "options": {"rules": "gelu=guided"}}
    ).is_success


def test_an_operation_that_is_no_layer_can_be_looked_into(
    client: TestClient, picture: str, demo: LoadedModel, inputs: torch.Tensor
) -> None:
    question = {"picture": picture, "layer": "stem.relu"}
    assert client.post("/api/features", json=question).json()["shape"] == [32, 64, 64]
    answer = client.post("/api/projections", json={**question, "channel": 3}).json()
    expected = ta.back_project(demo.model, inputs, "stem.relu", 3).pictures[0, 0]
    assert_same(torch.from_numpy(raw(client, answer["parts"][0]).copy()), expected.detach(), 1e-5)


class Folded(nn.Module):
    """A model that temporarily folds two halves of the picture into the batch."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.inner, self.gate = (
            nn.Conv2d(3, 4, 3, padding=1),
            nn.Conv2d(4, 4, 1),
            nn.ReLU(),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.first(x)
        halves = torch.cat(x.split(x.shape[-1] // 2, -1))
        one, other = self.gate(self.inner(halves)).chunk(2)
        return torch.cat([one, other], -1).mean((2, 3))


class Attending(nn.Module):
    """Tokens behind a class token, whose attention weights are a layer's values."""

    def __init__(self) -> None:
        super().__init__()
        self.patches, self.norm = nn.Conv2d(3, 4, 4, 4), nn.LayerNorm(4)
        self.weights, self.head = nn.Softmax(-1), nn.Linear(4, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = self.norm(torch.cat([x.mean(1, keepdim=True), x], 1))
        weights = self.weights((x @ x.transpose(1, 2))[:, None])
        return self.head((weights[:, 0] @ x)[:, 0])


def test_tokens_are_drawn_as_their_grid_and_attention_weights_are_not(visit: Any) -> None:
    transform = Compose([Resize((16, 24)), ToTensor()])
    model = Attending().eval()
    client = visit(create_app(LoadedModel("attending", model, transform)))
    key = client.get("/api/pictures").json()[0]["id"]
    layers = client.get(f"/api/pictures/{key}/layers").json()["layers"]
    listed = {one["name"]: one for one in layers}
    assert listed["norm"]["maps"] == [4, 4, 6]
    assert listed["norm"]["shape"] == [25, 4]
    assert not listed["weights"]["has_maps"]
    assert "attention" in listed["weights"]["why"] or "dimensions" in listed["weights"]["why"]
    said = client.post("/api/features", json={"picture": key, "layer": "norm"}).json()
    assert said["shape"] == [4, 4, 6]
    refused = client.post("/api/features", json={"picture": key, "layer": "weights"})
    assert "no maps" in sentence(refused, 422)


@pytest.mark.parametrize("layer", ["inner", "gate"])
def test_layers_whose_batch_is_not_the_picture_are_marked_and_refused(
    visit: Any, layer: str
) -> None:
    transform = Compose([Resize((16, 16)), ToTensor()])
    client = visit(create_app(LoadedModel("folded", Folded().eval(), transform)))
    key = client.get("/api/pictures").json()[0]["id"]
    layers = client.get(f"/api/pictures/{key}/layers").json()["layers"]
    has_maps = {one["name"]: one["has_maps"] for one in layers}
    assert has_maps["first"]
    assert not has_maps[layer]
    response = client.post("/api/features", json={"picture": key, "layer": layer})
    assert "batch" in sentence(response, 422)
    assert client.post("/api/features", json={"picture": key, "layer": "first"}).is_success
