"""Each visitor's own things: apart from those of others, bounded, and forgotten in time."""

from __future__ import annotations

import threading
from typing import Any

import torch
from asking import photo, raw, sentence, upload
from helpers import assert_same, refused
from PIL import Image

import torchattr as ta
from torchattr.models import LoadedModel, read_image
from torchattr.models.collage import examples
from torchattr.web import Limits, create_app
from torchattr.web.items import Drawn, Features
from torchattr.web.sessions import Gone, Session, Sessions, TooLarge


def item(nbytes: int = 300) -> Drawn:
    return Drawn("grey", Image.new("RGB", (nbytes // 3, 1)))


def test_what_was_unused_for_longest_goes_first() -> None:
    session = Session(limit=1000)
    for key in "abc":
        session.keep(key, item())
    session.get("a", Drawn)
    session.keep("d", item())
    assert list(session.items(Drawn)) == ["c", "a", "d"]
    assert session.nbytes == 900
    with refused(Gone, "not held"):
        session.get("b", Drawn)


def test_keeping_again_counts_once() -> None:
    session = Session(limit=1000)
    session.keep("a", item(300))
    session.keep("a", item(600))
    assert session.nbytes == 600


def test_what_is_larger_than_a_session_is_refused() -> None:
    session = Session(limit=1000)
    session.keep("a", item())
    with refused(TooLarge, "1,200 bytes", "1,000"):
        session.keep("b", item(1200))
    assert session.nbytes == 300


def test_another_kind_is_as_good_as_gone() -> None:
    session = Session(limit=1000)
    session.keep("a", item())
    assert session.find("a", Features) is None
    with refused(Gone):
        session.get("a", Features)


def test_idle_sessions_are_forgotten() -> None:
    now = 0.0
    sessions = Sessions(Limits(idle_seconds=10), clock=lambda: now)
    old, held = sessions.open(None)
    held.keep("a", item())
    now = 9.0
    assert sessions.open(old) == (old, held)
    now = 18.0
    assert sessions.open(old) == (old, held)
    now = 28.5
    new, fresh = sessions.open(old)
    assert new != old
    assert fresh.nbytes == 0
    assert len(sessions) == 1


def test_empty_sessions_make_room_before_others() -> None:
    sessions = Sessions(Limits(sessions=3))
    kept, session = sessions.open(None)
    session.keep("a", item())
    for _ in range(20):
        sessions.open(None)
    assert len(sessions) == 3
    assert sessions.open(kept) == (kept, session)


def test_the_oldest_session_makes_room_when_all_hold_something() -> None:
    sessions = Sessions(Limits(sessions=2))
    keys = []
    for _ in range(3):
        key, session = sessions.open(None)
        session.keep("a", item())
        keys.append(key)
    assert [sessions.open(key)[0] == key for key in keys[1:]] == [True, True]
    assert sessions.open(keys[0])[0] != keys[0]


def test_numbers_of_sessions_cannot_be_chosen_or_guessed() -> None:
    sessions = Sessions(Limits(sessions=100))
    assert sessions.open("chosen by a visitor")[0] != "chosen by a visitor"
    keys = {sessions.open(None)[0] for _ in range(50)}
    assert len(keys) == 50
    assert min(map(len, keys)) >= 43


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
        assert "not held here" in sentence(other.get(path), 404)
    assert len(other.get("/api/pictures").json()) == 4


def test_several_visitors_at_once_get_their_own_answers(visit: Any, demo: LoadedModel) -> None:
    """Everybody asks about another picture, at the same layers; the library says what is right."""
    layers = ["stem", "stage1", "stage2", "stage3"]
    found: dict[tuple[int, int], Any] = {}

    def visitor(number: int) -> None:
        client = visit()
        key = client.get("/api/pictures").json()[number]["id"]
        for turn, layer in enumerate(layers):
            question = {"picture": key, "layer": layer, "channel": 7 * number + turn}
            answer = client.post("/api/projections", json=question).json()
            found[number, turn] = [raw(client, part) for part in answer["parts"]]

    threads = [threading.Thread(target=visitor, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 16
    for (number, turn), maps in found.items():
        inputs = demo.preprocess(read_image(examples()[number].path)).tensor[None]
        projector = ta.BackProjector(demo.model, inputs, layers[turn])
        for values, start in zip(maps, ("max", "map"), strict=True):
            expected = projector.project(7 * number + turn, start).pictures[0, 0]
            assert_same(torch.from_numpy(values.copy()), expected.detach(), 1e-5)


def test_a_session_that_is_full_forgets_and_says_so(demo: LoadedModel, visit: Any) -> None:
    client = visit(create_app(demo, limits=Limits(session_bytes=700_000)))
    key = client.get("/api/pictures").json()[0]["id"]
    ids = []
    for method in ("saliency", "deconvolution", "guided_backprop", "input_x_gradient"):
        found = client.post("/api/attributions", json={"picture": key, "method": method}).json()
        ids.append(found["parts"][0]["id"])
    sentence(client.get(f"/api/results/{ids[0]}.f32"), 404)
    assert client.get(f"/api/results/{ids[-1]}.f32").status_code == 200
    again = client.post("/api/attributions", json={"picture": key, "method": "saliency"}).json()
    assert not again["cached"]
    assert client.get(f"/api/results/{again['parts'][0]['id']}.f32").status_code == 200


def test_a_result_that_no_session_can_hold_is_refused(demo: LoadedModel, visit: Any) -> None:
    client = visit(create_app(demo, limits=Limits(session_bytes=10_000)))
    key = client.get("/api/pictures").json()[0]["id"]
    response = client.post("/api/attributions", json={"picture": key, "method": "saliency"})
    assert "10,000" in sentence(response, 413)
