"""The application: its page, its errors, and how it becomes part of another one."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from asking import sentence
from fastapi import APIRouter, Depends, FastAPI
from helpers import refused
from starlette.testclient import TestClient
from torch import nn
from torchvision.transforms import Compose, Resize, ToTensor

from torchattr.errors import InputError
from torchattr.models import LoadedModel
from torchattr.web import Limits, create_app
from torchattr.web.api.dependencies import session_of, viewer_of
from torchattr.web.app import PAGE

TRANSFORM = Compose([Resize((16, 16)), ToTensor()])


class Broken(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        raise ZeroDivisionError("a fault of the model\n  in two lines")


class NotANumber(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.mean((1, 2, 3))[:, None] * torch.tensor([[float("nan"), 1.0]])


def test_the_page_comes_from_the_package_and_names_no_other_host(client: TestClient) -> None:
    page = client.get("/")
    assert page.status_code == 200
    assert page.headers["content-type"].startswith("text/html")
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    for file in PAGE.iterdir():
        text = file.read_text(encoding="utf-8")
        for address in ("http://", "https://", "//cdn", "@import"):
            found = text.replace("http://www.w3.org/2000/svg", "")
            assert address not in found, f"{file.name} names another host"
        assert client.get(f"/page/{file.name}").status_code == 200


@pytest.mark.parametrize("path", ["/docs", "/redoc", "/docs/oauth2-redirect"])
def test_pages_that_need_scripts_from_elsewhere_are_off(client: TestClient, path: str) -> None:
    sentence(client.get(path), 404)


def test_the_api_describes_itself(client: TestClient) -> None:
    assert "/api/projections" in client.get("/api/openapi.json").json()["paths"]


@pytest.mark.parametrize(
    ("method", "path", "status", "words"),
    [
        ("GET", "/nothing", 404, "Not found: /nothing"),
        ("GET", "/api/nothing", 404, "/api/nothing"),
        ("GET", "/page/nothing.js", 404, "Not found"),
        ("DELETE", "/api/model", 405, "Method DELETE is not allowed"),
        ("GET", "/api/attributions", 405, "Method GET is not allowed"),
        ("PUT", "/", 405, "PUT"),
    ],
)
def test_wrong_addresses_are_answered_by_sentences(
    client: TestClient, method: str, path: str, status: int, words: str
) -> None:
    assert words in sentence(client.request(method, path), status)


@pytest.mark.parametrize(
    "path",
    [
        "/page/../app.py",
        "/page/%2e%2e/app.py",
        "/page/..%2fapp.py",
        "/page/....//app.py",
        "/page//etc/passwd",
        "/page/%2fetc%2fpasswd",
        "/api/pictures/..%2f..%2fapp.png",
        "/api/results/..%2fapp.npz",
    ],
)
def test_no_path_leads_out_of_the_page(client: TestClient, path: str) -> None:
    sentence(client.get(path), 404)


def test_a_fault_of_the_model_is_a_sentence(visit: Any) -> None:
    client = visit(create_app(LoadedModel("broken", Broken(), TRANSFORM)))
    key = client.get("/api/pictures").json()[0]["id"]
    response = client.get(f"/api/pictures/{key}/scores")
    said = sentence(response, 500)
    assert "ZeroDivisionError: a fault of the model" in said
    assert "two lines" not in said
    assert "default-src" in response.headers["content-security-policy"]


def test_scores_that_are_not_numbers_are_refused(visit: Any) -> None:
    client = visit(create_app(LoadedModel("nan", NotANumber(), TRANSFORM)))
    key = client.get("/api/pictures").json()[0]["id"]
    assert "NaN" in sentence(client.get(f"/api/pictures/{key}/scores"), 422)


def test_it_can_be_mounted(demo: LoadedModel, visit: Any) -> None:
    outer = FastAPI()
    outer.mount("/viewer", create_app(demo))
    client = visit(outer)
    assert "page/main.js" in client.get("/viewer/").text
    assert client.get("/viewer/page/main.js").status_code == 200
    assert client.get("/viewer/api/model").json()["name"] == "demo"
    with client:
        key = client.get("/viewer/api/pictures").json()[0]["id"]
        assert client.get(f"/viewer/api/pictures/{key}/scores").json()["total"] == 8


def test_routes_of_ones_own_see_the_viewer_and_the_session(demo: LoadedModel, visit: Any) -> None:
    router = APIRouter(prefix="/mine")

    @router.get("/held")
    def held(viewer: Any = Depends(viewer_of), session: Any = Depends(session_of)) -> Any:  # noqa: B008 - FastAPI's way
        return {"model": viewer.loaded.name, "bytes": session.nbytes}

    client = visit(create_app(demo, routers=[router]))
    assert client.get("/mine/held").json() == {"model": "demo", "bytes": 0}
    sentence(client.get("/mine/held", headers={"host": "elsewhere.example"}), 421)


def test_every_host_needs_a_token(demo: LoadedModel) -> None:
    with refused(InputError, "hosts=None", "token"):
        create_app(demo, hosts=None)


def test_other_pictures_take_the_place_of_those_that_come_along(
    demo: LoadedModel, visit: Any, tmp_path: Any
) -> None:
    from PIL import Image

    Image.new("RGB", (30, 20), "teal").save(tmp_path / "teal.png")
    client = visit(create_app(demo, images=[tmp_path / "teal.png"]))
    listed = client.get("/api/pictures").json()
    assert [(one["name"], one["size"], one["example"]) for one in listed] == [
        ("teal.png", [30, 20], True)
    ]


def test_a_viewer_that_is_closed_closes_its_threads(demo: LoadedModel, visit: Any) -> None:
    app = create_app(demo, limits=Limits(waiting=2))
    with visit(app) as client:
        key = client.get("/api/pictures").json()[0]["id"]
        assert client.get(f"/api/pictures/{key}/scores").status_code == 200
    with pytest.raises(RuntimeError):
        app.state.viewer.drawing.submit(int)
