"""Methods and panels of a user's own appear by themselves, with whatever parts they give."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from asking import decoded, raw, sentence, unpacked
from helpers import refused
from PIL import Image
from starlette.testclient import TestClient

import torchattr as ta
from torchattr.errors import InputError, InputTypeError, RegistryError, ShapeError
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

SVG = "<svg xmlns='http://www.w3.org/2000/svg'><rect width='9' height='9'/></svg>"


def ask(client: TestClient, picture: str, panel: str, **options: Any) -> Any:
    question = {"picture": picture, "panel": panel, "target": 1, "options": options}
    return client.post("/api/panels", json=question)


def parts(client: TestClient, picture: str, panel: str, **options: Any) -> list[dict[str, Any]]:
    response = ask(client, picture, panel, **options)
    assert response.status_code == 200, response.text
    return response.json()["parts"]


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
    found = parts(client, picture, "everything", number=3.0, layer="stage1")
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
def test_a_matplotlib_figure_becomes_an_svg(client: TestClient, picture: str) -> None:
    from matplotlib.figure import Figure as Drawing

    @register_panel("plotted")
    class Plotted(Panel):
        def show(self, scene: Scene) -> Iterable[Part]:
            drawing = Drawing(figsize=(2, 1))
            drawing.subplots().plot([0, 1], [1, 0])
            return [Figure(drawing, "A line")]

    (part,) = parts(client, picture, "plotted")
    svg = client.get(f"/api/results/{part['id']}.svg").text
    assert ElementTree.fromstring(svg).tag.endswith("svg")


@pytest.mark.usefixtures("registered")
def test_a_method_brings_its_own_panel(client: TestClient, picture: str) -> None:
    @ta.register_method("halved")
    class Halved(ta.GradientAttribution):
        """Half of the gradient; it is *not* the whole."""

        def attribute(self, inputs, target=None, additional_forward_args=None, share=0.5):
            return self._attribute(inputs, target, additional_forward_args, share=share)

        def finish(self, inputs, grads, *, share=0.5):
            return grads * share

        def panel(self, values, scene):
            yield Bars(["red", "green", "blue"], values.abs().sum((0, 2, 3)), "By colour")
            yield Text(scene.class_name)

    listed = client.get("/api/model").json()["methods"][-1]
    assert (listed["title"], listed["panel"]) == ("Halved", True)
    assert [one["name"] for one in listed["fields"]][-1:] == ["share"]
    question = {"picture": picture, "method": "halved", "target": 1, "options": {"share": 0.25}}
    found = client.post("/api/attributions", json=question).json()["parts"]
    question = {"picture": picture, "method": "saliency", "target": 1, "options": {"abs": False}}
    whole = client.post("/api/attributions", json=question).json()["parts"][0]
    np.testing.assert_allclose(4 * raw(client, found[0]), raw(client, whole), rtol=1e-6)
    expected = np.abs(raw(client, found[0])).sum((1, 2))
    np.testing.assert_allclose(found[1]["values"], expected, rtol=1e-4)
    assert found[2]["text"] == "cat"


@pytest.mark.usefixtures("registered")
@pytest.mark.parametrize(
    ("method", "shape", "kind"),
    [("flat", (5,), "text"), ("plane", (4, 4), "map"), ("volume", (2, 3, 4, 4), "text")],
)
def test_results_that_are_no_pictures_are_said_to_be_none(
    client: TestClient, picture: str, method: str, shape: tuple[int, ...], kind: str
) -> None:
    @ta.register_method(method)
    class Shaped(ta.GradientAttribution):
        def finish(self, inputs, grads):
            return grads.new_ones(len(grads), *shape)

    answer = client.post("/api/attributions", json={"picture": picture, "method": method}).json()
    assert [part["kind"] for part in answer["parts"]] == [kind]


@pytest.mark.usefixtures("registered")
def test_wrong_parts_and_faults_are_sentences(client: TestClient, picture: str) -> None:
    @register_panel("wrong")
    class Wrong(Panel):
        def show(self, scene: Scene, fault: bool = False) -> Any:
            return [1 / 0] if fault else ["a.png"]

    @register_panel("needy")
    class Needy(Panel):
        def show(self, scene: Scene, thing: Any) -> Any:
            return []

    assert "wrong must return parts" in sentence(ask(client, picture, "wrong"), 422)
    assert "ZeroDivisionError" in sentence(ask(client, picture, "wrong", fault=True), 500)
    assert "requires thing" in sentence(ask(client, picture, "needy"), 422)


@pytest.mark.usefixtures("registered")
def test_a_name_is_taken_once() -> None:
    with refused(RegistryError, "'scores'", "registered already"):
        register_panel("scores")(registered_panels()["scores"])
    with refused(RegistryError, "did you mean 'scores'"):
        find_panel("score")


def test_the_scores_are_shown_as_bars_and_numbers(client: TestClient, picture: str) -> None:
    bars, table = parts(client, picture, "scores", top=3)
    assert bars["labels"][:2] == ["astronaut", "cat"]
    assert (bars["largest"], bars["percent"]) == (1.0, True)
    assert [row[1] for row in table["rows"]] == bars["labels"]
    assert len(parts(client, picture, "scores", top=100)[0]["labels"]) == 8


def test_the_other_panels_work(client: TestClient, picture: str) -> None:
    maps = parts(client, picture, "gradient")
    assert [one["style"]["kind"] for one in maps] == ["color", "heat", "heat", "overlay"]
    assert (raw(client, maps[2]) < 0).any()
    (kernels,) = parts(client, picture, "kernels")
    assert kernels["title"] == "stem.conv"
    totals, layers = parts(client, picture, "summary")
    assert totals["rows"][0] == ["parameters", "317,032"]
    assert [row[0] for row in layers["rows"]][:2] == ["stem", "stem.conv"]


@pytest.mark.parametrize(
    ("make", "kind", "words"),
    [
        (lambda: Map(np.ones(3)), ShapeError, "(C, h, w)"),
        (lambda: Map(np.ones((0, 2, 2))), ShapeError, "(0, 2, 2)"),
        (lambda: Map([[float("inf")]]), InputError, "infinite"),
        (lambda: Table(["a"], [[1, 2]]), ShapeError, "2 cells for 1 columns"),
        (lambda: Bars(["a"], [1, 2]), ShapeError, "1 labels"),
        (lambda: Figure(3), InputTypeError, "int"),
        (lambda: Figure("chart.svg"), InputError, "SVG"),
    ],
)
def test_parts_refuse_what_they_cannot_show(make: Any, kind: type[Exception], words: str) -> None:
    with refused(kind, words):
        make()


def test_parts_and_panels_need_no_web_framework() -> None:
    import subprocess
    import sys

    code = (
        "import sys; from torchattr.web import Panel, Text, registered_panels; registered_panels();"
        "print([name for name in ('fastapi', 'starlette', 'uvicorn') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert re.fullmatch(r"\[\]\s*", done.stdout)
