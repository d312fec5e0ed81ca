"""Answers are computed once per request."""

from __future__ import annotations

from typing import Any

import numpy as np
from asking import attribute, raw
from starlette.testclient import TestClient

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
