"""Bars and tables in the terminal."""

from __future__ import annotations

import pytest
import torch
from rich.console import Console
from rich.text import Text
from torch import nn

from torchattr.cli import charts
from torchattr.cli.charts import predictions, progress_bar, show_table
from torchattr.models import LoadedModel, ScoreReading
from torchattr.runs import Answer


def test_a_table_shows_texts_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    show_table(["name", "wide"], [("[bold]a", Text("b")), (1, "x" * 200)], wide="wide")
    lines = capsys.readouterr().out.splitlines()
    assert [line.split() for line in lines] == [
        ["name", "wide"],
        ["[bold]a", "b"],
        ["1", "x" * 200],
    ]


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Console:
    console = Console(force_terminal=True, width=40, color_system=None)
    monkeypatch.setattr(charts, "out", console)
    return console


def test_long_cells_are_wrapped_in_a_terminal(terminal: Console) -> None:
    value, said = "one or another or " * 4, "what it is for, " * 5
    rows = [("option", value, "none", said), ("second", "number", "1e-06", "short")]
    with terminal.capture() as captured:
        show_table(["option", "value", "default", "description"], rows, wide="description")
    lines = captured.get().splitlines()
    assert lines[0].split() == ["option", "value", "default", "description"]
    assert lines[-1].split() == ["second", "number", "1e-06", "short"]
    assert max(map(len, lines)) <= 40
    assert captured.get().count("another") == 4
    assert captured.get().count("for,") == 5


def test_a_table_of_numbers_is_continued_below_itself(terminal: Console) -> None:
    head = ["method", *(f"metric {number}" for number in range(6))]
    rows = [[name, *(f"0.{number}" for number in range(6))] for name in ("lrp", "saliency")]
    with terminal.capture() as captured:
        show_table(head, rows)
    parts = [part.splitlines() for part in captured.get().split("\n\n")]
    assert [part[0].split() for part in parts] == [
        ["method", "metric", "0", "metric", "1", "metric", "2"],
        ["method", "metric", "3", "metric", "4", "metric", "5"],
    ]
    assert parts[1][2].split() == ["saliency", "0.3", "0.4", "0.5"]


def test_the_explained_classes_are_marked() -> None:
    loaded = LoadedModel("m", nn.Identity(), lambda image: image, ("cat", "dog"))
    answer = Answer(torch.tensor([0.25, 0.75]), reading=ScoreReading("softmax", "softmax"))
    console = Console(width=80)
    with console.capture() as captured:
        console.print(predictions("photo", answer, [0], loaded))
    title, dog, cat = captured.get().splitlines()
    assert title.startswith("photo")
    assert "75" in dog
    assert "▸" not in dog
    assert dog.index("dog") > 0
    assert "25" in cat
    assert "▸" in cat


def test_a_bar_prints_nothing_where_nobody_watches() -> None:
    console = Console(force_terminal=False)
    with console.capture() as captured, progress_bar(2, console=console) as bar:
        bar.update(1.0)
        bar.stop()
    assert captured.get().strip() == ""


def test_a_bar_shows_how_much_of_one_picture_is_done() -> None:
    console = Console(force_terminal=True, width=100)
    with console.capture() as captured, progress_bar(1, console=console) as bar:
        bar.update(0.25)
    assert "25%" in captured.get()
