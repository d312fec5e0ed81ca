"""Occlusion against brute force and Captum."""

from __future__ import annotations

from itertools import product
from typing import Any

import captum.attr
import pytest
import torch
from helpers import assert_same, noise, refused, seeded
from peers import Counting, asked, classifier, picture_net, pictures, rows
from torch import Tensor, nn

import torchattr as ta
from torchattr.errors import InputError, InputTypeError, OutputError

EXACT = 1e-12
# Captum divides in single precision, and returns it.
CAPTUM = 1e-6

WINDOWS = [
    ((1, 3, 4), (1, 2, 3)),
    ((2, 2, 2), None),
    ((2, 2, 2), 2),
    ((1, 3, 3), (1, 3, 3)),
    ((2, 5, 6), (7, 8, 9)),
    ((1, 1, 1), 1),
    ((1, 4, 5), (1, 3, 2)),
]


def by_hand(forward: Any, x: Tensor, size: Any, strides: Any, baseline: Tensor) -> Tensor:
    """Slide, replace, and average element by element."""
    steps = (strides or 1,) * 3 if not isinstance(strides, tuple) else strides
    total, count = torch.zeros_like(x), torch.zeros_like(x)
    starts = []
    for extent, width, step in zip(x.shape[1:], size, steps, strict=True):
        here = [0]
        while here[-1] + width < extent:
            here.append(here[-1] + step)
        starts.append(here)
    for corner in product(*starts):
        box = (slice(None), *(slice(c, c + w) for c, w in zip(corner, size, strict=True)))
        changed = x.clone()
        changed[box] = baseline.expand_as(x)[box]
        total[box] += (forward(x) - forward(changed)).reshape(-1, 1, 1, 1)
        count[box] += 1
    return total / count


@pytest.mark.parametrize(("size", "strides"), WINDOWS)
@pytest.mark.parametrize("baseline", [torch.zeros(1).double(), noise(2, 2, 5, 6, seed=4)])
def test_equals_the_definition(size: Any, strides: Any, baseline: Tensor) -> None:
    model, x = picture_net(), pictures()
    found = ta.Occlusion(model).attribute(x, size, strides, baseline, target=1)
    expected = by_hand(lambda v: model(v)[:, 1].detach(), x, size, strides, baseline)
    assert_same(found, expected, EXACT)


@pytest.mark.parametrize(("size", "strides"), WINDOWS)
@pytest.mark.parametrize("at_once", [None, 1, 4])
def test_equals_captum(size: Any, strides: Any, at_once: int | None) -> None:
    model, x = picture_net(), pictures()
    options = {"strides": strides, "target": [2, 0], "baselines": 0.3}
    expected = asked(captum.attr.Occlusion(model), x, size, **options)
    found = ta.Occlusion(model).attribute(x, size, perturbations_per_eval=at_once, **options)
    assert_same(found, expected.to(found), CAPTUM)


@pytest.mark.parametrize("at_once", [None, 1, 5])
def test_tuple_inputs_equal_captum(at_once: int | None) -> None:
    model = picture_net()

    def forward(a: Tensor, b: Tensor, scale: Tensor) -> Tensor:
        return model(a) * b.sum(1, keepdim=True) * scale

    inputs = (pictures(), rows(2))
    windows, strides = ((1, 3, 2), (2,)), ((1, 2, 1), 2)
    options = {"target": 1, "additional_forward_args": noise(2, 1, seed=9)}
    expected = asked(captum.attr.Occlusion(forward), inputs, windows, strides, **options)
    occlusion = ta.Occlusion(forward)
    found = occlusion.attribute(inputs, windows, strides, perturbations_per_eval=at_once, **options)
    for one, other in zip(found, expected, strict=True):
        assert_same(one, other.to(one), CAPTUM)


def test_several_targets_share_the_forwards() -> None:
    model, x = Counting(picture_net()), pictures()
    found = ta.Occlusion(model).attribute(
        x, (2, 5, 3), 3, target=ta.Classes(1, 2), perturbations_per_eval=1
    )
    assert len(model.seen) == 1 + 2
    for position, target in enumerate((1, 2)):
        expected = ta.Occlusion(model).attribute(x, (2, 5, 3), 3, target=target)
        assert_same(found[:, position], expected, EXACT)


def test_an_aggregate_and_its_shape() -> None:
    model = picture_net()

    def forward(x: Tensor) -> Tensor:
        return model(x).sum()

    found = ta.Occlusion(forward).attribute(pictures(), (1, 2, 2))
    assert found.shape == (1, 2, 5, 6)
    expected = asked(captum.attr.Occlusion(forward), pictures(), (1, 2, 2))
    assert_same(found, expected.to(found), CAPTUM)
    with refused(OutputError, "perturbations_per_eval=3"):
        ta.Occlusion(forward).attribute(pictures(), (1, 2, 2), perturbations_per_eval=3)


def test_integers_and_single_values() -> None:
    tokens = torch.arange(12).reshape(2, 6)
    found = ta.Occlusion(lambda v: v.sum(1)).attribute(tokens, (2,), target=None)
    assert_same(found, torch.tensor([[1, 2, 4, 6, 8, 9], [13, 14, 16, 18, 20, 21]]).float())
    x = noise(3)
    assert_same(ta.Occlusion(lambda v: v * 2).attribute(x, ()), 2 * x, EXACT)


def test_complex_inputs() -> None:
    x = torch.complex(noise(2, 4), noise(2, 4, seed=1))
    found = ta.Occlusion(lambda v: v.abs().sum(1)).attribute(x, (1,), target=None)
    assert_same(found, x.abs(), EXACT)


@pytest.mark.parametrize("dtype", [torch.int64, torch.uint8, torch.bool, torch.complex64])
def test_inputs_that_the_model_cannot_take_are_named(dtype: torch.dtype) -> None:
    with refused(InputError, f"inputs is {dtype}", "parameters torch.float64"):
        ta.Occlusion(picture_net()).attribute(pictures().to(dtype), (1, 2, 2), target=1)


def test_an_empty_batch() -> None:
    found = ta.Occlusion(picture_net()).attribute(pictures()[:0], (1, 2, 2), target=1)
    assert found.shape == (0, 2, 5, 6)


def test_halves_the_batch_when_memory_runs_out() -> None:
    model = Counting(picture_net(), limit=4)
    found = ta.Occlusion(model).attribute(pictures(), (2, 2, 2), target=1)
    expected = ta.Occlusion(picture_net()).attribute(pictures(), (2, 2, 2), target=1)
    assert_same(found, expected, EXACT)
    assert max(model.seen[-5:]) <= 4


def test_one_window_that_overflows_does_not_spread() -> None:
    def forward(x: Tensor) -> Tensor:
        return torch.where(x[:, 0] == 0, float("inf"), x.sum(1))

    found = ta.Occlusion(forward).attribute(rows(1) + 9, (1,))
    assert found[0, 0] == float("-inf")
    assert bool(found[0, 1:].isfinite().all())


@pytest.mark.parametrize(
    ("size", "strides", "kind", "words"),
    [
        ((1, 9, 2), None, ta.ShapeError, ("(1, 9, 2)", "larger", "(2, 5, 6)")),
        ((1, 2), None, ta.ShapeError, ("sliding_window_shapes", "2 entries", "3 dimensions")),
        ((1, 2, 2), 0, ta.InputError, ("strides", "(0, 0, 0)", "at least 1")),
        ((1, 2, 2), (1, -1, 1), ta.InputError, ("strides", "at least 1")),
        ((1, 0, 2), None, ta.InputError, ("sliding_window_shapes", "at least 1")),
        ((1, 2, 2), (1, 3, 2), ta.InputError, ("strides", "larger than the window", "uncovered")),
        ((1, 2, 2), (1, 1), ta.ShapeError, ("strides", "2 entries")),
        ((1, 2, 2), 1.5, InputTypeError, ("strides", "1.5")),
        (3, None, InputTypeError, ("sliding_window_shapes", "tuple of 3 ints", "3")),
        (((1, 2, 2), (1, 2, 2)), None, InputTypeError, ("sliding_window_shapes", "tuple of 3")),
        ((((1, 2, 2),),), None, InputTypeError, ("sliding_window_shapes",)),
    ],
)
def test_bad_windows(size: Any, strides: Any, kind: Any, words: tuple[str, ...]) -> None:
    with refused(kind, *words):
        ta.Occlusion(picture_net()).attribute(pictures(), size, strides, target=1)


@pytest.mark.parametrize("incremental", [False, "auto", True])
@pytest.mark.parametrize("at_once", [None, 1, 3])
@pytest.mark.parametrize("squeeze", [lambda s: s.squeeze(), lambda s: s.squeeze(0)])
def test_a_squeezed_example_is_a_row(squeeze: Any, at_once: int | None, incremental: Any) -> None:
    model, x = picture_net(), pictures(1)
    options: dict[str, Any] = {"incremental": incremental, "perturbations_per_eval": at_once}
    for target in (None, 1, ta.TopK(2), ta.Classes(0, 2)):
        method = ta.Occlusion(lambda v: squeeze(model(v)))
        found = method.attribute(x, (2, 2, 2), target=target, **options)
        expected = ta.Occlusion(model).attribute(x, (2, 2, 2), target=target, incremental=False)
        assert_same(found, expected, EXACT)


def test_bad_windows_of_tuple_inputs_are_named() -> None:
    inputs = (rows(), rows())
    occlusion = ta.Occlusion(lambda a, b: classifier()(a + b))
    with refused(ta.ShapeError, "sliding_window_shapes", "2 inputs"):
        occlusion.attribute(inputs, (2,), target=1)
    with refused(ta.ShapeError, "inputs[1]", "(7,)"):
        occlusion.attribute(inputs, ((2,), (7,)), target=1)
    assert occlusion.attribute(inputs, ((2,), (3,)), 2, target=1)[1].shape == (3, 6)


@pytest.mark.parametrize(
    ("shape", "window", "strides"),
    [
        ((2, 3, 17, 8), (3, 3, 1), (1, 1, 1)),
        ((2, 2, 40), (2, 5), (1, 2)),
        ((2, 5), (1,), (1,)),
    ],
)
def test_the_default_window_has_all_channels_and_an_eighth_of_each_side(
    shape: tuple[int, ...], window: Any, strides: Any
) -> None:
    x = noise(*shape)
    model = seeded(lambda: nn.Sequential(nn.Flatten(), nn.Linear(x[0].numel(), 2))).double()
    found = ta.Occlusion(model).attribute(x, target=1)
    assert_same(found, ta.Occlusion(model).attribute(x, window, strides, target=1), 1e-12)
    finer = ta.Occlusion(model).attribute(x, strides=1, target=1)
    assert_same(finer, ta.Occlusion(model).attribute(x, window, 1, target=1), 1e-12)
