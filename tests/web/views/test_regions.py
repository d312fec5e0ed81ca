"""What a visitor can point at, and what is explained then."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from region_models import loaded, picture

from torchattr.web import create_app


def client_of(name: str) -> TestClient:
    return TestClient(create_app(loaded(name), images=()), base_url="http://localhost")


@pytest.fixture(scope="module")
def detector() -> Iterator[TestClient]:
    with client_of("detector") as client:
        yield client


@pytest.fixture(scope="module")
def segmenter() -> Iterator[TestClient]:
    with client_of("segmenter") as client:
        yield client


def opened(client: TestClient) -> str:
    file = io.BytesIO()
    picture().save(file, "PNG")
    answer = client.post("/api/pictures", files={"file": ("both.png", file.getvalue())})
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


def asked(client: TestClient, **question: Any) -> Any:
    key = opened(client)
    question = {"picture": key, "method": "saliency", **question}
    return client.post("/api/attributions", json=question)


def columns(client: TestClient, answer: Any) -> np.ndarray:
    """Return in which columns of the input the map is not zero."""
    assert answer.status_code == 200, answer.text
    part = answer.json()["parts"][0]
    values = np.frombuffer(client.get(f"/api/results/{part['id']}.f32").content, np.float32)
    return np.abs(values.reshape(part["shape"])).sum((0, 1)) > 0


def test_detections_are_listed_in_pixels_of_the_picture(detector: TestClient) -> None:
    scores = detector.get(f"/api/pictures/{opened(detector)}/scores").json()
    assert scores["regions"] == "boxes"
    assert {one["name"]: one["box"] for one in scores["boxes"]} == {
        "red": [4, 4, 28, 28],
        "green": [36, 4, 60, 28],
    }


def test_a_segmentation_has_positions(segmenter: TestClient) -> None:
    scores = segmenter.get(f"/api/pictures/{opened(segmenter)}/scores").json()
    assert (scores["regions"], scores["boxes"]) == ("positions", [])


@pytest.mark.parametrize("method", ["saliency", "feature_ablation"])
@pytest.mark.parametrize(
    ("region", "name", "side"),
    [([16, 16], "box: red", 0), ([38, 6, 62, 30], "box: green", 1)],
)
def test_regions_of_a_detector(
    detector: TestClient, method: str, region: list[float], name: str, side: int
) -> None:
    answer = asked(detector, region=region, method=method)
    there = columns(detector, answer).reshape(2, -1).any(1)
    assert answer.json()["title"] == name
    assert there.tolist() == [side == 0, side == 1]


@pytest.mark.parametrize(
    ("region", "target", "name", "side"),
    [
        ([16, 16], None, "segment: red", 0),
        ([50, 16], None, "segment: green", 1),
        ([0, 0, 32, 32], 1, "mask: red", 0),
    ],
)
def test_regions_of_a_segmentation(
    segmenter: TestClient, region: list[float], target: int | None, name: str, side: int
) -> None:
    answer = asked(segmenter, region=region, target=target)
    there = columns(segmenter, answer).reshape(2, -1).any(1)
    assert answer.json()["title"] == name
    assert there.tolist() == [side == 0, side == 1]


def test_the_ledger_is_that_of_the_region(segmenter: TestClient) -> None:
    """Its inputs have what the map sums to."""
    for region, target in (([16, 16], None), ([50, 16], None), ([0, 0, 32, 32], 1)):
        answer = asked(segmenter, region=region, target=target, method="lrp")
        assert answer.status_code == 200, answer.text
        chosen, ledger = answer.json()["parts"]
        values = segmenter.get(f"/api/results/{chosen['id']}.f32").content
        shown = dict(zip(ledger["bars"]["labels"], ledger["bars"]["values"], strict=True))
        assert shown["inputs"] == pytest.approx(np.frombuffer(values, np.float32).sum(), rel=1e-4)


def test_another_region_is_another_result(segmenter: TestClient) -> None:
    assert not asked(segmenter, region=[17, 17]).json()["cached"]
    assert not asked(segmenter, region=[1, 0, 32, 32], target=1).json()["cached"]
    assert asked(segmenter, region=[17, 17]).json()["cached"]


@pytest.mark.parametrize(
    ("region", "status", "said"),
    [
        ([32, 1], 422, "no detected box contains this point"),
        ([0, 0, 5, 5], 422, "no detection overlaps this box"),
        ([1, 2, 3], 422, "region must be a point"),
        ([9, 9, 5, 5], 422, "x1 < x2 and y1 < y2"),
        ([1, 2, 3, 4, 5], 422, "region"),
        (["a", 1], 422, "region"),
    ],
)
def test_regions_without_anything_are_refused(
    detector: TestClient, region: list[Any], status: int, said: str
) -> None:
    answer = asked(detector, region=region)
    assert answer.status_code == status
    assert said in answer.text


def test_a_panel_explains_the_region(segmenter: TestClient) -> None:
    question = {"picture": opened(segmenter), "panel": "gradient", "region": [16, 16]}
    answer = segmenter.post("/api/panels", json=question)
    assert columns(segmenter, answer).reshape(2, -1).any(1).tolist() == [True, False]
