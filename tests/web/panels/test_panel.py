"""Custom panels and their registry."""

from __future__ import annotations

import re
from collections.abc import Iterable

import pytest
import torch
from asking import SVG, decoded, panel_parts, raw, sentence, unpacked
from helpers import refused
from PIL import Image
from starlette.testclient import TestClient

from torchattr.errors import RegistryError
from torchattr.web import (
    Bars,
    Figure,
    Map,
    Panel,
    Part,
    Picture,
    Scene,
    Table,
    Text,
    register_panel,
    registered_panels,
)
from torchattr.web.panels.panel import find_panel


@pytest.mark.usefixtures("registered")
def test_a_panel_shows_parts_of_every_kind(client: TestClient, picture: str) -> None:
    @register_panel("everything")
    class Everything(Panel):
        """One part of each kind."""

        def show(
            self, scene: Scene, number: float = 2.0, layer: str | None = None
        ) -> Iterable[Part]:
            """Args: are read.

            Args:
                number: what the map is filled with.
            """
            yield Map(torch.full((8, 8), number), "A map")
            yield Picture(Image.new("RGB", (5, 4), "red"), "A picture")
            yield Table(["a", "b"], [[1, torch.tensor(2.5)], ["x", float("nan")]], "A table")
            yield Bars(["one", "two"], torch.tensor([1.0, 4.0]), "Some bars")
            yield Figure(SVG, "A figure")
            yield Text(f"{scene.class_name} of {scene.loaded.name}, {layer}")

    listed = client.get("/api/model").json()["panels"][-1]
    assert (listed["name"], listed["title"]) == ("everything", "Everything")
    assert listed["about"] == ["One part of each kind."]
    assert [(f["name"], f["kind"]) for f in listed["fields"]] == [
        ("number", "number"),
        ("layer", "layer"),
    ]
    assert listed["fields"][0]["doc"] == "what the map is filled with."
    found = panel_parts(client, picture, "everything", number=3.0, layer="stage1")
    kinds = [one["kind"] for one in found]
    assert kinds == ["map", "picture", "table", "bars", "figure", "text"]
    assert (raw(client, found[0]) == 3).all()
    red = decoded(client.get(f"/api/results/{found[1]['id']}.png"))
    assert red.shape == (4, 5, 3)
    assert unpacked(client.get(f"/api/results/{found[1]['id']}.npz"))["picture"].shape == (4, 5, 3)
    assert found[2]["rows"] == [[1, 2.5], ["x", None]]
    assert (found[3]["values"], found[3]["largest"]) == ([1.0, 4.0], 4.0)
    assert found[5]["text"] == "cat of demo, stage1"
    svg = client.get(f"/api/results/{found[4]['id']}.svg")
    assert svg.headers["content-type"].startswith("image/svg+xml")
    assert "sandbox" in svg.headers["content-security-policy"]
    assert "script-src 'self'" not in svg.headers["content-security-policy"]
    sentence(client.get(f"/api/results/{found[4]['id']}.npz"), 422)


@pytest.mark.usefixtures("registered")
def test_a_name_is_taken_once() -> None:
    with refused(RegistryError, "'scores'", "registered already"):
        register_panel("scores")(registered_panels()["scores"])
    with refused(RegistryError, "did you mean 'scores'"):
        find_panel("score")


def test_parts_and_panels_need_no_web_framework() -> None:
    import subprocess
    import sys

    code = (
        "import sys; from torchattr.web import Panel, Text, registered_panels; registered_panels();"
        "print([name for name in ('fastapi', 'starlette', 'uvicorn') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert re.fullmatch(r"\[\]\s*", done.stdout)


@pytest.mark.usefixtures("registered")
def test_a_panel_that_is_defined_again_replaces_itself() -> None:
    def define() -> type[Panel]:
        @register_panel("again")
        class Again(Panel):
            def show(self, scene: Scene) -> Iterable[Part]:
                return []

        return Again

    first, second = define(), define()
    assert registered_panels()["again"] is second is not first
