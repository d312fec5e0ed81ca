"""Explanations as HTML, in notebooks and in viewers of pictures."""

from __future__ import annotations

import re
import sys
from types import SimpleNamespace

import pytest
import torch
from PIL import ImageShow
from torch import nn

import torchattr as ta
from torchattr.errors import InputError
from torchattr.models import load_model

MODEL = nn.Sequential(
    nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(16, 3)
).eval()


def explained(count=1, methods=("saliency", "guided_backprop", "deconvolution")):
    x = torch.rand(count, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    return ta.explain(MODEL, x, methods, ta.TopK(2))


def test_a_page_holds_everything_and_fetches_nothing() -> None:
    text = explained(2).to_html(title="Why <this>?", names=["left", "right"], activation="softmax")
    assert text.startswith("<!DOCTYPE html>")
    assert "Why &lt;this&gt;?" in text
    assert text.index(">left<") < text.index(">right<")
    assert "% (softmax)" in text
    assert "prefers-color-scheme: dark" in text
    assert not re.search(r"<script|https?:|@import|url\(", text)


def test_the_coverage_is_said_once_for_all_methods_and_examples() -> None:
    for text in (explained(2).to_html(), explained(2)._repr_html_()):
        assert text.count("1 relu call, 1 rewritten") == 1
        assert "Guided backprop, Deconvolution" in text


def test_a_notebook_shows_the_first_examples_and_says_how_many_there_are() -> None:
    text = explained(6, ["saliency"])._repr_html_()
    assert text.count("Saliency: class") == 4 * 2
    assert "2 more: .show() has all 6 examples" in text


def test_a_loaded_model_shows_its_picture_names_and_weights() -> None:
    demo = load_model("demo", weights="random")
    x = demo.preprocess(ta.example("cat")).tensor[None]
    text = ta.explain(demo, x, ["saliency"], demo.class_names.index("cat"))._repr_html_()
    assert "<b>cat</b>" in text
    assert "% (sigmoid)" in text
    assert "model: demo (random weights)" in text
    assert "brightness stretched" not in text
    assert "brightness stretched" in explained()._repr_html_()


def test_without_pictures_there_is_text() -> None:
    flat = ta.explain(nn.Linear(3, 2), torch.rand(2, 3), ["saliency"])
    assert "<code>Explanation(" in flat._repr_html_()
    assert "Explanation(saliency" in flat.to_html()
    with pytest.raises(InputError, match="nothing to show"):
        flat.show()


def test_show_displays_all_examples_in_a_notebook(monkeypatch) -> None:
    displayed = []
    display = SimpleNamespace(HTML=lambda text: text, display=displayed.append)
    kernel = SimpleNamespace(kernel=object())
    fake = SimpleNamespace(get_ipython=lambda: kernel, display=display)
    monkeypatch.setitem(sys.modules, "IPython", fake)
    explained(6, ["saliency"]).show()
    assert displayed[0].count("Saliency: class") == 6 * 2


def test_show_opens_a_picture_of_each_example_elsewhere(monkeypatch) -> None:
    opened = []
    monkeypatch.delitem(sys.modules, "IPython", raising=False)
    monkeypatch.setattr(ImageShow, "show", lambda picture: opened.append(picture.mode) or True)
    explained(3).show()
    assert opened == ["RGB"] * 3
    monkeypatch.setattr(ImageShow, "show", lambda picture: False)
    with pytest.raises(InputError, match="no picture viewer"):
        explained().show()
