"""Uploaded pictures, and files that are not pictures."""

from __future__ import annotations

import io
import pickle
import struct
import zlib
from typing import Any

import numpy as np
import pytest
from asking import decoded, photo, sentence, upload
from PIL import Image
from starlette.testclient import TestClient

from torchattr.models import LoadedModel
from torchattr.web import Limits, create_app


def chunk(kind: bytes, data: bytes) -> bytes:
    body = kind + data
    return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))


def bomb(width: int, height: int) -> bytes:
    """A PNG of a few bytes whose header declares a huge size."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    parts = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 1000))
    return b"\x89PNG\r\n\x1a\n" + parts + chunk(b"IEND", b"")


def real_bomb(side: int) -> bytes:
    """A picture that really has that many pixels, in few bytes."""
    file = io.BytesIO()
    Image.new("1", (side, side)).save(file, "PNG")
    return file.getvalue()


def damaged() -> bytes:
    """A PNG whose pixels fail their checksum."""
    data = bytearray(photo())
    data[data.index(b"IDAT") + 40] ^= 0xFF
    return bytes(data)


SVG = b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>"


EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\nshowpage\n"


REFUSED = {
    "nothing": (b"", "empty"),
    "text": (b"no picture at all", "not a supported picture format"),
    "pickle": (pickle.dumps({"a": [1, 2, 3]}), "not a supported picture format"),
    "svg": (SVG, "not a supported picture format"),
    "eps": (EPS, "not a supported picture format"),
    "python": (b"import os\nos.system('true')\n", "not a supported picture format"),
    "zip": (b"PK\x03\x04" + b"\0" * 100, "not a supported picture format"),
    "truncated png": (photo(200, 200)[:4000], "damaged or truncated"),
    "truncated jpeg": (photo(200, 200, kind="JPEG")[:3000], "damaged or truncated"),
    "header only": (photo()[:30], "picture"),
    "damaged": (damaged(), "damaged or truncated"),
    "100 megapixels": (bomb(10_000, 10_000), "pixels"),
    "huge bomb": (bomb(100_000, 100_000), "pixels"),
    "wide bomb": (bomb(2_000_000_000, 1), "pixels"),
    "real bomb": (real_bomb(9000), "pixels"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_is_no_picture_is_refused_in_a_sentence(client: TestClient, kind: str) -> None:
    data, words = REFUSED[kind]
    said = sentence(upload(client, data, "odd.png"), 422)
    assert words in said
    assert said.startswith("odd.png: ")
    assert len(client.get("/api/pictures").json()) == 4


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF", "PPM"])
def test_pictures_of_known_kinds_are_taken_whatever_they_are_called(
    client: TestClient, kind: str
) -> None:
    response = upload(client, photo(kind=kind), "name.exe")
    assert response.status_code == 201
    assert response.json()["size"] == [60, 40]
    assert response.json()["name"] == "name.exe"


def test_a_picture_comes_back_as_it_was_sent(client: TestClient) -> None:
    data = photo(33, 21)
    key = upload(client, data).json()["id"]
    expected = np.asarray(Image.open(io.BytesIO(data)))
    np.testing.assert_array_equal(decoded(client.get(f"/api/pictures/{key}.png")), expected)
    small = decoded(client.get(f"/api/pictures/{key}.png", params={"side": 16}))
    assert small.shape == (10, 16, 3)


def test_a_picture_is_turned_upright(client: TestClient) -> None:
    file, exif = io.BytesIO(), Image.Exif()
    exif[0x0112] = 6
    Image.open(io.BytesIO(photo(50, 20))).save(file, "JPEG", exif=exif)
    assert upload(client, file.getvalue()).json()["size"] == [20, 50]


def test_the_same_picture_is_held_once(client: TestClient) -> None:
    first, again = (upload(client, photo(seed=3)).json()["id"] for _ in range(2))
    assert first == again
    assert len(client.get("/api/pictures").json()) == 5


def test_the_limit_of_pixels_is_the_viewers_own(demo: LoadedModel, visit: Any) -> None:
    client = visit(create_app(demo, limits=Limits(pixels=1000)))
    said = sentence(upload(client, photo(40, 30)), 422)
    assert "40 × 30 pixels" in said
    assert "0.001 million" in said
    assert upload(client, photo(40, 25)).status_code == 201
