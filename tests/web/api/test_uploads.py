"""Uploads: kept in memory, and errors for everything that is not a file."""

from __future__ import annotations

import io
import sys
from tempfile import SpooledTemporaryFile
from typing import Any
from unittest import mock

import numpy as np
import pytest
from asking import photo, sentence, upload
from PIL import Image
from starlette.testclient import TestClient

from torchattr.web.api.uploads import display_name


def noise(side: int) -> bytes:
    """A picture of a few megabytes."""
    values = np.random.default_rng(0).integers(0, 256, (side, side, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(values).save(file, "BMP")
    return file.getvalue()


written: list[Any] = []
watching = [False]


def _watch(event: str, arguments: Any) -> None:
    if watching[0] and event == "open":
        _, mode, flags = arguments
        if (mode and set(str(mode)) & set("wax+")) or (flags or 0) & 0b11:
            written.append(arguments)
    if watching[0] and event.startswith(("tempfile.", "os.mkdir")):
        written.append((event, arguments))


@pytest.mark.parametrize("side", [100, 700, 2000])
def test_nothing_of_an_upload_is_written_to_disk(client: TestClient, side: int) -> None:
    data = noise(side)
    sys.addaudithook(_watch)
    written.clear()
    with mock.patch.object(SpooledTemporaryFile, "rollover", side_effect=AssertionError):
        watching[0] = True
        try:
            key = upload(client, data).json()["id"]
            question = {"picture": key, "method": "grad_cam"}
            found = client.post("/api/attributions", json=question).json()
            for kind in ("png", "npz", "f32"):
                client.get(f"/api/results/{found['parts'][0]['id']}.{kind}")
        finally:
            watching[0] = False
    assert written == []


FORMS = [
    (b"", "multipart/form-data", "boundary"),
    (b"", "multipart/form-data; boundary=", ""),
    (b"", "multipart/form-data; boundary=x", "file is missing"),
    (b"junk", "multipart/form-data; boundary=x", ""),
    (b"--x\r\n\r\n\r\n--x--", "multipart/form-data; boundary=x", "name"),
    (b"--x\r\nContent-Disposition: form-data; name=file\r\n\r\ntext\r\n--x--", "m", "missing"),
    (
        b'--x\r\nContent-Disposition: form-data; name="a"; filename="b"\r\n\r\n1\r\n--x--',
        "m",
        "missing",
    ),
    (b"--x\r\nContent-Disposition: form-data; filename=b\r\n\r\n1\r\n--x--", "m", "name"),
    (b"--x\r\nContent-Disposition: form-data; name=file; filename=b\r\n\r\n", "m", ""),
    (b"--x\r\n" * 40, "m", ""),
    (b"a=b", "application/x-www-form-urlencoded", "multipart"),
    (b"{}", "application/json", "multipart"),
    (b"x", "", "multipart"),
    (b"--x--", "multipart/form-data; boundary=" + "y" * 300, ""),
    (b"--x--", "multipart/form-data; boundary=x; charset=nothing", "missing"),
    (b"--x--", "MULTIPART/FORM-DATA; BOUNDARY=x", "missing"),
]


@pytest.mark.parametrize(("body", "kind", "words"), FORMS)
def test_forms_that_hold_no_file_are_answered_by_sentences(
    client: TestClient, body: bytes, kind: str, words: str
) -> None:
    kind = "multipart/form-data; boundary=x" if kind == "m" else kind
    response = client.post("/api/pictures", content=body, headers={"content-type": kind})
    assert words in sentence(response, 422)


@pytest.mark.parametrize(
    ("name", "plain"),
    [
        ("../../../etc/passwd", "passwd"),
        ("..\\..\\windows\\cat.png", "cat.png"),
        ("a\r\nset-cookie: b.png", "a__set-cookie_ b.png"),
        ("<script>.png", "_script_.png"),
        ("..", "picture"),
        ("", "picture"),
        (None, "picture"),
        ("ä kitten (1).png", "ä kitten (1).png"),
        ("x" * 500 + ".png", ("x" * 500 + ".png")[-80:]),
    ],
)
def test_names_are_for_showing_only(name: str | None, plain: str) -> None:
    assert display_name(name) == plain


def test_no_file_and_a_file_of_another_name_are_refused(client: TestClient) -> None:
    assert "file is missing" in sentence(client.post("/api/pictures"), 422)
    sentence(client.post("/api/pictures", files={"other": photo()}), 422)
    sentence(client.post("/api/pictures", data={"file": "a text"}), 422)
    headers = {"content-type": "multipart/form-data; boundary=x"}
    broken = client.post("/api/pictures", content=b"no form", headers=headers)
    sentence(broken, broken.status_code)
    assert broken.status_code in (400, 422)
