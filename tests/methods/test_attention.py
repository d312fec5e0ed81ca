"""What all methods of attention share: spellings, tokens, grids, targets and refusals."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from helpers import assert_same, noise, refused
from methods.attending import (
    HEADS,
    IMAGES,
    SPELLINGS,
    WIDTH,
    Attend,
    Options,
    as_map,
    attending,
    eager,
    respelled,
)
from torch import Tensor, nn

import torchattr as ta
from torchattr.errors import InputError, LayerError, TrainingModeError

METHODS = [ta.RawAttention, ta.AttentionRollout, ta.AttentionGradient, ta.LeGrad]
BOOLEAN = noise(7, 7, seed=4) > -1
BOOLEAN[:, 0] = True
OPTIONS: list[dict[str, Any]] = [
    {},
    {"mask": BOOLEAN},
    {"mask": noise(7, 7, seed=5)},
    {"causal": True, "pool": "mean"},
    {"scale": 0.9},
    {"key_heads": 1},
]


def unscaled(method: Any, model: Any, **options: Any) -> Tensor:
    further = {"rescaled": False} if method is ta.LeGrad else {}
    found: Tensor = method(model, **options).attribute(IMAGES, 1, **further)
    return found


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_all_spellings_agree(method: Any, options: Any) -> None:
    model = attending("explicit", **options)
    expected = unscaled(method, model)
    by_module = not options or "mask" in options
    for spelling in SPELLINGS:
        if by_module or not spelling.startswith("module"):
            assert_same(unscaled(method, respelled(model, spelling)), expected, 1e-12)


@pytest.mark.parametrize("method", METHODS[:3])
@pytest.mark.parametrize("memory", ["native", "lean"])
@pytest.mark.parametrize("spelling", SPELLINGS)
def test_both_ways_to_run_agree(method: Any, memory: Any, spelling: Any) -> None:
    model = attending(spelling)
    expected = method(attending("explicit"), memory="lean").attribute(IMAGES, 1)
    assert_same(method(model, memory=memory).attribute(IMAGES, 1), expected, 1e-12)


def test_one_token_behind_others_is_not_taken_for_a_class_token() -> None:
    """Without a choice, the rows are those of the tokens that the score depends on."""
    averaged = attending(pool="mean", prefix=3)
    matrices, _ = eager(averaged)
    expected = as_map(matrices[-1].mean(1).mean(1))
    assert_same(ta.RawAttention(averaged).attribute(IMAGES, 1), expected, 1e-12)
    by_class = as_map(matrices[-1].mean(1)[:, 0])
    assert_same(ta.RawAttention(averaged, queries="class").attribute(IMAGES, 1), by_class, 1e-12)
    one = attending(prefix=3)
    matrices, _ = eager(one)
    expected = as_map(matrices[-1].mean(1).mean(1))
    assert_same(ta.RawAttention(one, queries="mean").attribute(IMAGES, 1), expected, 1e-12)


def test_without_tokens_before_the_patches() -> None:
    model = attending(pool="mean", prefix=0)
    matrices, _ = eager(model)
    expected = as_map(matrices[-1].mean(1).mean(1))
    assert_same(ta.RawAttention(model).attribute(IMAGES, 1), expected, 1e-12)


def test_a_target_that_depends_on_no_token_shows_the_mean() -> None:
    """The gradient is 0, so no token is read more than another."""
    model = attending(pool="mean")
    matrices, _ = eager(model)
    for _ in range(8):  # Objects lie elsewhere each time, which decides nothing.
        with pytest.warns(ta.DisconnectedWarning):
            found = ta.RawAttention(model).attribute(IMAGES, lambda scores: scores[:, 0] * 0)
        assert_same(found, as_map(matrices[-1].mean(1).mean(1)), 1e-12)


def test_layers_choose_the_calls() -> None:
    model = attending()
    rollout = ta.AttentionRollout(model, ["blocks.1", "blocks.2"]).attribute(IMAGES, 1)
    assert_same(ta.AttentionRollout(model, start_layer=1).attribute(IMAGES, 1), rollout)
    raw = ta.RawAttention(model, Attend).attribute(IMAGES, 1)
    assert_same(ta.RawAttention(model).attribute(IMAGES, 1), raw)
    with refused(LayerError, "ran no attention", "layers="):
        ta.RawAttention(model, "head").attribute(IMAGES, 1)


@pytest.mark.parametrize("method", METHODS[:3])
def test_several_targets_are_those_one_by_one(method: Any) -> None:
    model = attending()
    several = method(model).attribute(IMAGES, ta.Classes(0, 3))
    assert several.shape == (2, 2, 1, 2, 3)
    for position, target in enumerate((0, 3)):
        assert_same(several[:, position], method(model).attribute(IMAGES, target), 1e-12)


def test_all_methods_share_one_forward_in_explain() -> None:
    model = attending()
    names = ["saliency", "raw_attention", "attention_rollout", "attention_gradient", "legrad"]
    explained = ta.explain(model, IMAGES, names, ta.TopK(2))
    assert_same(explained["saliency"], ta.Saliency(model).attribute(IMAGES, ta.TopK(2)), 1e-12)
    for name, method in zip(names[1:], METHODS, strict=True):
        alone = method(model).attribute(IMAGES, ta.TopK(2))
        assert_same(explained[name], alone, 1e-12)


def test_rules_of_another_method_leave_attention_alone() -> None:
    model = attending()
    explained = ta.explain(
        model, IMAGES, ["guided_backprop", "attention_gradient"], 1, rules={"gelu": "guided"}
    )
    alone = ta.AttentionGradient(model).attribute(IMAGES, 1)
    assert_same(explained["attention_gradient"][:, 0], alone, 1e-12)


@pytest.mark.parametrize("spelling", ["module", "module with weights", "fused"])
def test_layers_keep_their_layout_beside_attention(spelling: Any) -> None:
    """An attention module that is looked into hands its layout on."""
    model = attending(spelling)
    for layer in ("blocks.1", "blocks.1.attention", "blocks.2.norm1"):
        beside = ta.explain(model, IMAGES, ["grad_cam", "attention_rollout"], 1, layer=layer)
        alone = ta.GradCAM(attending(spelling), layer).attribute(IMAGES, 1)
        assert_same(beside["grad_cam"][:, 0], alone, 1e-12)


def test_a_prepared_model_is_read() -> None:
    model = attending()
    prepared = ta.prepare(model, IMAGES)
    for method in METHODS:
        assert_same(method(prepared).attribute(IMAGES, 1), method(model).attribute(IMAGES, 1), 1e-9)


@pytest.mark.parametrize("method", METHODS)
def test_the_map_has_the_dtype_of_the_images(method: Any) -> None:
    model, images = attending().to(torch.bfloat16), IMAGES.to(torch.bfloat16)
    found = method(model).attribute(images, 1)
    assert found.dtype is torch.bfloat16
    expected = method(attending().float()).attribute(IMAGES.float(), 1)
    assert_same(found.float(), expected, 0.25)


@pytest.mark.parametrize("method", METHODS)
def test_a_layout_may_be_named(method: Any) -> None:
    class Shuffled(nn.Module):
        """Something that no tracker follows brings the tokens into a row."""

        def __init__(self) -> None:
            super().__init__()
            self.inner = attending()
            self.inner.patches = nn.Sequential(self.inner.patches, Unknown())

        def forward(self, x: Tensor) -> Tensor:
            y: Tensor = self.inner(x)
            return y

    class Unknown(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.take(x, torch.arange(x.numel()).view_as(x))

    model = Shuffled().eval()
    with refused(LayerError, "cannot be read as a map", "layout="):
        method(model).attribute(IMAGES, 1)
    named = method(model, layout="tokens").attribute(IMAGES, 1)
    assert_same(named, method(attending()).attribute(IMAGES, 1), 1e-12)
    by_function = method(
        model, layout=lambda tokens: tokens[:, 1:].transpose(1, 2).unflatten(-1, (2, 3))
    )
    assert_same(by_function.attribute(IMAGES, 1), named)


def test_dropout_in_training_mode_is_refused() -> None:
    for spelling in SPELLINGS:
        model = attending(spelling)
        model.train()
        for method in METHODS:
            with refused(TrainingModeError, "eval()"):
                method(model).attribute(IMAGES, 1)


class Windows(nn.Module):
    """Attention in the windows of a grid, over all of it, or between other tokens."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind
        self.patches = nn.Conv2d(3, 4, 2, stride=2)
        self.head = nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        t = self.patches(x).permute(0, 2, 3, 1)
        n, h, w, c = t.shape
        if self.kind == "windows":
            t = t.view(n, h // 2, 2, w // 2, 2, c).transpose(2, 3).reshape(-1, 4, c)
            t = F.scaled_dot_product_attention(t, t, t).view(n, -1, c)
        elif self.kind == "pooled":
            t = t.flatten(1, 2)
            t = F.scaled_dot_product_attention(t, t, t)
            t = F.avg_pool1d(t.transpose(1, 2), 2).transpose(1, 2)
            t = F.scaled_dot_product_attention(t, t, t)
        elif self.kind == "reduced":
            t = t.flatten(1, 2)
            t = F.scaled_dot_product_attention(t, t[:, ::2], t[:, ::2])
            t = F.scaled_dot_product_attention(t, t, t)
        elif self.kind == "mixed":
            t = t.flatten(1, 2)
            t = (t @ t.transpose(1, 2)).softmax(-1).roll(1, 1) @ t
        else:
            t = t.flatten(1, 2)
        y: Tensor = self.head(t.mean(1))
        return y


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("windows", "windows"),
        ("pooled", "tokens differ between its layers (there are 12, 24)"),
        ("reduced", "queries of an attention call are not the tokens of its keys"),
        ("mixed", "changes the weights"),
        ("none", "ran no attention"),
    ],
)
def test_what_cannot_be_composed_is_refused(kind: str, words: str) -> None:
    model = Windows(kind).double().eval()
    # Of several layers, raw attention needs the last one only.
    composing = METHODS[1:] if kind in ("pooled", "reduced") else METHODS
    for method in composing:
        with refused(LayerError, method.__name__, words, "GradCAM"):
            method(model).attribute(IMAGES, 1)


def test_raw_attention_of_the_last_layer_needs_no_other() -> None:
    model = Windows("reduced").double().eval()
    assert ta.RawAttention(model).attribute(IMAGES, 1).shape == (2, 1, 4, 6)


def test_the_tokens_that_are_read_must_be_those_of_the_layers() -> None:
    class Shortened(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = Attend(Options()), Attend(Options())
            self.patches = nn.Conv2d(3, WIDTH, 2, stride=2)

        def forward(self, x: Tensor) -> Tensor:
            t = self.first(self.patches(x).flatten(2).transpose(1, 2))
            y: Tensor = self.second(t[:, :12]).mean(1)
            return y

    model = Shortened().double().eval()
    with refused(LayerError, "which tokens the score depends on", "queries='mean'"):
        ta.RawAttention(model, "first").attribute(IMAGES, 1)
    found = ta.RawAttention(model, "first", queries="mean").attribute(IMAGES, 1)
    assert found.shape == (2, 1, 4, 6)


def test_pooling_by_attention_ends_the_chain() -> None:
    class Pools(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = attending(pool="mean", prefix=0)
            self.query = nn.Parameter(noise(1, 1, WIDTH))

        def forward(self, x: Tensor) -> Tensor:
            t = self.inner.patches(x).flatten(2).transpose(1, 2)
            for block in self.inner.blocks:
                t = block(t)
            pooled = F.scaled_dot_product_attention(self.query.expand(len(t), -1, -1), t, t)
            y: Tensor = self.inner.head(pooled[:, 0])
            return y

    model = Pools().eval()
    for method in METHODS:
        assert method(model).attribute(IMAGES, 1).shape == (2, 1, 2, 3)


def test_wrong_arguments_are_refused() -> None:
    with refused(InputError, "queries", "'class'", "'mean'"):
        ta.RawAttention(attending(), queries="patch")  # type: ignore[arg-type]
    with refused(InputError, "layout"):
        ta.RawAttention(attending(), layout="grid")  # type: ignore[arg-type]


def test_repr_names_what_was_chosen() -> None:
    model = attending()
    assert repr(ta.RawAttention(model, "blocks.0", queries="mean")) == (
        "RawAttention(Attending, layers='blocks.0', queries='mean')"
    )
    assert repr(ta.AttentionRollout(model, start_layer=1)) == (
        "AttentionRollout(Attending, start_layer=1)"
    )
    assert repr(ta.LeGrad(model)) == "LeGrad(Attending)"


def test_a_model_without_modules_of_its_own_is_read() -> None:
    attend = Attend(Options()).double().eval()

    def forward(x: Tensor) -> Tensor:
        t = F.conv2d(x, noise(WIDTH, 3, 4, 4), stride=4).flatten(2).transpose(1, 2)
        for _ in range(2):
            t = t + attend(t)
        return t.mean(1)

    for method in METHODS[:3]:
        assert method(forward).attribute(IMAGES, 1).shape == (2, 1, 2, 3)
    assert HEADS == 3
