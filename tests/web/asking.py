"""Helpers of the tests of the viewer: pictures to send, and readers of responses."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from starlette.testclient import TestClient

from torchattr.models.collage import examples

PATH = examples()[0].path
CAT = 1
SVG = "<svg xmlns='http://www.w3.org/2000/svg'><rect width='9' height='9'/></svg>"


def photo(width: int = 60, height: int = 40, seed: int = 0, kind: str = "PNG") -> bytes:
    """A picture of noise as a file."""
    values = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(values).save(file, kind)
    return file.getvalue()


def upload(client: TestClient, data: bytes, name: str = "photo.png") -> Any:
    return client.post("/api/pictures", files={"file": (name, data)})


def sentence(response: Any, status: int) -> str:
    """The error of a response, which must be a sentence and not a traceback."""
    assert response.status_code == status, response.text
    said = response.json()["error"]
    assert list(response.json()) == ["error"]
    assert said[0].isupper() or said[0].islower() or said[0] in "'\"/"
    assert said.endswith((".", "!", "?"))
    assert "Traceback" not in said
    assert str(Path.cwd()) not in said
    return said


def raw(client: TestClient, part: dict[str, Any]) -> np.ndarray:
    """The values of a map."""
    response = client.get(f"/api/results/{part['id']}.f32")
    assert response.status_code == 200
    return np.frombuffer(response.content, "<f4").reshape(part["shape"])


def decoded(response: Any) -> np.ndarray:
    """The pixels of a PNG."""
    assert response.status_code == 200, response.text
    assert response.headers["content-type"] == "image/png"
    return np.asarray(Image.open(io.BytesIO(response.content)).convert("RGB"))


def unpacked(response: Any) -> dict[str, np.ndarray]:
    """The arrays of an NPZ, which must not need pickle."""
    assert response.status_code == 200, response.text
    with np.load(io.BytesIO(response.content), allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


def attribute(client: TestClient, picture: str, method: str, **more: Any) -> Any:
    """The response of a method for the cat."""
    question = {"picture": picture, "method": method, "target": CAT, **more}
    response = client.post("/api/attributions", json=question)
    assert response.status_code == 200, response.text
    return response.json()


def ask_panel(client: TestClient, picture: str, panel: str, **options: Any) -> Any:
    question = {"picture": picture, "panel": panel, "target": CAT, "options": options}
    return client.post("/api/panels", json=question)


def panel_parts(
    client: TestClient, picture: str, panel: str, **options: Any
) -> list[dict[str, Any]]:
    """The parts of a panel for the cat."""
    response = ask_panel(client, picture, panel, **options)
    assert response.status_code == 200, response.text
    return response.json()["parts"]
