"""Sessions by cookie: unguessable, private and limited in number."""

from __future__ import annotations

from typing import Any

from asking import photo, sentence, upload

from torchattr.models import LoadedModel
from torchattr.web import Limits, create_app


def test_the_cookie_is_out_of_reach_of_scripts_and_other_sites(visit: Any) -> None:
    cookie = visit().get("/api/model").headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    assert "Secure" in visit(base_url="https://localhost").get("/api/model").headers["set-cookie"]


def test_two_viewers_do_not_take_each_others_cookies(demo: LoadedModel, visit: Any) -> None:
    names = [
        visit(create_app(demo)).get("/api/model").headers["set-cookie"].split("=")[0]
        for _ in range(2)
    ]
    assert names[0] != names[1]


def test_nobody_sees_the_pictures_and_results_of_others(visit: Any) -> None:
    one, other = visit(), visit()
    key = upload(one, photo(seed=5)).json()["id"]
    found = one.post("/api/attributions", json={"picture": key, "method": "saliency"}).json()
    part = found["parts"][0]["id"]
    assert one.get(f"/api/results/{part}.npz").status_code == 200
    for path in (
        f"/api/pictures/{key}.png",
        f"/api/pictures/{key}/scores",
        f"/api/results/{part}.npz",
        f"/api/results/{part}.png",
        f"/api/results/{part}.f32",
    ):
        assert "expired" in sentence(other.get(path), 404)
    assert len(other.get("/api/pictures").json()) == 4


def test_a_visitor_too_many_is_told_so_and_nobody_is_put_out(demo: LoadedModel, visit: Any) -> None:
    app = create_app(demo, limits=Limits(sessions=3))
    visitors = [visit(app) for _ in range(3)]
    keys = [upload(client, photo(seed=seed)).json()["id"] for seed, client in enumerate(visitors)]
    for path in ("/api/model", "/api/pictures", "/api/jobs", "/api/results/none.f32"):
        response = visit(app).get(path)
        assert "3 visitors" in sentence(response, 503)
        assert 0 < int(response.headers["retry-after"]) <= 600
        assert "set-cookie" not in response.headers
    assert visit(app).get("/").status_code == 200
    for key, client in zip(keys, visitors, strict=True):
        assert client.get(f"/api/pictures/{key}.png").status_code == 200
