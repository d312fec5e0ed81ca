"""The same numbers as Captum's: its documented alternative forms of a call."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable
from typing import Any

import captum.attr
import pytest
import torch
from captum_parity import FEATURES, IMAGES, SINGLE, assert_parity, convolutions
from helpers import assert_same, noise, refused, seeded
from torch import Tensor, nn

import torchattr as ta
import torchattr.captum
from torchattr.errors import OutputError

TALLIES: dict[str, Callable[[Tensor], Tensor]] = {
    "a row": lambda x: x[:1].square(),
    "a row of as many values as examples": lambda x: x[:2, :3].prod(0, keepdim=True),
    "two rows": lambda x: torch.stack([x.square().sum(0), x.prod(0)]),
    "numbers": lambda x: torch.stack([x.sum(), x.max(), x.square().min()]),
    "more dimensions": lambda x: x.square().sum(0).reshape(1, 3, 2, 1),
    "a matrix of one row": lambda x: (x.T @ x)[None],
}
HALVES = torch.tensor([[0, 0, 0, 1, 1, 1]])


@pytest.mark.parametrize("form", TALLIES)
@pytest.mark.parametrize("mask", [None, HALVES], ids=["elements", "halves"])
def test_every_value_of_a_forward_that_aggregates(form: str, mask: Tensor | None) -> None:
    def wrap(_: nn.Module) -> Callable[[Tensor], Tensor]:
        return TALLIES[form]

    options: dict[str, Any] = {"wrap": wrap, "baselines": 0.25}
    found = assert_parity("FeatureAblation", nn.Identity(), FEATURES, feature_mask=mask, **options)
    assert len(found) == TALLIES[form](FEATURES).numel()
    assert_parity(
        "Occlusion",
        nn.Identity(),
        FEATURES,
        sliding_window_shapes=(2,),
        strides=2,
        tolerance=SINGLE,
        **options,
    )


def test_a_target_picks_of_what_aggregates() -> None:
    def wrap(_: nn.Module) -> Callable[[Tensor], Tensor]:
        return TALLIES["two rows"]

    for target in (1, torch.tensor(4)):
        found = assert_parity("FeatureAblation", nn.Identity(), FEATURES, wrap=wrap, target=target)
        assert found.shape == (2, 6)


class Sparse(nn.Module):
    """Sums dense features `(N, 3)` and embedded indices `(M,)`, in one of three forms."""

    def __init__(self, form: str) -> None:
        super().__init__()
        self.form = form
        self.weight = nn.Parameter(noise(3, 4), requires_grad=False)
        self.table = nn.Parameter(noise(9, 4, seed=2), requires_grad=False)

    def forward(self, dense: Tensor, indices: Tensor) -> Tensor:
        embedded = self.table[indices.long()].sum(0)
        scores = (dense @ self.weight).tanh() * (1 + embedded)
        if self.form == "for each example":
            return scores
        return scores.sum() if self.form == "a number" else scores.sum(0)


@pytest.mark.parametrize("count", [5, 2])
@pytest.mark.parametrize("form", ["a number", "numbers", "for each example"])
def test_inputs_of_another_number_of_rows(form: str, count: int) -> None:
    inputs = noise(2, 3), torch.arange(1, 1 + count)
    target = 1 if form == "for each example" else None
    found = assert_parity("FeatureAblation", Sparse(form), inputs, target=target)
    rows = {"a number": 1, "numbers": 4, "for each example": 2}[form]
    assert [tuple(part.shape) for part in found] == [(rows, 3), (rows,)]
    options: dict[str, Any] = {"target": target, "sliding_window_shapes": ((2,), ())}
    assert_parity("Occlusion", Sparse(form), inputs, tolerance=SINGLE, **options)


@pytest.mark.parametrize("form", ["a number", "numbers", "for each example"])
def test_an_input_without_rows_is_worth_nothing(form: str) -> None:
    inputs, target = (noise(2, 3), torch.arange(0)), 1 if form == "for each example" else None
    found = torchattr.captum.FeatureAblation(Sparse(form)).attribute(inputs, target=target)
    expected = captum.attr.FeatureAblation(Sparse(form)).attribute(inputs, target=target)
    assert_same(found[0], expected[0], 1e-10)
    assert found[1].shape == expected[1].shape
    assert not found[1].any()


def test_what_inputs_of_other_rows_cannot_be_asked() -> None:
    inputs = noise(2, 3), torch.arange(5)
    method = ta.FeatureAblation(Sparse("for each example"))
    with refused(OutputError, "perturbations_per_eval=2", "one of the inputs"):
        method.attribute(inputs, target=1, perturbations_per_eval=2)
    with refused(OutputError, "feature_mask", "number of rows"):
        masks = torch.tensor([[0, 1, 2], [1, 0, 2]]), torch.tensor([3])
        method.attribute(inputs, target=1, feature_mask=masks)
    assert_same(
        method.attribute(inputs, target=1)[0],
        method.attribute(inputs, target=1, perturbations_per_eval=1)[0],
    )
    together = ta.FeatureAblation(lambda a, b: torch.cat([a, b], 1).sum(1))
    with refused(ta.ShapeError, "same first dimension", "[2, 3]"):
        together.attribute((noise(2, 3), noise(3, 3)))


@pytest.mark.parametrize("baselines", [None, True, False, torch.tensor([[True, False, True]])])
@pytest.mark.parametrize("at_once", [1, 2])
def test_bool_inputs(baselines: Any, at_once: int) -> None:
    model = seeded(lambda: nn.Linear(3, 2)).double()

    def wrap(module: nn.Module) -> Callable[[Tensor], Tensor]:
        return lambda x: module(torch.where(x, 1.5, -0.5).double())

    inputs = torch.tensor([[True, False, True], [False, False, True]])
    options: dict[str, Any] = {"target": 1, "wrap": wrap, "perturbations_per_eval": at_once}
    assert_parity("FeatureAblation", model, inputs, baselines=baselines, **options)
    assert_parity(
        "Occlusion",
        model,
        inputs,
        sliding_window_shapes=(2,),
        baselines=baselines,
        tolerance=SINGLE,
        **options,
    )


def test_a_bool_is_no_baseline_of_numbers() -> None:
    with refused(TypeError, "baselines", "bool"):
        torchattr.captum.FeatureAblation(torch.sum).attribute(FEATURES, baselines=True)


@pytest.mark.parametrize(
    ("windows", "strides"),
    [
        (((3, 4, 2),), None),
        (((3, 4, 2),), ((3, 4, 2),)),
        ((3, 4, 2), ((3, 2, 2),)),
        (((3, 4, 2),), (3, 2, 2)),
        ((3, 4, 2), (2,)),
        (((3, 4, 2),), 2),
    ],
    ids=repr,
)
@pytest.mark.parametrize("form", [lambda x: x, lambda x: (x,)], ids=["tensor", "tuple"])
def test_windows_of_a_single_input(form: Any, windows: Any, strides: Any) -> None:
    assert_parity(
        "Occlusion",
        convolutions(),
        form(IMAGES),
        target=1,
        sliding_window_shapes=windows,
        strides=strides,
        tolerance=SINGLE,
    )


def asked(method: Any, *args: Any, **options: Any) -> Any:
    """Run a Captum method without its warnings."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return method.attribute(*args, **options)


class Beside(nn.Module):
    """Scores of a picture, scaled by a second input."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.relu = nn.Conv2d(3, 4, 3), nn.ReLU()
        self.head = nn.Linear(4 * 10 * 6, 3)

    def forward(self, *inputs: Tensor) -> Tensor:
        (picture,) = (x for x in inputs if x.dim() == 4)
        others = [x.reshape(len(x), -1).sum(1) for x in inputs if x.dim() != 4]
        scale = torch.stack([torch.ones(len(picture)).double(), *others]).sum(0)
        return self.head(self.relu(self.conv1(picture)).flatten(1)) * scale[:, None]


@pytest.mark.parametrize(
    "inputs",
    [
        (IMAGES, noise(3, 5)),
        (noise(3, 5), IMAGES),
        (noise(3).reshape(3), IMAGES, noise(3, 2, 4)),
    ],
    ids=["after", "before", "around"],
)
def test_guided_grad_cam_beside_inputs_without_places(inputs: tuple[Tensor, ...]) -> None:
    model = seeded(Beside).double()
    with pytest.warns(ta.NotSpatialWarning, match="empty tensor"):
        found = ta.GuidedGradCAM(model, "conv1").attribute(inputs, target=1)
    theirs = captum.attr.GuidedGradCam(model, model.conv1)
    expected = asked(theirs, tuple(x.clone() for x in inputs), target=1)
    assert [part.shape for part in found] == [part.shape for part in expected]
    assert all(part.shape == (0,) for x, part in zip(inputs, found, strict=True) if x.dim() != 4)
    at = [x.dim() for x in inputs].index(4)
    assert_same(found[at], expected[at].detach(), 1e-10)


def test_guided_grad_cam_of_no_input_with_places_is_refused() -> None:
    model = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 2)).double()
    with refused(ta.ShapeError, "spatial dimensions"):
        ta.GuidedGradCAM(model, "0").attribute(FEATURES, target=1)


@pytest.mark.parametrize("mode", ["made_up", "linear", "trilinear", None, 3])
def test_modes_that_do_not_serve_are_named(mode: Any) -> None:
    model = convolutions()
    for method in (
        ta.GuidedGradCAM(model, "conv2"),
        torchattr.captum.GuidedGradCam(model, model.conv2),
    ):
        with refused(ta.InputError, "interpolate_mode", repr(mode), "'bilinear'"):
            method.attribute(IMAGES, target=1, interpolate_mode=mode)
    with refused(ta.InputError, "interpolate_mode", repr(mode)):
        torchattr.captum.LayerAttribution.interpolate(noise(1, 1, 2, 2), 4, mode)


@pytest.mark.parametrize("mode", ["nearest", "nearest-exact", "area", "bilinear", "bicubic"])
def test_every_mode_for_pictures(mode: str) -> None:
    assert_parity(
        "GuidedGradCam", convolutions(), IMAGES, layer="conv2", target=1, interpolate_mode=mode
    )


OF_FUTURES = ("FeatureAblation", "FeaturePermutation", "ShapleyValueSampling", "ShapleyValues")
METHODS = [
    name
    for name, one in vars(torchattr.captum).items()
    if inspect.isclass(one)
    and hasattr(one, "attribute")
    and not inspect.isabstract(one)
    and name not in OF_FUTURES
]


@pytest.mark.parametrize("name", METHODS)
def test_futures_are_not_offered_by_other_methods(name: str) -> None:
    method = object.__new__(getattr(torchattr.captum, name))
    with refused(NotImplementedError, name, "call attribute"):
        method.attribute_future(IMAGES, target=1)


@pytest.mark.parametrize("at_once", [None, 1, 2])
@pytest.mark.parametrize("inputs", [(IMAGES, noise(3, 5)), (noise(3, 5), IMAGES)], ids=["1", "0"])
def test_noise_around_guided_grad_cam_of_an_input_without_places(
    inputs: tuple[Tensor, ...], at_once: int | None
) -> None:
    model, found = seeded(Beside).double(), []
    for library in (torchattr.captum, captum.attr):
        torch.manual_seed(0)
        tunnel = library.NoiseTunnel(library.GuidedGradCam(model, model.conv1))
        options = {"nt_samples": 4, "nt_samples_batch_size": at_once, "stdevs": 0.1}
        found.append(asked(tunnel, inputs, target=1, **options))
    for ours, theirs in zip(*found, strict=True):
        assert ours.shape == theirs.shape
        if ours.numel():
            assert_same(ours, theirs.detach(), 1e-10)
