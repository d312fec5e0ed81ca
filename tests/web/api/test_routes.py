"""JSON answers of the API, and the errors of invalid requests."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch
from asking import sentence
from helpers import assert_same
from starlette.testclient import TestClient

import torchattr as ta
from torchattr.models import LoadedModel
from torchattr.show import SEQUENTIAL
from torchattr.show.colors import table


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
    ("projections", {"layer": "head", "channel": 0}, "spatial dimensions"),
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
