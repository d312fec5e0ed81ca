"""Messages: the fault, and the ways out as Python, the command and the viewer render them."""

from __future__ import annotations

import pickle
from typing import Any

import pytest
import torch
from torch import nn

import torchattr as ta
from torchattr.errors import FUNCTION, Hint, LayerError, Message, NoRuleMatched, WayOut


def dashes(argument: str, value: Any) -> str | None:
    return None if argument == "strict" or value is FUNCTION else f"--{argument} {value}"


FAULT = Message("nothing ran", Hint(ways_out=[WayOut("pass {setting}", "strict", False)]))


def test_ways_out_are_said_for_python_by_default() -> None:
    assert FAULT == str(FAULT) == "nothing ran. Pass strict=False"
    assert str(NoRuleMatched(FAULT)) == NoRuleMatched(FAULT).said() == str(FAULT)


def test_a_way_out_that_a_reader_lacks_is_left_out() -> None:
    assert FAULT.said(dashes) == NoRuleMatched(FAULT).said(dashes) == "nothing ran"


def test_the_argument_at_fault_is_named_even_to_a_reader_who_lacks_it() -> None:
    fault = Message("{setting} is wrong", Hint("strict", 3))
    assert fault.said(dashes) == "strict=3 is wrong"
    assert Message("{setting} is wrong", Hint("size", 3)).said(dashes) == "--size 3 is wrong"


def test_braces_of_others_stay_as_they_are() -> None:
    error = LayerError(
        "got {'a': 1}", hint=Hint(ways_out=[WayOut("see {other} or {setting}", "a", 1)])
    )
    assert str(error) == "got {'a': 1}. See {other} or a=1"


def test_messages_survive_pickling_and_introductions() -> None:
    for again in (pickle.loads(pickle.dumps(FAULT)), FAULT.after("so: ")):
        assert again.hint == FAULT.hint
    error = pickle.loads(pickle.dumps(NoRuleMatched(FAULT)))
    assert (error.message, error.said(dashes)) == (FAULT, "nothing ran")


def test_a_question_needs_no_full_stop() -> None:
    assert Message("did you mean 'a'?", Hint(ways_out=[WayOut("or b")])) == "did you mean 'a'? Or b"


@pytest.mark.parametrize(
    ("reason", "expected"), [("gelu", "To treat them like a ReLU, pass rules={'gelu': 'guided'}")]
)
def test_a_refusal_is_told_with_its_ways_out(reason: str, expected: str) -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.GELU())
    explained = ta.explain(
        model, torch.ones(1, 2), ["saliency", "guided_backprop"], skip_refused=True
    )
    refusal = explained.refused["guided_backprop"]
    assert expected in refusal
    assert reason in refusal.text
    assert "--rules" in refusal.said(dashes)
    assert "strict" not in refusal.said(dashes)
