import numpy as np
import pytest
from asking import decoded, sentence
from starlette.testclient import TestClient

from torchattr.web import create_maps_app


@pytest.fixture
def client(maps):
    return TestClient(create_maps_app(maps), base_url="http://localhost")


def test_the_store_is_described_and_listed(client):
    assert client.get("/api/maps").json()["failed"] == 1
    page = client.get("/api/maps/pictures", params={"shown": "done", "start": 3, "count": 2}).json()
    assert page["total"] == 5
    assert [one["position"] for one in page["pictures"]] == [3, 4]


def test_a_panel_is_drawn_in_the_asked_size(client, maps):
    response = client.get("/api/maps/pictures/1/panel.png", params={"cell": 64})
    assert np.array_equal(decoded(response), np.asarray(maps.panel(1, cell=64).convert("RGB")))


@pytest.mark.parametrize(
    ("path", "status", "words"),
    [
        ("/api/maps/pictures/6/panel.png", 404, "Not found: /api/maps/pictures/6"),
        ("/api/maps/pictures/-1/panel.png", 404, "Not found: /api/maps/pictures/-1"),
        ("/api/maps/pictures/x/panel.png", 422, "position"),
        ("/api/maps/pictures/1/panel.png?cell=20", 422, "cell"),
        ("/api/maps/pictures/5/panel.png", 422, "has no maps"),
        ("/api/maps/pictures?shown=some", 422, "shown"),
        ("/api/maps/pictures?count=0", 422, "count"),
        ("/api/maps/pictures?count=10000", 422, "count"),
        ("/api/maps/pictures?start=-1", 422, "start"),
        ("/api/model", 404, "Not found"),
    ],
)
def test_wrong_questions_are_answered_by_sentences(client, path, status, words):
    assert words in sentence(client.get(path), status)
