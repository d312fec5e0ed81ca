"""Parts of panels and their errors."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from asking import panel_parts
from helpers import refused
from starlette.testclient import TestClient

from torchattr.errors import InputError, InputTypeError, ShapeError
from torchattr.web import (
    Bars,
    Figure,
    Map,
    Panel,
    Part,
    Scene,
    Table,
    register_panel,
)


@pytest.mark.usefixtures("registered")
def test_a_matplotlib_figure_becomes_an_svg(client: TestClient, picture: str) -> None:
    from matplotlib.figure import Figure as Drawing

    @register_panel("plotted")
    class Plotted(Panel):
        def show(self, scene: Scene) -> Iterable[Part]:
            drawing = Drawing(figsize=(2, 1))
            drawing.subplots().plot([0, 1], [1, 0])
            return [Figure(drawing, "A line")]

    (part,) = panel_parts(client, picture, "plotted")
    svg = client.get(f"/api/results/{part['id']}.svg").text
    assert ElementTree.fromstring(svg).tag.endswith("svg")


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
