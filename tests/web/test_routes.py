"""What the API answers: the library's own numbers, and a sentence for every wrong question."""

from __future__ import annotations

import io
import json
from typing import Any

import numpy as np
import pytest
import torch
from asking import decoded, photo, raw, sentence, unpacked, upload
from helpers import assert_same
from PIL import Image
from starlette.testclient import TestClient
from torch import nn
from torchvision.transforms import Compose, Resize, ToTensor

import torchattr as ta
from torchattr.models import LoadedModel, read_image
from torchattr.models.collage import examples
from torchattr.models.geometry import Box, place
from torchattr.show import SEQUENTIAL, STYLES
from torchattr.show.colors import table
from torchattr.show.styles import Color, Heat, Overlay
from torchattr.web import create_app

PATH = examples()[0].path
CAT = 1


@pytest.fixture(scope="module")
def inputs(demo: LoadedModel) -> torch.Tensor:
    return demo.preprocess(read_image(PATH)).tensor[None]


def attribute(client: TestClient, picture: str, method: str, **more: Any) -> Any:
    question = {"picture": picture, "method": method, "target": CAT, **more}
    response = client.post("/api/attributions", json=question)
    assert response.status_code == 200, response.text
    return response.json()


def test_the_model_says_what_there_is_to_choose_from(client: TestClient) -> None:
    said = client.get("/api/model").json()
    names = [method["name"] for method in said["methods"]]
    assert names[:5] == [
        "saliency",
        "deconvolution",
        "guided_backprop",
        "grad_cam",
        "guided_grad_cam",
    ]
    assert set(names) == set(ta.methods.registered_methods())
    assert [panel["name"] for panel in said["panels"]][:1] == ["scores"]
    assert said["name"] == "demo"
    assert bytes.fromhex(said["colours"]["tables"]["magma"]) == table("magma").tobytes()
    assert tuple(said["colours"]["sequential"]) == SEQUENTIAL


def test_scores_are_those_of_the_model(
    client: TestClient, picture: str, demo: LoadedModel, inputs: torch.Tensor
) -> None:
    said = client.get(f"/api/pictures/{picture}/scores").json()
    expected = demo.probabilities(demo.model(inputs))[0]
    assert [one["index"] for one in said["classes"]] == expected.argsort(descending=True).tolist()
    found = torch.tensor([one["score"] for one in said["classes"]])
    assert_same(found, expected.sort(descending=True).values.detach(), 1e-6)
    assert said["classes"][1]["name"] == "cat"
    assert (said["total"], said["bounded"]) == (8, True)
    assert len(client.get(f"/api/pictures/{picture}/scores?top=3").json()["classes"]) == 3


@pytest.mark.parametrize(
    "method", ["saliency", "guided_backprop", "grad_cam", "guided_grad_cam", "input_x_gradient"]
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


def test_the_same_question_is_answered_from_memory(client: TestClient, picture: str) -> None:
    first = attribute(client, picture, "feature_ablation", options={"feature_mask": 4})
    again = attribute(client, picture, "feature_ablation", options={"feature_mask": 4})
    other = attribute(client, picture, "feature_ablation", options={"feature_mask": 5})
    assert (first["cached"], again["cached"], other["cached"]) == (False, True, False)
    assert again["parts"] == first["parts"]
    assert again["seconds"] < first["seconds"]


LOOKS = {
    "overlay": ({"kind": "overlay"}, Overlay()),
    "strength": (
        {"kind": "overlay", "alpha": 0.3, "percentile": 99, "cmap": "magma"},
        Overlay(percentile=99, alpha=0.3, cmap="magma"),
    ),
    "heat": (
        {"kind": "heat", "channels": "max_abs", "sign": "absolute", "cmap": "inferno"},
        Heat(percentile=100),
    ),
    "signed": (
        {"kind": "heat", "channels": "mean", "sign": "all", "cmap": "bwr"},
        Heat("mean", "all", 100, "bwr"),
    ),
    "negative": (
        {"kind": "overlay", "sign": "negative"},
        Overlay(sign="negative"),
    ),
    "colour": ({"kind": "color", "sign": "all", "percentile": 99.9}, Color()),
}


@pytest.mark.parametrize("look", LOOKS)
def test_a_picture_is_drawn_as_the_library_draws_it(
    client: TestClient, picture: str, look: str
) -> None:
    wanted, style = LOOKS[look]
    part = attribute(client, picture, "input_x_gradient")["parts"][0]
    base = {"kind": "overlay", "channels": "sum", "sign": "positive", "cmap": "viridis"}
    query = {**base, "percentile": 100, "alpha": 0.8, **wanted}
    found = decoded(client.get(f"/api/results/{part['id']}.png", params=query))
    original = np.asarray(read_image(PATH))
    placed = place(style.reduce(raw(client, part)), Box(0, 0, 320, 320), (320, 320))
    np.testing.assert_array_equal(found, style.paint(original, placed))


def test_a_map_is_drawn_in_its_own_style_unless_told_otherwise(
    client: TestClient, picture: str
) -> None:
    part = attribute(client, picture, "grad_cam")["parts"][0]
    found = decoded(client.get(f"/api/results/{part['id']}.png"))
    style = STYLES["overlay"]
    placed = place(style.reduce(raw(client, part)), Box(0, 0, 320, 320), (320, 320))
    np.testing.assert_array_equal(found, style.paint(np.asarray(read_image(PATH)), placed))


def test_one_sign_in_colour_is_black_where_there_is_nothing(
    client: TestClient, picture: str
) -> None:
    part = attribute(client, picture, "input_x_gradient")["parts"][0]
    address = f"/api/results/{part['id']}.png"
    both = decoded(client.get(address, params={"kind": "color", "sign": "all"}))
    raised = decoded(client.get(address, params={"kind": "color", "sign": "positive"}))
    assert (raised[both < 127] == 0).all()
    assert raised.max() > 200


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


@pytest.mark.parametrize("shared", [False, True])
def test_the_grid_is_that_of_the_library(
    client: TestClient, picture: str, shared: bool, demo: LoadedModel, inputs: torch.Tensor
) -> None:
    for layer in ("stage2", "stage2.0.norm1"):
        answer = client.post("/api/features", json={"picture": picture, "layer": layer}).json()
        found = decoded(client.get(f"/api/results/{answer['id']}.png", params={"shared": shared}))
        expected = ta.feature_maps(demo.model, inputs, layer).picture(layer, shared=shared)
        np.testing.assert_array_equal(found, np.asarray(expected))


def test_one_map_is_drawn_large(client: TestClient, picture: str) -> None:
    answer = client.post("/api/features", json={"picture": picture, "layer": "stage3"}).json()
    found = decoded(client.get(f"/api/results/{answer['id']}.png", params={"channel": 7}))
    assert found.shape == (512, 512, 3)
    np.testing.assert_array_equal(found[::32, ::32], found[31::32, 31::32])


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
    """A model without any rectifier, whose scores are no probabilities."""

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


WRONG = [
    ("attributions", {"method": "no_such"}, "no method is called 'no_such'"),
    ("attributions", {"method": "salency"}, "did you mean 'saliency'"),
    ("attributions", {"method": 3}, "method should be a valid string"),
    ("attributions", {}, "method is missing"),
    ("attributions", {"method": "saliency", "target": 8}, "class 8 is out of range"),
    ("attributions", {"method": "saliency", "target": -1}, "target"),
    ("attributions", {"method": "saliency", "target": "1"}, "target"),
    ("attributions", {"method": "saliency", "target": True}, "target"),
    ("attributions", {"method": "saliency", "target": 10**30}, "target"),
    ("attributions", {"method": "saliency", "nonsense": 1}, "Unknown field: nonsense"),
    ("attributions", {"method": "saliency", "options": []}, "options"),
    (
        "attributions",
        {"method": "saliency", "options": {"abs": "yes"}},
        "abs must be true or false",
    ),
    ("attributions", {"method": "saliency", "options": {"abs": None}}, "abs must not be empty"),
    ("attributions", {"method": "saliency", "options": {"inputs": 1}}, "unknown option"),
    ("attributions", {"method": "saliency", "options": {"rules": "gelu"}}, "gelu=guided"),
    ("attributions", {"method": "saliency", "options": {"rules": "relu=no"}}, "'no'"),
    ("attributions", {"method": "grad_cam", "options": {"layer": "stage9"}}, "did you mean"),
    ("attributions", {"method": "grad_cam", "options": {"calls": "both"}}, "calls must be one of"),
    (
        "attributions",
        {"method": "integrated_gradients", "options": {"n_steps": 10**9}},
        "n_steps must be within",
    ),
    (
        "attributions",
        {"method": "integrated_gradients", "options": {"n_steps": 2.5}},
        "an integer",
    ),
    ("attributions", {"method": "integrated_gradients", "options": {"method": "guess"}}, "guess"),
    ("attributions", {"method": "feature_ablation", "options": {"feature_mask": 0}}, "1..64"),
    ("panels", {"panel": "no_such"}, "no panel is called 'no_such'"),
    ("panels", {"panel": "scores", "options": {"top": "many"}}, "top must be a number"),
    ("panels", {"panel": "kernels", "options": {"layer": "head"}}, "head"),
    ("features", {"layer": "no"}, "no layer 'no'"),
    ("features", {"layer": "head"}, "no feature maps"),
    ("features", {"layer": "stage*"}, "matches"),
    ("features", {"layer": "stage1", "call": 2}, "1..1"),
    ("features", {"layer": "stage1", "call": 0}, "1..1"),
    ("features", {"layer": "x" * 500}, "layer"),
    ("projections", {"layer": "stage1", "channel": 32}, "channel 32 is out of range"),
    ("projections", {"layer": "stage1", "channel": -1}, "channel"),
    ("projections", {"layer": "stage1", "channel": 1.5}, "channel"),
    ("projections", {"layer": "stage1", "channel": 0, "position": [32, 0]}, "32"),
    ("projections", {"layer": "stage1", "channel": 0, "position": [0, -1]}, "position"),
    ("projections", {"layer": "stage1", "channel": 0, "position": [1]}, "position"),
    ("projections", {"layer": "stage1", "channel": 0, "position": [1, 2, 3]}, "position"),
    ("projections", {"layer": "stage1", "channel": 0, "rule": "magic"}, "'guided'"),
    ("projections", {"layer": "stage1", "channel": 0, "call": 7}, "call must be within 1..1"),
    ("projections", {"layer": "head", "channel": 0}, "places"),
]


@pytest.mark.parametrize(("path", "question", "words"), WRONG)
def test_wrong_questions_are_answered_by_sentences(
    client: TestClient, picture: str, path: str, question: dict[str, Any], words: str
) -> None:
    response = client.post(f"/api/{path}", json={"picture": picture, **question})
    assert words in sentence(response, 422)


@pytest.mark.parametrize(
    "body", [b"", b"{", b"null", b"[]", b'"text"', b"\xff\xfe", b'{"picture": NaN}']
)
def test_bodies_that_are_no_question_are_answered_by_sentences(
    client: TestClient, body: bytes
) -> None:
    headers = {"content-type": "application/json"}
    response = client.post("/api/features", content=body, headers=headers)
    assert response.status_code in (400, 422)
    sentence(response, response.status_code)


@pytest.mark.parametrize("number", [float("inf"), float("-inf"), float("nan"), 10**400])
def test_numbers_beyond_all_bounds_are_refused(
    client: TestClient, picture: str, number: float
) -> None:
    options = {"baselines": number}
    body = json.dumps({"picture": picture, "method": "integrated_gradients", "options": options})
    headers = {"content-type": "application/json"}
    response = client.post("/api/attributions", content=body, headers=headers)
    assert "finite" in sentence(response, 422)


@pytest.mark.parametrize("key", ["0" * 24, "x", "%00", "..", "a b"])
def test_what_was_never_held_is_not_there(client: TestClient, key: str) -> None:
    for path in (f"pictures/{key}.png", f"pictures/{key}/scores", f"results/{key}.npz"):
        sentence(client.get(f"/api/{path}"), 404)
    sentence(client.post("/api/features", json={"picture": key, "layer": "stage1"}), 404)


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("kind=sparkles", "kind must be one of"),
        ("sign=sideways", "sign must be one of"),
        ("channels=some", "channels must be one of"),
        ("cmap=jet", "cmap must be one of"),
        ("alpha=2", "alpha must be within 0..1"),
        ("alpha=nan", "alpha must be within 0..1"),
        ("percentile=0", "percentile"),
        ("percentile=high", "percentile"),
        ("kind=heat&sign=all&cmap=viridis", "no colours for negative values"),
        ("kind=color", "channels"),
        ("channels=luma&kind=heat", "luma"),
    ],
)
def test_wrong_looks_are_answered_by_sentences(
    client: TestClient, picture: str, query: str, words: str
) -> None:
    options = {"layer": "stage3", "attr_dim_summation": False}
    part = attribute(client, picture, "grad_cam", options=options)["parts"][0]
    assert part["shape"] == [96, 16, 16]
    assert words in sentence(client.get(f"/api/results/{part['id']}.png?{query}"), 422)


@pytest.mark.parametrize(
    "channels", ["", "x", "0,", "-1", "64", "0,64", "1e3", ",".join("0" * 300)]
)
def test_wrong_channels_are_answered_by_sentences(
    client: TestClient, picture: str, channels: str
) -> None:
    maps = client.post("/api/features", json={"picture": picture, "layer": "stage2"}).json()
    response = client.get(f"/api/results/{maps['id']}.f32", params={"channels": channels})
    assert "channels must be" in sentence(response, 422)
    sentence(client.get(f"/api/results/{maps['id']}.f32"), 422)
    sentence(client.get(f"/api/results/{maps['id']}.png?channel=64"), 422)


def test_a_picture_is_no_result(client: TestClient) -> None:
    key = upload(client, photo()).json()["id"]
    for suffix in ("png", "f32", "svg"):
        sentence(client.get(f"/api/results/{key}.{suffix}"), 404)
    assert unpacked(client.get(f"/api/results/{key}.npz"))["tensor"].shape == (3, 128, 128)


def test_file_names_are_plain(client: TestClient, picture: str) -> None:
    part = attribute(client, picture, "grad_cam")["parts"][0]
    said = client.get(f"/api/results/{part['id']}.npz").headers["content-disposition"]
    assert said == 'attachment; filename="Grad-CAM.npz"'


def test_a_picture_of_which_the_model_sees_a_part_is_drawn_whole(
    demo: LoadedModel, visit: Any
) -> None:
    from torchvision.transforms._presets import ImageClassification

    transform = ImageClassification(crop_size=64, resize_size=64)
    client = visit(create_app(LoadedModel("cropping", demo.model, transform, demo.class_names)))
    wide = Image.open(PATH).resize((300, 100))
    wide.save(file := io.BytesIO(), "PNG")
    key = upload(client, file.getvalue()).json()["id"]
    part = attribute(client, key, "grad_cam")["parts"][0]
    assert part["box"] == [100, 0, 200, 100]
    drawn = decoded(client.get(f"/api/results/{part['id']}.png"))
    assert drawn.shape == (100, 300, 3)
    assert (drawn[:, :100] >= np.asarray(wide)[:, :100]).all()


def test_an_operation_that_is_no_layer_can_be_looked_into(
    client: TestClient, picture: str, demo: LoadedModel, inputs: torch.Tensor
) -> None:
    question = {"picture": picture, "layer": "stem.relu"}
    assert client.post("/api/features", json=question).json()["shape"] == [32, 64, 64]
    answer = client.post("/api/projections", json={**question, "channel": 3}).json()
    expected = ta.back_project(demo.model, inputs, "stem.relu", 3).pictures[0, 0]
    assert_same(torch.from_numpy(raw(client, answer["parts"][0]).copy()), expected.detach(), 1e-5)


def test_other_places_and_rules_are_other_questions(client: TestClient, picture: str) -> None:
    question = {"picture": picture, "layer": "stage2", "channel": 11}
    changes: list[dict[str, Any]] = [
        {},
        {"position": [8, 4]},
        {"position": [8, 5]},
        {"rule": "guided"},
    ]
    seen: list[np.ndarray] = []
    for change in changes:
        answer = client.post("/api/projections", json={**question, **change}).json()
        assert not answer["cached"]
        seen.append(raw(client, answer["parts"][0]))
    for number, one in enumerate(seen):
        assert all(not np.array_equal(one, other) for other in seen[:number])
    assert client.post("/api/projections", json={**question, **changes[1]}).json()["cached"]


class Folded(nn.Module):
    """A model that folds two halves of the picture into the batch for a while."""

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
