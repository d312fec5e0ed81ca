"""Any request gets a correct response or an error message, never a server error."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
from asking import photo
from starlette.testclient import TestClient

from torchattr.models import LoadedModel
from torchattr.web import Limits, create_app

TOKEN = "a token that nobody guesses"

ODD: list[Any] = [
    *(None, True, False, 0, 1, -1, 7, 2**31, 2**63, 10**30, -0.0, 1.5, 1e308, float("nan")),
    *(
        float("inf"),
        float("-inf"),
        "",
        " ",
        "0",
        "stage1",
        "saliency",
        "nan",
        "../..",
        "%00",
        "\x00",
    ),
    *("x" * 70, "x" * 500, "ü\U0001f600", "\ud800", [], [[]], [0, 0], [1, 2, 3], {}, {"": None}),
    *({"abs": 1}, {"layer": ["a"]}, {"n_steps": "1"}, [None] * 50, {"a": {"b": {"c": {}}}}),
]

FIELDS = {
    "attributions": ("picture", "method", "target", "options", "job"),
    "panels": ("picture", "panel", "target", "options", "job"),
    "features": ("picture", "layer", "call", "job"),
    "projections": ("picture", "layer", "channel", "place", "rule", "call", "job"),
}

RIGHT = {
    "method": "saliency",
    "panel": "scores",
    "layer": "stage1",
    "channel": 0,
    "target": 1,
    "call": 1,
    "rule": "guided",
}

HEADERS = [
    *("", " ", "null", "[", "http://[", "http://[::1", "http://]", "http://localhost:port", "//"),
    *("http://localhost", "http://localhost:99999", "http://loc\xe4lhost", "http://a@b@c", ":::"),
    *("x" * 5000, "\xff\xfe", "a=b; c", "=;=;=", '"', "%00", "multipart/form-data", "-1", "1e9"),
    *("bytes=5-1", "bytes=a-b", "Basic =", "Bearer", "*/*;q=x", "gzip;q=-1", "Mon, 99 Foo 2000"),
    *("application/json; charset=nothing", "multipart/form-data; boundary=\xff", "0", "text/html"),
]

NAMES = (
    *("origin", "host", "cookie", "content-type", "authorization", "sec-fetch-site", "accept"),
    *("range", "if-modified-since", "if-none-match", "if-range", "accept-encoding", "referer"),
    *("x-forwarded-host", "x-forwarded-proto", "transfer-encoding", "expect", "content-encoding"),
)


def judge(response: Any) -> None:
    """Check that a response is not a server error, and that every refusal is one sentence."""
    assert response.status_code < 500, response.text
    if response.status_code >= 400:
        found = response.json()
        assert list(found) == ["error"]
        assert found["error"].endswith((".", "!", "?"))
        assert "\n" not in found["error"]
        assert len(found["error"]) < 2000
        assert "Traceback" not in found["error"]


def text(value: Any) -> bytes:
    """JSON with any value that a program may send."""
    return json.dumps(value).encode()


@pytest.mark.parametrize("route", FIELDS)
def test_fields_of_every_kind_are_answered(client: TestClient, picture: str, route: str) -> None:
    headers = {"content-type": "application/json"}
    right = {name: RIGHT[name] for name in FIELDS[route] if name in RIGHT}
    right["picture"] = picture
    for name in FIELDS[route]:
        for odd in ODD:
            judge(client.post(f"/api/{route}", content=text({**right, name: odd}), headers=headers))
        without = {key: value for key, value in right.items() if key != name}
        judge(client.post(f"/api/{route}", content=text(without), headers=headers))


# scikit-learn's own: no line fits scores of 1e18.
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("count", [1, pytest.param(6, marks=pytest.mark.slow)])
def test_options_of_every_method_and_panel_are_answered(
    client: TestClient, picture: str, count: int
) -> None:
    model, chance = client.get("/api/model").json(), random.Random(0)
    headers = {"content-type": "application/json"}
    for route, kind in (("attributions", "method"), ("panels", "panel")):
        for one in model[f"{kind}s"]:
            for field in one["fields"]:
                for odd in chance.sample(ODD, count):
                    if (isinstance(odd, (int, float)) and abs(odd) == 1) or odd == 7:
                        continue  # These are right, and may take long.
                    options = (
                        {field["name"]: odd, "n_masks": 2}
                        if one["name"] == "rise"
                        else {field["name"]: odd}
                    )
                    question = {"picture": picture, kind: one["name"], "options": options}
                    judge(client.post(f"/api/{route}", content=text(question), headers=headers))


def test_bodies_of_every_kind_are_answered(client: TestClient) -> None:
    chance = random.Random(1)
    bodies = [
        b"",
        b"{",
        b"[]",
        b"null",
        b"1e999",
        b"\xff",
        b"{}" * 9,
        b"[" * 9000,
        b'{"a":1,"a":2}',
    ]
    bodies += [chance.randbytes(60) for _ in range(20)] + [text(odd) for odd in ODD]
    kinds = ("application/json", "text/plain", "multipart/form-data; boundary=x", "a/b/c", "")
    for route in (*FIELDS, "pictures"):
        for body in bodies:
            kind = chance.choice(kinds)
            judge(client.post(f"/api/{route}", content=body, headers={"content-type": kind}))


@pytest.mark.parametrize("guarded", [False, True], ids=["open", "with a token"])
def test_headers_of_every_kind_are_answered(demo: LoadedModel, visit: Any, guarded: bool) -> None:
    limits = Limits(sessions=10_000)
    app = (
        create_app(demo, token=TOKEN if guarded else None, hosts=None, limits=limits)
        if guarded
        else create_app(demo, limits=limits)
    )
    client = visit(app)
    for name in NAMES:
        for odd in HEADERS:
            for method, path in (("GET", "/"), ("GET", "/page/main.js"), ("POST", "/api/features")):
                request = client.build_request(method, path, content=b"{}" * (method == "POST"))
                request.headers["authorization"] = f"Bearer {TOKEN}"
                request.headers.raw[:] = [
                    one for one in request.headers.raw if one[0].lower() != name.encode()
                ] + [(name.encode(), odd.encode("latin-1"))]
                response = client.send(request)
                assert response.status_code < 500, (name, odd, response.text)
                if response.status_code >= 400:
                    judge(response)


ADDRESSES = [
    *("/api/pictures/{}.png", "/api/pictures/{}/scores", "/api/pictures/{}/layers"),
    *("/api/results/{}.f32", "/api/results/{}.npz", "/api/results/{}.png", "/api/results/{}.svg"),
    *("/api/jobs/{}", "/page/{}", "/api/{}", "/{}"),
]
KEYS = [
    *("none", "x" * 64, "x" * 65, "x" * 3000, "%00", "%0a", "%ff", "..%2f..", "%2e%2e", "%c3%28"),
    *("a b", "*", "'", "<script>", ".", "..", "%5c", "con", "{}", "%", "%u0041", "0" * 24),
]


@pytest.mark.parametrize(
    "method", ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "X"]
)
def test_addresses_and_methods_of_every_kind_are_answered(client: TestClient, method: str) -> None:
    for address in ADDRESSES:
        for key in KEYS:
            response = client.request(method, address.replace("{}", key))
            assert response.status_code < 500, (address, key, response.text)
            if response.status_code >= 400 and method != "HEAD":
                judge(response)


def test_queries_of_every_kind_are_answered(client: TestClient, picture: str) -> None:
    question = {"picture": picture, "method": "grad_cam"}
    found = client.post("/api/attributions", json=question).json()["parts"][0]["id"]
    question = {"picture": picture, "layer": "stage3"}
    maps = client.post("/api/features", json=question).json()["id"]
    odd = [
        "",
        "-1",
        "0",
        "1.5",
        "nan",
        "inf",
        "1e400",
        "9" * 30,
        "true",
        "x" * 300,
        "0,",
        ",",
        "%00",
    ]
    odd += ["all", "sum", "color", "viridis", "٣", "0,1,99999999", "1_0", " 1", "+1"]
    asked = {
        f"/api/pictures/{picture}.png": ["side"],
        f"/api/pictures/{picture}/scores": ["top"],
        f"/api/results/{maps}.f32": ["channels"],
        f"/api/results/{maps}.png": ["channel", "shared", "cmap"],
        f"/api/results/{found}.png": ["kind", "channels", "sign", "percentile", "cmap", "alpha"],
        "/": ["token"],
    }
    for path, names in asked.items():
        for name in names:
            for value in odd:
                judge(client.get(f"{path}?{name}={value}"))
        judge(client.get(path, params=[(name, value) for name in names for value in odd[:3]]))


def test_what_was_held_once_is_gone_in_a_sentence(visit: Any, demo: LoadedModel) -> None:
    client = visit(create_app(demo, limits=Limits(session_bytes=400_000)))
    keys = []
    for seed in range(6):
        response = client.post("/api/pictures", files={"file": ("a.png", photo(seed=seed))})
        keys.append(response.json()["id"])
    for key in keys:
        for path in (f"/api/pictures/{key}.png", f"/api/pictures/{key}/scores"):
            judge(client.get(path))
        judge(client.post("/api/attributions", json={"picture": key, "method": "saliency"}))
    assert client.get(f"/api/pictures/{keys[0]}.png").status_code == 404
    client.cookies.clear()
    assert client.get(f"/api/pictures/{keys[-1]}.png").status_code == 404
