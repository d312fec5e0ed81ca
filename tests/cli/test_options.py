"""What options mean, and how the library's messages name them."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from typer.main import get_command

import torchattr as ta
from torchattr.cli import app
from torchattr.cli.options import (
    MEANINGS,
    OPTIONS,
    entry_of,
    in_command,
    meaning_of,
    offering,
    rules_of,
    size_of,
    start_of,
)
from torchattr.core.outputs import activated_by
from torchattr.errors import FUNCTION, InputError, Listing, RuleError, TorchattrError


@pytest.mark.parametrize(
    ("argument", "value", "said"),
    [
        ("rules", {"gelu": "guided", "silu": "guided"}, "--rule gelu=guided --rule silu=guided"),
        ("output", -1, "--output -1"),
        ("output", "two words", "--output 'two words'"),
        ("output", FUNCTION, None),
        ("layers", ..., "--layer NAME"),
        ("activation", "none", "--scores raw"),
        ("trust", True, "--trust"),
        ("method", Listing("methods()"), "torchattr methods"),
        ("rules", Listing("rules()"), None),
        ("strict", False, None),
    ],
)
def test_arguments_are_named_as_options(argument: str, value: Any, said: str | None) -> None:
    assert in_command(argument, value) == said


def test_an_option_that_the_command_lacks_is_not_named() -> None:
    with offering(["--layer"]):
        assert in_command("layer", "1") == "--layer 1"
        assert in_command("output", "a") is None


@pytest.mark.parametrize(
    ("name", "worded"),
    [
        ("explain", ["--rule gelu=guided", "--layer 1", None]),
        ("dream", [None, "--layer 1", "--octaves 3"]),
        ("methods", [None, None, None]),
    ],
)
def test_a_running_command_offers_its_own_options(
    monkeypatch: pytest.MonkeyPatch, name: str, worded: list[str | None]
) -> None:
    found: list[str | None] = []

    def run(**options: Any) -> None:
        hints = [("rules", {"gelu": "guided"}), ("layer", 1), ("octaves", 3)]
        found.extend(in_command(argument, value) for argument, value in hints)

    group: Any = get_command(app)
    monkeypatch.setattr(group.commands[name], "callback", run)
    group.main([name], standalone_mode=False)
    assert found == worded
    # No command runs any longer.
    assert in_command("octaves", 3) == "--octaves 3"


def test_every_option_of_the_table_exists() -> None:
    known = {
        option
        for command in get_command(app).commands.values()  # type: ignore[attr-defined]
        for parameter in command.params
        for option in parameter.opts
    }
    assert {option for option, _ in OPTIONS.values()} <= known


def said(call: Any) -> str:
    with pytest.raises(TorchattrError) as caught:
        call()
    return caught.value.said(in_command)


def test_errors_of_each_family_speak_of_options() -> None:
    gelu = nn.Sequential(nn.Linear(2, 2), nn.GELU())
    rule = said(lambda: ta.GuidedBackprop(gelu).attribute(torch.ones(1, 2), target=0))
    assert rule.endswith("To treat them like a ReLU, pass --rule gelu=guided")
    layer = said(lambda: ta.GradCAM(nn.Flatten()).attribute(torch.ones(1, 3), target=0))
    assert layer.endswith("Name one with --layer NAME")
    scores = said(lambda: activated_by("softmax")(torch.ones(1, 1)))
    assert scores.startswith("--scores softmax needs several scores")
    assert "pass --scores sigmoid" in scores.lower()


def test_texts_are_parsed() -> None:
    assert rules_of(["gelu=guided", " a = b "]) == {"gelu": "guided", "a": "b"}
    assert [entry_of(text) for text in (None, "logits", "-1")] == [None, "logits", -1]
    assert [meaning_of(text) for text in (None, *MEANINGS)] == [None, *MEANINGS.values()]
    assert [start_of(text) for text in ("max", "map", "7,12")] == ["max", "map", (7, 12)]
    assert [size_of(text) for text in (None, "224", "2x3")] == [None, (224, 224), (2, 3)]


def test_other_texts_are_refused() -> None:
    for parse in (meaning_of, start_of, size_of):
        with pytest.raises(InputError, match="got 'x,y'"):
            parse("x,y")
    with pytest.raises(RuleError, match="OPERATION=RULE"):
        rules_of(["gelu"])
