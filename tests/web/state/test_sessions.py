"""Sessions: bounded in number, memory and time."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import torch
from asking import raw, sentence
from helpers import assert_same, refused

import torchattr as ta
from torchattr.models import LoadedModel, read_image
from torchattr.models.collage import examples
from torchattr.web import Limits, create_app
from torchattr.web.state.sessions import (
    PayloadTooLarge,
    ResultExpired,
    Session,
    Sessions,
    TooManySessions,
)
from torchattr.web.state.stored import StoredFeatureMaps, StoredImage


def item(count: int = 10_000) -> StoredFeatureMaps:
    """An item of `4 * count` bytes plus a small overhead."""
    return StoredFeatureMaps("grey", "layer", np.zeros((count, 1, 1), np.float32))


SIZE = item().nbytes


def test_what_was_unused_for_longest_goes_first() -> None:
    session = Session(limit=int(3.5 * SIZE))
    for key in "abc":
        session.keep(key, item())
    session.get("a", StoredFeatureMaps)
    session.keep("d", item())
    assert list(session.items(StoredFeatureMaps)) == ["c", "a", "d"]
    assert 3 * 40_000 < session.nbytes <= 3 * SIZE
    with refused(ResultExpired, "expired"):
        session.get("b", StoredFeatureMaps)


def test_keeping_again_counts_once() -> None:
    session = Session(limit=100_000)
    session.keep("a", item())
    session.keep("a", item(20_000))
    assert session.nbytes == item(20_000).nbytes


def test_what_is_larger_than_a_session_is_refused() -> None:
    session = Session(limit=100_000)
    session.keep("a", item())
    with refused(PayloadTooLarge, f"{item(30_000).nbytes:,} bytes", "100,000"):
        session.keep("b", item(30_000))
    assert session.nbytes == SIZE


def test_another_kind_is_as_good_as_gone() -> None:
    session = Session(limit=100_000)
    session.keep("a", item())
    assert session.find("a", StoredImage) is None
    with refused(ResultExpired):
        session.get("a", StoredImage)


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


def full(limits: Limits, count: int) -> tuple[Sessions, list[str], list[float]]:
    """Several non-empty sessions, and a clock that can be set."""
    now = [0.0]
    sessions, keys = Sessions(limits, clock=lambda: now[0]), []
    for _ in range(count):
        key, session = sessions.open(None)
        sessions.open(key)
        session.keep("a", item())
        keys.append(key)
    return sessions, keys, now


def test_sessions_that_are_in_use_make_no_room_for_others() -> None:
    sessions, keys, now = full(Limits(sessions=3, spare_seconds=60), 3)
    now[0] = 20.0
    with refused(TooManySessions, "3 visitors", "60 seconds", "in 40 seconds"):
        sessions.open(None)
    assert [sessions.open(key)[0] for key in keys] == keys


def test_a_session_that_was_idle_for_a_while_makes_room() -> None:
    sessions, keys, now = full(Limits(sessions=2, spare_seconds=60), 2)
    now[0] = 50.0
    sessions.open(keys[0])
    now[0] = 61.0
    new, session = sessions.open(None)
    session.keep("a", item())
    assert sessions.open(keys[0])[0] == keys[0]
    assert sessions.open(new)[0] == new
    with refused(TooManySessions):
        sessions.open(keys[1])
    assert sessions.open(new)[0] == new


def test_a_session_with_a_request_on_its_way_is_in_use_however_long_that_takes() -> None:
    sessions, keys, now = full(Limits(sessions=1, spare_seconds=60, idle_seconds=90), 1)
    with sessions.visit(keys[0]) as (_, session):
        now[0] = 1000.0
        with refused(TooManySessions):
            sessions.open(None)
    now[0] = 1050.0
    assert sessions.open(keys[0]) == (keys[0], session)


def test_an_empty_session_in_use_makes_no_room_either() -> None:
    sessions = Sessions(Limits(sessions=1), clock=lambda: 0.0)
    with sessions.visit(None), refused(TooManySessions, "1 visitors"):
        sessions.open(None)
    assert sessions.open(None)


def test_sessions_whose_cookie_never_comes_back_make_room_soon() -> None:
    now = 0.0
    sessions = Sessions(Limits(sessions=1), clock=lambda: now)
    _, session = sessions.open(None)
    session.keep("a", item())
    with refused(TooManySessions):
        sessions.open(None)
    now = 11.0
    assert sessions.open(None)[1].nbytes == 0


def test_what_all_sessions_hold_is_bounded_and_the_oldest_goes_first() -> None:
    sessions = Sessions(Limits(total_bytes=int(4.5 * SIZE)))
    (_, one), (_, other) = sessions.open(None), sessions.open(None)
    for number in range(3):
        one.keep(f"one {number}", item())
        other.keep(f"other {number}", item())
    assert list(one.items(StoredFeatureMaps)) == ["one 1", "one 2"]
    assert list(other.items(StoredFeatureMaps)) == ["other 1", "other 2"]
    one.get("one 1", StoredFeatureMaps)
    other.keep("other 3", item())
    assert [*one.items(StoredFeatureMaps), *other.items(StoredFeatureMaps)] == [
        *("one 2", "one 1"),
        *("other 2", "other 3"),
    ]
    assert sessions.nbytes <= 4.5 * SIZE


def test_numbers_of_sessions_cannot_be_chosen_or_guessed() -> None:
    sessions = Sessions(Limits(sessions=100))
    assert sessions.open("chosen by a visitor")[0] != "chosen by a visitor"
    keys = {sessions.open(None)[0] for _ in range(50)}
    assert len(keys) == 50
    assert min(map(len, keys)) >= 43


def test_several_visitors_at_once_get_their_own_answers(visit: Any, demo: LoadedModel) -> None:
    """Each visitor uses another picture and the same layers; results equal the library's."""
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
