from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from helpers import assert_same, noise, refused, seeded
from torch import Tensor, nn

import torchattr as ta
from torchattr.inspect import Step, total_variation
from torchattr.models.collage import CLASSES, collage


def make() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 6, 3),
        nn.ReLU(inplace=True),
        nn.Conv2d(6, 5, 3),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(5, 4),
    ).double()


MODEL = seeded(make)
X = noise(2, 3, 16, 14)
PLAIN: dict[str, Any] = {"steps": 1, "tv": 0, "l2": 0, "smooth": None, "transforms": ()}


def test_the_score_of_a_class_rises_far_on_the_demo_model() -> None:
    model, index = collage(), CLASSES.index("retina")
    scores: list[float] = []
    image = ta.maximise(
        model,
        index,
        shape=(3, 64, 64),
        steps=24,
        callback=lambda step: scores.append(step.scores.item()),
    )
    assert scores[0] < 0
    with torch.no_grad():
        logits = model(image)[0]
    assert logits[index] > 10
    assert logits.argmax() == index


@pytest.mark.parametrize(
    ("objective", "score"),
    [
        (3, lambda x: MODEL(x)[:, 3]),
        ([1, 2], lambda x: MODEL(x)[torch.arange(2), torch.tensor([1, 2])]),
        (lambda y: y[:, 0] - y[:, 1], lambda x: MODEL(x)[:, 0] - MODEL(x)[:, 1]),
        (("3", 2), lambda x: MODEL[:4](x)[:, 2].mean((1, 2))),
        ((MODEL[3], -1), lambda x: MODEL[:4](x)[:, 4].mean((1, 2))),
        ("3", lambda x: MODEL[:4](x).square().mean((1, 2, 3))),
        (ta.Neuron("2", (1, 4, 5)), lambda x: MODEL[:3](x)[:, 1, 4, 5]),
        (ta.Neuron("6", 1, of_input=True), lambda x: MODEL[:6](x)[:, 1]),
    ],
)
def test_a_step_follows_the_gradient_of_the_objective(objective: Any, score: Any) -> None:
    leaf = X.clone().requires_grad_()
    value = score(leaf.clone())
    (grad,) = torch.autograd.grad(value.sum(), leaf)
    direction = grad / grad.square().mean((1, 2, 3), keepdim=True).sqrt()
    told: list[Step] = []
    found = ta.maximise(MODEL, objective, X, rate=0.25, callback=told.append, **PLAIN)
    assert_same(found, X + 0.25 * direction, 1e-12)
    assert_same(told[0].scores, value.detach(), 1e-12)


def test_the_rate_falls_to_zero() -> None:
    images = [X]
    ta.maximise(
        MODEL, 0, X, **{**PLAIN, "steps": 4}, rate=1, callback=lambda s: images.append(s.image)
    )
    lengths = [(b - a).square().mean((1, 2, 3)).sqrt() for a, b in pairwise(images)]
    for length, expected in zip(lengths, (1, 0.75, 0.5, 0.25), strict=True):
        assert_same(length, torch.full_like(length, expected), 1e-12)


def test_a_seed_fixes_everything_and_the_global_generator_is_left_alone() -> None:
    state = torch.get_rng_state()
    options: dict[str, Any] = {"shape": (3, 20, 20), "steps": 3, "octaves": 2}
    first, again, other = (ta.maximise(MODEL, 1, seed=seed, **options) for seed in (5, 5, 6))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(torch.get_rng_state(), state)


def test_total_variation_is_lowered_by_its_weight() -> None:
    found = [
        total_variation(ta.maximise(MODEL, 2, X, tv=tv, steps=20)).mean() for tv in (0, 0.3, 1.0)
    ]
    assert found[0] > 1.2 * found[1] > 1.2 * found[2]


def test_the_squared_norm_is_lowered_by_its_weight() -> None:
    found = [ta.maximise(MODEL, 2, X, l2=l2, tv=0).square().mean() for l2 in (0, 0.2)]
    assert found[0] > 1.2 * found[1]


@pytest.mark.parametrize("smooth", ["gaussian", "laplacian"])
def test_smoothing_takes_high_frequencies_from_the_first_step(smooth: str) -> None:
    plain = ta.maximise(MODEL, 2, X, **PLAIN) - X
    smoothed = ta.maximise(MODEL, 2, X, **{**PLAIN, "smooth": smooth}) - X
    assert (total_variation(smoothed) < total_variation(plain)).all()
    size = smoothed.square().mean((1, 2, 3)).sqrt()
    assert_same(size, torch.full_like(size, 0.1), 1e-12)


def test_octaves_begin_small_and_end_at_the_image() -> None:
    sizes: list[tuple[int, ...]] = []
    found = ta.maximise(
        MODEL,
        0,
        X,
        steps=2,
        octaves=3,
        octave_scale=1.5,
        callback=lambda s: sizes.append((s.octave, s.number, *s.image.shape[2:])),
    )
    expected = [(0, 7, 6), (1, 11, 9), (2, 16, 14)]
    assert sizes == [(o, n, h, w) for o, h, w in expected for n in (0, 1)]
    assert found.shape == X.shape
    with refused(ta.ShapeError, "octaves=9", "fewer"):
        ta.maximise(MODEL, 0, X, octaves=9)


def test_octaves_that_change_nothing_give_the_image_back() -> None:
    assert_same(ta.maximise(MODEL, 0, X, **PLAIN, rate=0, octaves=3), X, 1e-15)


def test_bounds_hold() -> None:
    low = torch.tensor([-0.1, -0.2, -0.3])[:, None, None]
    found = ta.maximise(MODEL, 0, X, steps=2, bounds=(low, 0.25))
    assert found.max() == 0.25
    assert (found >= low).all()
    assert (found[:, 2] < -0.2).any()


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_nothing_but_the_result_changes(mode: type) -> None:
    model, x = seeded(make), X.clone()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with mode():
        found = ta.maximise(model, 0, x, steps=2)
    assert torch.equal(x, X)
    assert not torch.equal(found, X)
    assert not found.requires_grad
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert all(p.grad is None and p.requires_grad for p in model.parameters())
    assert not any(m._forward_hooks for m in model.modules())


def test_noise_has_the_models_type_and_functions_are_models_too() -> None:
    assert ta.maximise(MODEL, 0, shape=(3, 8, 8), steps=1).dtype == torch.float64
    found = ta.maximise(lambda x, k: k * F.relu(x).mean(2), 0, shape=(2, 9), steps=2,
                        additional_forward_args=2.0)  # fmt: skip
    assert found.shape == (1, 2, 9)
    assert ta.maximise(MODEL, 0, shape=(2, 3, 8, 8), steps=1).shape == (2, 3, 8, 8)


def test_an_entry_of_the_output_is_maximised() -> None:
    def model(x: Tensor) -> dict[str, Tensor]:
        return {"scores": MODEL(x), "other": x}

    found = ta.maximise(model, 1, X, output="scores", **PLAIN)
    assert torch.equal(found, ta.maximise(MODEL, 1, X, **PLAIN))


def test_progress(capsys: pytest.CaptureFixture[str]) -> None:
    ta.maximise(MODEL, 0, X, steps=3, octaves=2, progress=True)
    told = capsys.readouterr().err
    assert "6/6" in told
    assert "score=" in told


def test_what_cannot_be_maximised_is_refused() -> None:
    with refused(ta.InputError, "either an initial image", "shape"):
        ta.maximise(MODEL, 0)
    with refused(ta.InputError, "either an initial image", "shape"):
        ta.maximise(MODEL, 0, X, shape=(3, 8, 8))
    with refused(ta.InputError, "objective is missing"):
        ta.maximise(MODEL, None, X)
    with refused(ta.TargetError, "target 4", "0 to 3"):
        ta.maximise(MODEL, 4, X)
    with refused(ta.InputError, "channel 5", "0 to 4"):
        ta.maximise(MODEL, ("3", 5), X)
    with refused(ta.LayerError, "no layer 'x'"):
        ta.maximise(MODEL, "x", X)
    with refused(ta.TargetError, "does not depend"):
        ta.maximise(lambda x: torch.zeros(len(x), 2), 0, X)
    with refused(ta.InputError, "smooth", "'box'"):
        ta.maximise(MODEL, 0, X, smooth="box")
    with refused(ta.ShapeError, "(2, 8)"):
        ta.maximise(MODEL, 0, noise(2, 8))
    for name, value in (("steps", 0), ("octaves", 0), ("rate", -1), ("octave_scale", 1)):
        with refused(ta.InputError, name, str(value)):
            ta.maximise(MODEL, 0, X, **{name: value})


@pytest.mark.parametrize(("channel", "shown"), [(None, slice(None)), (3, [3])])
def test_a_dream_raises_its_layer(channel: int | None, shown: Any) -> None:
    dream = ta.deepdream(MODEL, X, "3", channel, steps=4, octaves=2)
    assert dream.shape == X.shape
    with torch.no_grad():
        before, after = (MODEL[:4](x)[:, shown].square().mean() for x in (X, dream))
    assert after > 1.3 * before
    assert torch.equal(dream, ta.deepdream(MODEL, X, MODEL[3], channel, steps=4, octaves=2))


def test_a_dream_needs_no_scores() -> None:
    dream = ta.deepdream(lambda x: {"a": MODEL(x), "b": x}, X, MODEL[3], steps=1, octaves=1)
    assert torch.equal(dream, ta.deepdream(MODEL, X, "3", steps=1, octaves=1))
