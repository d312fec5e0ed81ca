"""Smooth Grad-CAM++: moments of gradients over noisy images."""

from __future__ import annotations

import torch
from cam_networks import Deep, images, layer_pair, seeded
from helpers import refused

import torchattr as ta
from torchattr.methods._perturbation.random_numbers import key_of, normal


def test_it_is_the_formula_of_the_moments() -> None:
    net, x = seeded(Deep), images()
    layer = net.get_submodule("norm")
    values, _ = layer_pair(net, layer, x, 1)
    slopes, squares, cubes = (torch.zeros_like(values) for _ in range(3))
    for number in range(3):
        drawn = torch.from_numpy(normal(key_of(5, 0), number, number + 1, x[0].numel()))
        _, gradient = layer_pair(net, layer, x + 0.4 * drawn.view(1, *x.shape[1:]), 1)
        slopes += gradient / 3
        squares += gradient**2 / 3
        cubes += gradient**3 / 3
    total = values.sum((2, 3), keepdim=True)
    below = 2 * squares + cubes * total
    alpha = torch.where(below != 0, squares / below, 0)
    weights = (alpha * slopes.relu()).sum((2, 3), keepdim=True)
    expected = (weights * values).sum(1, keepdim=True)
    smooth = ta.SmoothGradCAMPlusPlus(net, "norm")
    found = smooth.attribute(x, target=1, n_samples=3, stdevs=0.4, seed=5)
    torch.testing.assert_close(found, expected)


def test_without_noise_it_is_grad_cam_plus_plus() -> None:
    net, x = seeded(Deep), images()
    plain = ta.GradCAMPlusPlus(net, ["norm", "stem"]).attribute(x, target=ta.TopK(2))
    smooth = ta.SmoothGradCAMPlusPlus(net, ["norm", "stem"])
    found = smooth.attribute(x, target=ta.TopK(2), n_samples=2, stdevs=0.0)
    assert found.keys() == plain.keys()
    for name, maps in plain.items():
        torch.testing.assert_close(found[name], maps)


def test_each_example_has_the_same_noise_in_any_batch() -> None:
    net, x = seeded(Deep), images()
    smooth = ta.SmoothGradCAMPlusPlus(net, "norm")
    torch.testing.assert_close(smooth.attribute(x)[1:], smooth.attribute(x[1:]))


def test_bad_numbers_are_refused() -> None:
    smooth = ta.SmoothGradCAMPlusPlus(seeded(Deep), "norm")
    with refused(ta.InputError, "n_samples", "0"):
        smooth.attribute(images(), target=1, n_samples=0)
    with refused(ta.InputError, "stdevs", "-1"):
        smooth.attribute(images(), target=1, stdevs=-1.0)
