"""Long jobs through the API: they take turns, can be cancelled, and end on disconnect."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from asking import sentence
from serving import Wire, served
from starlette.testclient import TestClient

from torchattr.core.stepping import step
from torchattr.models import LoadedModel
from torchattr.web import Limits, Panel, Text, create_app, register_panel
from torchattr.web.panels import panel as panels

LONG = {"method": "rise", "options": {"n_masks": 10_000}}
"""Minutes of work."""


@pytest.fixture(scope="module")
def app(demo: LoadedModel) -> Any:
    return create_app(demo, limits=Limits(sessions=100, waiting_each=3))


class Asked:
    """A request in a separate thread."""

    def __init__(self, client: TestClient, path: str, question: dict[str, Any]) -> None:
        self.response: Any = None
        self._client, self._path, self._question = client, path, question
        self.thread = threading.Thread(target=self._ask)
        self.thread.start()

    def _ask(self) -> None:
        self.response = self._client.post(self._path, json=self._question)

    def answer(self) -> Any:
        self.thread.join(60)
        assert not self.thread.is_alive()
        return self.response


def until(condition: Callable[[], Any], seconds: float = 30) -> Any:
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, "it never came to that"
        time.sleep(0.02)
    return found


def begun(client: TestClient) -> Any:
    return [job for job in client.get("/api/jobs").json() if job["steps"] > 1]


@pytest.mark.parametrize(
    "long",
    [
        LONG,
        {"method": "feature_ablation", "options": {"feature_mask": 64}},
        {"method": "integrated_gradients", "options": {"n_steps": 1000}},
    ],
    ids=lambda long: long["method"],
)
def test_a_long_job_lets_others_in_and_is_cancelled(visit: Any, app: Any, long: Any) -> None:
    client, other = visit(app), visit(app)
    key = client.get("/api/pictures").json()[0]["id"]
    asked = Asked(client, "/api/attributions", {**long, "picture": key, "job": "mine"})
    until(lambda: begun(client))
    for path, question in (
        ("/api/attributions", {"picture": key, "method": "saliency"}),
        ("/api/features", {"picture": key, "layer": "stage1"}),
    ):
        assert other.post(path, json=question).status_code == 200
    assert client.get(f"/api/pictures/{key}/scores").status_code == 200
    sentence(other.delete("/api/jobs/mine"), 404)
    (job,) = client.get("/api/jobs").json()
    assert (job["job"], job["title"], job["begun"]) == ("mine", long["method"], True)
    assert client.delete("/api/jobs/mine").json()["job"] == "mine"
    assert "cancelled" in sentence(asked.answer(), 499)
    until(lambda: not client.get("/api/jobs").json())
    sentence(client.delete("/api/jobs/mine"), 404)


@pytest.mark.parametrize("leave", ["the client goes", "the viewer ends"])
def test_a_job_ends_when_nobody_waits_for_it(demo: LoadedModel, leave: str) -> None:
    app = create_app(demo)
    viewer = app.state.viewer
    body = json.dumps({**LONG, "picture": next(iter(viewer.examples))}).encode()
    headers = ("Content-Type: application/json", f"Content-Length: {len(body)}")
    with served(app) as address, Wire(address) as wire:
        wire.ask("POST", "/api/attributions", *headers, body=body)
        jobs = viewer.worker._jobs
        until(lambda: [one for one in jobs.values() if one.steps > 1])
        if leave == "the client goes":
            wire.socket.close()
            until(lambda: not jobs)
    until(lambda: not jobs)


def test_one_visitor_has_only_so_many_questions_on_their_way(visit: Any, app: Any) -> None:
    client, other = visit(app), visit(app)
    key = client.get("/api/pictures").json()[0]["id"]
    question = {**LONG, "picture": key}
    asked = []
    for number in range(3):
        question["options"] = {"n_masks": 10_000, "seed": number}
        asked.append(Asked(client, "/api/attributions", {**question, "job": f"{number}"}))
    until(lambda: len(client.get("/api/jobs").json()) == 3)
    response = client.post("/api/attributions", json={**question, "method": "saliency"})
    assert "You have 3 jobs" in sentence(response, 503)
    assert int(response.headers["retry-after"]) > 0
    assert other.get(f"/api/pictures/{key}/scores").status_code == 200
    for number in range(3):
        assert client.delete(f"/api/jobs/{number}").status_code == 200
    assert [one.answer().status_code for one in asked] == [499] * 3


def test_a_name_that_is_in_use_is_refused(visit: Any, app: Any) -> None:
    client = visit(app)
    key = client.get("/api/pictures").json()[0]["id"]
    asked = Asked(client, "/api/attributions", {**LONG, "picture": key, "job": "x"})
    until(lambda: begun(client))
    question = {"picture": key, "layer": "stem", "job": "x"}
    assert "'x'" in sentence(client.post("/api/features", json=question), 422)
    client.delete("/api/jobs/x")
    asked.answer()


def test_a_panel_is_ended_between_its_parts_and_at_its_own_steps(visit: Any, app: Any) -> None:
    panels.registered_panels()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(panels.PANELS, "_entries", panels.registered_panels())

        @register_panel("many_parts")
        class ManyParts(Panel):
            def show(self, scene: Any) -> Iterator[Text]:
                while True:
                    time.sleep(0.001)
                    yield Text("more")

        @register_panel("own_steps")
        class OwnSteps(Panel):
            def show(self, scene: Any) -> Iterator[Text]:
                try:
                    while True:
                        time.sleep(0.001)
                        step()
                except Exception:  # noqa: BLE001 - as a careless panel may do
                    yield Text("survived")

        for name in ("many_parts", "own_steps"):
            client = visit(app)
            key = client.get("/api/pictures").json()[0]["id"]
            asked = Asked(client, "/api/panels", {"panel": name, "picture": key, "job": "x"})
            until(lambda client=client: begun(client))
            client.delete("/api/jobs/x")
            sentence(asked.answer(), 499)


def test_results_of_jobs_that_ran_in_turn_are_those_of_the_library(visit: Any, app: Any) -> None:
    """Several stepping methods at once, each compared with its result alone."""
    questions = [
        {"method": "rise", "options": {"n_masks": 600}},
        {"method": "integrated_gradients", "options": {"n_steps": 200}},
        {"method": "feature_ablation", "options": {"feature_mask": 16}},
        {"method": "guided_backprop"},
    ]
    clients = [visit(app) for _ in questions]
    key = clients[0].get("/api/pictures").json()[0]["id"]

    def maps(client: TestClient, answer: Any) -> bytes:
        return client.get(f"/api/results/{answer.json()['parts'][0]['id']}.f32").content

    asked = [
        Asked(client, "/api/attributions", {**question, "picture": key})
        for client, question in zip(clients, questions, strict=True)
    ]
    found = [maps(client, one.answer()) for client, one in zip(clients, asked, strict=True)]
    alone = visit(app)
    for question, values in zip(questions, found, strict=True):
        answer = alone.post("/api/attributions", json={**question, "picture": key})
        assert maps(alone, answer) == values, question["method"]
