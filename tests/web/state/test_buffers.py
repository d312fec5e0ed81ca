"""Memory that is kept alive: measured, and each buffer counted once."""

from __future__ import annotations

import gc
import io
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from asking import photo, upload
from PIL import Image
from torch._subclasses.fake_tensor import FakeTensorMode

from torchattr.models import LoadedModel
from torchattr.web import Limits, create_app
from torchattr.web.map_style import MapStyle
from torchattr.web.state.buffers import ByteLedger, buffers
from torchattr.web.state.sessions import Session
from torchattr.web.state.stored import (
    StoredFeatureMaps,
    StoredImage,
    StoredItem,
    StoredMap,
    StoredPicture,
)


def size(thing: Any) -> int:
    return sum(buffers(thing).values())


MEGA = 2**20


WHOLE = np.zeros((1024, 1024), np.uint8)


THINGS: dict[str, tuple[Any, int]] = {
    "array": (np.zeros(MEGA, np.uint8), MEGA),
    "view of an array": (WHOLE[5:6, ::7], MEGA),
    "array of a tensor": (torch.zeros(MEGA // 4)[:3].numpy(), MEGA),
    "tensor": (torch.zeros(MEGA // 8, dtype=torch.float64), MEGA),
    "view of a tensor": (torch.zeros(4, MEGA // 16)[1, :2], MEGA),
    "expanded tensor": (torch.zeros(MEGA // 4).expand(50, -1), MEGA),
    "tensor of an array": (torch.from_numpy(WHOLE), MEGA),
    "the same twice": ([WHOLE, WHOLE[3], torch.from_numpy(WHOLE), {"x": (WHOLE,)}], MEGA),
    "RGB picture": (Image.new("RGB", (512, 512)), MEGA),
    "gray picture": (Image.new("L", (1024, 1024)), MEGA),
    "bytes": (b"x" * MEGA, MEGA),
    "text": ("x" * MEGA, MEGA),
    "bytes in a list": ([{"a": b"x" * MEGA}], MEGA),
    "numbers": ([float(n) for n in range(MEGA // 32)], MEGA),
    "array of objects' own": (np.frombuffer(b"x" * MEGA, np.uint8), MEGA),
}


def fake_tensor() -> torch.Tensor:
    with FakeTensorMode():
        return torch.zeros(MEGA)


def inside_of_vmap() -> torch.Tensor:
    kept = []
    torch.func.vmap(lambda x: kept.append(x) or x)(torch.zeros(2, 3))
    return kept[0]


WITHOUT_STORAGE: dict[str, Callable[[], torch.Tensor]] = {
    "lazy parameter": lambda: torch.nn.LazyLinear(3).weight,
    "fake tensor": fake_tensor,
    "meta tensor": lambda: torch.zeros(MEGA, device="meta"),
    "sparse tensor": lambda: torch.zeros(3, 3).to_sparse(),
    "sparse rows": lambda: torch.eye(3).to_sparse_csr(),
    "opaque tensor": lambda: torch.zeros(3, 3).to_mkldnn(),
    "batched tensor of vmap": inside_of_vmap,
    "empty tensor": lambda: torch.zeros(0),
}


@pytest.mark.filterwarnings("ignore:Sparse CSR tensor support is in beta state")
@pytest.mark.parametrize("name", WITHOUT_STORAGE)
def test_tensors_without_a_storage_count_as_objects_only(name: str) -> None:
    kept = [WITHOUT_STORAGE[name](), b"x" * MEGA]
    assert MEGA <= size(kept) < 1.05 * MEGA


@pytest.mark.parametrize("name", THINGS)
def test_what_is_kept_alive_is_counted_once(name: str) -> None:
    thing, expected = THINGS[name]
    assert expected <= size(thing) < 1.05 * expected + 2000


def test_what_comes_along_with_a_picture_counts() -> None:
    image = Image.new("L", (10, 10))
    image.info["icc_profile"] = b"x" * MEGA
    assert size(image) > MEGA


def test_a_map_counts_the_picture_that_it_keeps_alive(demo: LoadedModel) -> None:
    prepared = demo.preprocess(Image.new("RGB", (1000, 1000)))
    picture = StoredPicture("photo", prepared)
    found = StoredMap("map", np.zeros((1, 100, 100), np.float32), MapStyle(), prepared)
    assert picture.nbytes > 4_000_000
    assert found.nbytes > picture.nbytes + 40_000 - 5000
    session = Session(limit=10**8)
    for number in range(5):
        session.keep(f"{number}", StoredMap("map", found.values, MapStyle(), prepared))
    session.keep("picture", picture)
    assert session.nbytes < found.nbytes + 10_000


def test_a_picture_counts_as_long_as_anything_holds_it(demo: LoadedModel) -> None:
    prepared = demo.preprocess(Image.new("RGB", (1000, 1000)))
    session = Session(limit=10**8)
    session.keep("picture", StoredPicture("photo", prepared))
    session.keep("map", StoredMap("map", np.zeros((1, 9, 9), np.float32), MapStyle(), prepared))
    session.drop_oldest()
    assert not session.holds("picture")
    assert session.nbytes > 4_000_000
    session.drop_oldest()
    assert session.nbytes == 0


def test_what_is_there_in_any_case_is_free(demo: LoadedModel) -> None:
    prepared = demo.preprocess(Image.new("RGB", (1000, 1000)))
    session = Session(limit=10_000, free=buffers(prepared))
    session.keep("map", StoredMap("map", np.zeros((1, 9, 9), np.float32), MapStyle(), prepared))
    assert session.nbytes < 5000


def test_items_of_ones_own_need_not_say_what_they_hold() -> None:
    @dataclass(frozen=True, eq=False)
    class Own(StoredItem):
        name: str
        values: Any

    Own.__module__ = "torchattr.of.a.plugin"
    assert Own("own", {"a": [torch.zeros(MEGA)]}).nbytes > 4 * MEGA
    Own.__module__ = "plugin"
    assert Own("own", {"a": [torch.zeros(MEGA)]}).nbytes > 4 * MEGA


def test_a_ledger_ends_at_nothing() -> None:
    ledger, maps = ByteLedger(), [StoredFeatureMaps("f", "l", np.zeros((2, 3, 4))) for _ in range(3)]
    image = StoredImage("d", Image.new("L", (3, 3)))
    items = [buffers(item) for item in [*maps, maps, image]]
    for item in items:
        ledger.add(item)
    # Everything that the items keep alive, counted once, without the pair that holds them here.
    held = [maps, image]
    assert ledger.nbytes == size(held) - sys.getsizeof(held) > 3 * 24 * 8 + 9
    for item in items:
        ledger.remove(item)
    assert ledger.nbytes == 0


def alive() -> int:
    """Bytes of all tensors, arrays and pictures in this process, each buffer once."""
    gc.collect()
    kinds = (torch.Tensor, np.ndarray, Image.Image)
    found: dict[int, int] = {}
    for thing in gc.get_objects():
        if issubclass(type(thing), kinds):
            found.update(buffers(thing))
    return sum(found.values())


@pytest.mark.slow
@pytest.mark.parametrize("visitors", [1, 3])
def test_many_uploads_with_results_stay_within_the_limits(
    demo: LoadedModel, visit: Any, visitors: int
) -> None:
    """Memory is measured over all live objects."""
    limits = Limits(session_bytes=30_000_000, total_bytes=60_000_000, forward_bytes=20_000_000)
    app = create_app(demo, limits=limits)
    clients = [visit(app) for _ in range(visitors)]
    before = alive()
    for number in range(24):
        client = clients[number % visitors]
        key = upload(client, large(number)).json()["id"]
        for method in ("saliency", "grad_cam", "guided_backprop"):
            question = {"picture": key, "method": method}
            assert client.post("/api/attributions", json=question).status_code == 200
        question = {"picture": key, "layer": "stage2", "channel": 3}
        assert client.post("/api/projections", json=question).status_code == 200
        assert client.post("/api/features", json={"picture": key, "layer": "stage1"}).is_success
    held = alive() - before
    viewer = app.state.viewer
    most = min(visitors * limits.session_bytes, limits.total_bytes) + limits.forward_bytes
    assert held < most + 1_000_000
    assert viewer.sessions.nbytes <= limits.total_bytes
    assert held < viewer.sessions.nbytes + viewer._projectors.nbytes + 1_000_000
    # The latest results still exist, and so does the picture.
    for client in clients:
        newest = client.get("/api/pictures").json()[-1]
        assert client.get(f"/api/pictures/{newest['id']}.png?side=64").status_code == 200


def large(number: int) -> bytes:
    """A picture of 8 MB in memory, and small as a file."""
    file = io.BytesIO()
    Image.new("RGB", (2000, 1000), (10 * number, 50, 90)).save(file, "PNG")
    return file.getvalue()


def test_forwards_are_bounded_in_bytes(demo: LoadedModel, visit: Any) -> None:
    for most, kept in ((0, 0), (10**9, 2)):
        app = create_app(demo, limits=Limits(forward_bytes=most, forwards=2))
        client = visit(app)
        for seed in range(3):
            key = upload(client, photo(seed=seed)).json()["id"]
            question = {"picture": key, "layer": "stage2", "channel": 3}
            assert client.post("/api/projections", json=question).status_code == 200
        assert len(app.state.viewer._projectors._kept) == kept
