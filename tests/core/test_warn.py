"""Warnings name the caller's line, or go to a listener."""

from __future__ import annotations

import warnings

import pytest
import torch
from torch import nn

import torchattr as ta
from torchattr.core.warn import listening, said_once, warn
from torchattr.errors import Hint, LayerChoiceWarning, TorchattrWarning, WayOut


def chosen() -> None:
    model = nn.Sequential(nn.Conv2d(3, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(72, 2))
    ta.GradCAM(model).attribute(torch.rand(1, 3, 8, 8), target=0)


def test_a_warning_points_at_the_callers_own_code() -> None:
    with pytest.warns(LayerChoiceWarning, match="no layer given; using layer='1'") as caught:
        chosen()
    assert caught[0].filename == __file__


def test_a_listener_hears_it_instead_and_with_its_hint() -> None:
    heard: list[TorchattrWarning] = []
    hint = Hint(ways_out=[WayOut("pass {setting}", "layer")])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with listening(heard.append):
            warn("a layer was chosen", LayerChoiceWarning, hint)
    assert [str(warning) for warning in heard] == ["a layer was chosen. Pass layer=..."]
    assert heard[0].hint == hint


def test_what_is_said_twice_is_heard_once_at_the_callers_line() -> None:
    def run() -> int:
        for text in ("one", "two", "one"):
            warn(text, LayerChoiceWarning)
        return 3

    with pytest.warns(LayerChoiceWarning) as caught:
        assert said_once(run) == 3
    assert [str(one.message) for one in caught] == ["one", "two"]
    assert {one.filename for one in caught} == {__file__}


def test_after_the_block_it_warns_again() -> None:
    with listening(lambda warning: None):
        pass
    with pytest.warns(TorchattrWarning, match="again"):
        warn("again", TorchattrWarning)
