"""SmoothGrad against noise drawn by hand, and what it is where the noise vanishes."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from helpers import assert_same, noise, refused
from peers import classifier, mixed, picture_net, pictures, rows
from sampled_path import normals
from torch import Tensor

import torchattr as ta
from torchattr.errors import InputError, InputTypeError, OutputError

EXACT = 1e-12


def by_hand(
    model: Any, x: Tensor, target: int, samples: int, share: float, seed: int, stream: int = 0
) -> Tensor:
    """Return the mean gradient of one example."""
    spread = share * (x.max() - x.min())
    total = torch.zeros_like(x)
    for number in range(samples):
        drawn = torch.tensor(normals(seed, stream, number, x.numel()), dtype=x.dtype)
        leaf = (x + spread * drawn.reshape(x.shape)).requires_grad_()
        total += torch.autograd.grad(model(leaf)[0, target], leaf)[0]
    return total / samples


@pytest.mark.parametrize("seed", [0, 11])
@pytest.mark.parametrize("limit", [None, 3, 1000])
def test_equals_noise_drawn_by_hand(seed: int, limit: int | None) -> None:
    model, x, classes = classifier(), rows(), [0, 2, 1]
    found = ta.SmoothGrad(model).attribute(
        x, classes, n_samples=5, noise=0.3, seed=seed, internal_batch_size=limit
    )
    for k, target in enumerate(classes):
        assert_same(found[k : k + 1], by_hand(model, x[k : k + 1], target, 5, 0.3, seed), EXACT)


def test_several_inputs_have_noise_and_seeds_of_their_own() -> None:
    x, y, scale = rows(), noise(3, 4, seed=5), noise(3, seed=7)
    found = ta.SmoothGrad(mixed).attribute(
        (x, y), [0, 2, 1], (scale, 2), n_samples=4, noise=0.9, seed=[5, 6, 7]
    )
    expected = []
    for k, target in enumerate([0, 2, 1]):
        totals = [torch.zeros_like(one[k : k + 1]) for one in (x, y)]
        for number in range(4):
            leaves = []
            for stream, one in enumerate((x, y)):
                row = one[k : k + 1]
                drawn = torch.tensor(normals(5 + k, stream, number, row.numel()), dtype=row.dtype)
                spread = 0.9 * (row.max() - row.min())
                leaves.append((row + spread * drawn.reshape(row.shape)).requires_grad_())
            score = mixed(*leaves, scale[k : k + 1], 2)[0, target]
            for total, grad in zip(totals, torch.autograd.grad(score, leaves), strict=True):
                total += grad / 4
        expected.append(totals)
    for one, each in zip(found, zip(*expected, strict=True), strict=True):
        assert_same(one, torch.cat(each), EXACT)


def test_without_noise_it_is_the_gradient() -> None:
    model, x = picture_net(), pictures()
    plain = ta.Saliency(model).attribute(x, target=1, abs=False)
    assert_same(ta.SmoothGrad(model).attribute(x, 1, n_samples=2, noise=0), plain, EXACT)
    times = ta.SmoothGrad(model, multiply_by_inputs=True).attribute(x, 1, n_samples=2, noise=0.0)
    assert_same(times, x * plain, EXACT)


def test_an_example_has_the_same_map_in_any_batch() -> None:
    model, x = picture_net(), pictures()
    whole = ta.SmoothGrad(model).attribute(x, 1, n_samples=3)
    for k in range(len(x)):
        assert_same(
            ta.SmoothGrad(model).attribute(x[k : k + 1], 1, n_samples=3), whole[k : k + 1], EXACT
        )


def test_several_targets_share_the_samples() -> None:
    model, x = picture_net(), pictures()
    both = ta.SmoothGrad(model).attribute(x, ta.Classes(1, 0), n_samples=3)
    for position, target in enumerate((1, 0)):
        assert_same(
            both[:, position], ta.SmoothGrad(model).attribute(x, target, n_samples=3), EXACT
        )


def test_the_predicted_class_is_that_without_noise() -> None:
    model, x = classifier(), rows()
    predicted = model(x).argmax(1)
    found = ta.SmoothGrad(model).attribute(x, n_samples=3, noise=3.0)
    assert_same(found, ta.SmoothGrad(model).attribute(x, predicted, n_samples=3, noise=3.0), EXACT)


def test_it_is_the_noise_tunnels_mean_on_average() -> None:
    """Both are estimates of the same mean; their difference shrinks with the samples."""
    model, x = classifier(), rows()[:1]
    spread = float(0.5 * (x.max() - x.min()))
    torch.manual_seed(0)
    tunnel = ta.NoiseTunnel(ta.Saliency(model)).attribute(
        x, nt_samples=4000, stdevs=spread, target=1, abs=False
    )
    ours = ta.SmoothGrad(model).attribute(x, 1, n_samples=4000, noise=0.5)
    plain = ta.Saliency(model).attribute(x, target=1, abs=False)
    assert (ours - tunnel).norm() < 0.2 * (ours - plain).norm()


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"noise": -0.1}, InputError, ("noise", "0 or more", "-0.1")),
        ({"noise": float("nan")}, InputError, ("noise", "finite")),
        ({"noise": "much"}, InputTypeError, ("noise", "number", "'much'")),
        ({"n_samples": 0}, InputError, ("n_samples",)),
        ({"seed": -1}, InputError, ("seed",)),
    ],
)
def test_wrong_options_are_named(options: Any, error: Any, words: tuple[str, ...]) -> None:
    with refused(error, *words):
        ta.SmoothGrad(classifier()).attribute(rows(), 1, **options)


def test_a_score_for_the_whole_batch_is_refused() -> None:
    with refused(OutputError, "one row for each"):
        ta.SmoothGrad(lambda x: x.sum()).attribute(rows())
