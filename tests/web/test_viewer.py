"""Answers are computed once per request."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from asking import attribute, raw, sentence
from starlette.testclient import TestClient
from torchvision.transforms._presets import ImageClassification

from torchattr.models import LoadedModel
from torchattr.web import create_app
from torchattr.web.viewer import digest


def test_the_same_question_is_answered_from_memory(client: TestClient, picture: str) -> None:
    first = attribute(client, picture, "feature_ablation", options={"feature_mask": 4})
    again = attribute(client, picture, "feature_ablation", options={"feature_mask": 4})
    other = attribute(client, picture, "feature_ablation", options={"feature_mask": 5})
    assert (first["cached"], again["cached"], other["cached"]) == (False, True, False)
    assert again["parts"] == first["parts"]
    assert again["seconds"] < first["seconds"]


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


def test_equal_requests_have_equal_keys() -> None:
    assert digest("method", {"a": 1, "b": 2}) == digest("method", {"b": 2, "a": 1})
    assert digest("method", 1) != digest("method", "1")


def test_each_model_answers_for_itself(demo: LoadedModel, visit: Any) -> None:
    silent = copy.deepcopy(demo.model)
    for parameter in list(silent.parameters())[-2:]:
        torch.nn.init.zeros_(parameter)
    cropping = ImageClassification(crop_size=64, resize_size=64)
    other = replace(demo, model=silent, name="silent", transform=cropping, geometry=None)
    client = visit(create_app(demo, others=[other, demo]))
    about = client.get("/api/model").json()
    assert (about["name"], about["models"]) == ("demo", ["demo", "silent", "demo (2)"])
    key = client.get("/api/pictures").json()[0]["id"]

    def top(model: str | None) -> float:
        query = {} if model is None else {"model": model}
        scores = client.get(f"/api/pictures/{key}/scores", params=query).json()
        return float(scores["classes"][0]["score"])

    assert top(None) == top("demo") == top("demo (2)") > 0.5
    assert top("silent") == pytest.approx(0.5)
    own, others = (attribute(client, key, "input_x_gradient", model=m) for m in ("demo", "silent"))
    assert own["parts"][0]["shape"] == [3, 128, 128]
    assert others["parts"][0]["shape"] == [3, 64, 64]
    assert raw(client, own["parts"][0]).any()
    assert not raw(client, others["parts"][0]).any()
    question = {"picture": key, "layer": "stage1", "channel": 2}
    projected = [
        client.post("/api/projections", json={**question, "model": model}).json()["parts"][1]
        for model in ("demo", "silent")
    ]
    assert projected[0]["shape"] != projected[1]["shape"]
    said = client.get(f"/api/results/{others['parts'][0]['id']}.npz").headers
    assert "astronaut_cat-silent-cat-Input-gradient.npz" in said["content-disposition"]
    asked = client.post("/api/features", json={"picture": key, "layer": "stem", "model": "gone"})
    assert "demo, silent, demo (2)" in sentence(asked, 422)
