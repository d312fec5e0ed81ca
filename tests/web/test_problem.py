"""Error responses: JSON for programs, a page for browsers."""

from __future__ import annotations

from typing import Any

import pytest
from asking import sentence
from starlette.applications import Starlette
from starlette.routing import Route
from starlette.testclient import TestClient

from torchattr.models import LoadedModel
from torchattr.web import create_app
from torchattr.web.problem import Problem

BROWSER = {"accept": "text/html,application/xhtml+xml,*/*;q=0.8"}


def asked(problem: Problem, **headers: str) -> Any:
    async def answer(request: Any) -> Problem:
        return problem

    return TestClient(Starlette(routes=[Route("/", answer)])).get("/", headers=headers)


@pytest.mark.parametrize("accept", ["*/*", "application/json", "image/png"])
def test_a_program_gets_json(accept: str) -> None:
    response = asked(Problem(503, "The model is busy.", 1.2), accept=accept)
    assert sentence(response, 503) == "The model is busy."
    assert response.headers["retry-after"] == "2"
    assert "script-src 'self'" in response.headers["content-security-policy"]


def test_a_browser_gets_a_page_that_runs_nothing() -> None:
    response = asked(Problem(404, "Not found: <script>alert(1)</script>."), **BROWSER)
    assert response.status_code == 404
    assert response.headers["content-type"].startswith("text/html")
    assert "Not found: &lt;script&gt;alert(1)&lt;/script&gt;." in response.text
    assert "<script" not in response.text
    policy = response.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert "script-src" not in policy
    assert response.headers["x-content-type-options"] == "nosniff"


def test_a_wrong_token_is_explained(demo: LoadedModel, visit: Any) -> None:
    client = visit(create_app(demo, token="a token that nobody guesses", hosts=None))
    response = client.get("/?token=wrong", headers=BROWSER)
    assert response.status_code == 401
    assert "Open the URL printed when the viewer started." in response.text
    sentence(client.get("/api/model"), 401)
