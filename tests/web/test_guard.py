"""Which requests are accepted: token, host, origin and size."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from asking import photo, sentence, upload
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from torchattr.models import LoadedModel
from torchattr.web import Limits, create_app
from torchattr.web.guard import is_local

TOKEN = "a token that nobody guesses"


@pytest.fixture(scope="module")
def closed(demo: LoadedModel) -> Any:
    """A viewer on a non-local address, with a token."""
    return create_app(demo, token=TOKEN, hosts=None)


@pytest.mark.parametrize(
    "host", ["localhost", "localhost:8765", "127.0.0.1:80", "[::1]:99", "LOCALHOST"]
)
def test_this_machine_is_answered(client: TestClient, host: str) -> None:
    assert client.get("/api/model", headers={"host": host}).status_code == 200


@pytest.mark.parametrize(
    "host", ["attacker.example", "localhost.attacker.example", "127.0.0.1.nip.io", "", "[", "a@b:c"]
)
@pytest.mark.parametrize("path", ["/", "/api/model", "/page/main.js"])
def test_a_name_that_was_bound_to_this_machine_is_refused(
    client: TestClient, host: str, path: str
) -> None:
    sentence(client.get(path, headers={"host": host}), 421)


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://attacker.example"},
        {"origin": "http://localhost:9999"},
        {"origin": "null"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        {"origin": "http://localhost", "sec-fetch-site": "cross-site"},
    ],
)
def test_other_sites_change_nothing(
    client: TestClient, headers: dict[str, str], picture: str
) -> None:
    question = {"picture": picture, "layer": "stage1"}
    said = sentence(client.post("/api/features", json=question, headers=headers), 403)
    assert "Cross-site" in said
    sentence(client.post("/api/pictures", files={"file": photo()}, headers=headers), 403)
    assert len(client.get("/api/pictures").json()) == 4


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"origin": "http://localhost"},
        {"origin": "http://localhost", "sec-fetch-site": "same-origin"},
    ],
)
def test_the_page_itself_and_programs_may(
    client: TestClient, headers: dict[str, str], picture: str
) -> None:
    question = {"picture": picture, "layer": "stage1"}
    assert client.post("/api/features", json=question, headers=headers).status_code == 200


@pytest.mark.parametrize("path", ["/", "/page/main.js", "/api/model", "/api/openapi.json", "/no"])
def test_nothing_is_said_without_the_token(closed: Any, visit: Any, path: str) -> None:
    for query in ("", "?token=", "?token=wrong", f"?token={TOKEN}x", f"?token={TOKEN[:-1]}"):
        assert "token" in sentence(visit(closed).get(path + query), 401)


def test_the_printed_address_opens_the_page_and_hides_the_token(closed: Any, visit: Any) -> None:
    client = visit(closed, base_url="http://192.168.1.20:8765")
    first = client.get("/", params={"token": TOKEN}, follow_redirects=False)
    assert first.status_code == 303
    assert first.headers["location"] == "/"
    assert "HttpOnly" in first.headers["set-cookie"]
    assert client.get("/").status_code == 200
    assert client.get("/api/model").json()["name"] == "demo"


@pytest.mark.parametrize("path", ["/", "//attacker.example/", "/api/model"])
def test_the_token_leads_to_this_page_only(closed: Any, visit: Any, path: str) -> None:
    response = visit(closed).get(
        f"http://localhost{path}", params={"token": TOKEN}, follow_redirects=False
    )
    assert response.headers["location"] == "/"


def test_programs_bring_the_token_along(closed: Any, visit: Any) -> None:
    client = visit(closed)
    assert client.get("/api/model", headers={"authorization": f"Bearer {TOKEN}"}).is_success
    for wrong in (f"Basic {TOKEN}", "Bearer", "Bearer ünbekannt".encode()):
        sentence(client.get("/api/model", headers={"authorization": wrong}), 401)


def test_a_cookie_of_another_viewer_is_no_token(closed: Any, visit: Any, demo: LoadedModel) -> None:
    other = create_app(demo, token="some other token", hosts=None)
    client = visit(other)
    assert client.get("/", params={"token": "some other token"}).is_success
    stranger = visit(closed, cookies=dict(client.cookies))
    sentence(stranger.get("/"), 401)


def test_no_websocket(client: TestClient) -> None:
    with pytest.raises(WebSocketDisconnect), client.websocket_connect("/api/model"):
        pass


def test_a_long_question_is_not_read_to_its_end(client: TestClient, picture: str) -> None:
    taken = 0

    def endless() -> Iterator[bytes]:
        nonlocal taken
        yield b'{"picture": "'
        for _ in range(1000):
            taken += 10_000
            yield b"x" * 10_000

    headers = {"content-type": "application/json"}
    said = sentence(client.post("/api/features", content=endless(), headers=headers), 413)
    assert "65,536 bytes" in said
    question = {"picture": picture, "method": "saliency", "options": {"x": "y" * 70_000}}
    sentence(client.post("/api/attributions", json=question), 413)


def test_json_that_is_too_deep_is_a_sentence(client: TestClient) -> None:
    headers = {"content-type": "application/json"}
    response = client.post("/api/features", content=b"[" * 60_000, headers=headers)
    assert response.status_code in (400, 422)
    sentence(response, response.status_code)


def test_a_large_file_is_not_read_to_its_end(demo: LoadedModel, visit: Any) -> None:
    client = visit(create_app(demo, limits=Limits(upload_bytes=20_000)))
    for size in (21_000, 200_000):
        assert "20,000" in sentence(upload(client, b"\x89PNG" + b"x" * size), 413)
    assert upload(client, photo()).status_code == 201


@pytest.mark.parametrize(
    ("host", "local"),
    [
        ("127.0.0.1", True),
        ("127.8.8.8", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("::", False),
        ("192.168.1.2", False),
        ("localhost.example", False),
    ],
)
def test_which_addresses_are_this_machine(host: str, local: bool) -> None:
    assert is_local(host) is local


@pytest.mark.parametrize(
    "origin",
    ["http://[", "http://[::1", "http://localhost/", "localhost", "", "http://", "//localhost"],
)
def test_an_origin_that_is_none_is_another_site(
    client: TestClient, origin: str, picture: str
) -> None:
    question = {"picture": picture, "layer": "stage1"}
    response = client.post("/api/features", json=question, headers={"origin": origin})
    assert "Cross-site" in sentence(response, 403)
