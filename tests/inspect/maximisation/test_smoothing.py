from __future__ import annotations

import torch
from helpers import assert_same, noise

from torchattr.inspect.maximisation.smoothing import (
    blurred,
    laplacian_normalised,
    normalised,
    total_variation,
    variation_gradient,
)

X = noise(2, 3, 9, 7)


def test_total_variation_by_hand() -> None:
    image = torch.tensor([[[[0.0, 2.0, 1.0], [0.0, 2.0, 0.0]]]])
    across, down = (2 + 1 + 2 + 2) / 4, 1 / 3
    assert_same(total_variation(image), torch.tensor([across + down]), 1e-6)
    assert total_variation(torch.ones(1, 1, 1, 5)).tolist() == [0]


def test_its_gradient_is_autograds() -> None:
    leaf = X.clone().requires_grad_()
    sums = [(leaf.diff(dim=d) ** 2 + 1e-4).sqrt().sum() for d in (2, 3)]
    (expected,) = torch.autograd.grad(sum(sums), leaf)
    assert_same(variation_gradient(X), expected, 1e-13)


def test_a_blur_keeps_constants_and_its_impulse_is_a_gaussian() -> None:
    assert_same(blurred(torch.ones(1, 2, 5, 4), 2.0), torch.ones(1, 2, 5, 4), 1e-6)
    assert blurred(X, 0.0) is X
    impulse = torch.zeros(1, 1, 31, 31, dtype=torch.float64)
    impulse[..., 15, 15] = 1
    spread = blurred(impulse, 2.0)[0, 0]
    places = torch.arange(-15, 16, dtype=torch.float64)
    variance = (spread * places[:, None] ** 2).sum()
    assert abs(variance - 4) < 0.15
    assert_same(spread, spread.T, 1e-14)


def test_a_blur_has_any_number_of_dimensions() -> None:
    for shape in ((1, 1, 9), (1, 1, 5, 6, 7)):
        assert blurred(noise(*shape), 1.0).shape == shape


def test_normalised_has_unit_strength_and_zero_stays_zero() -> None:
    images = torch.stack([X[0], torch.zeros_like(X[0])])
    strength = normalised(images).square().mean((1, 2, 3))
    assert_same(strength, torch.tensor([1.0, 0.0], dtype=torch.float64), 1e-14)


def test_laplacian_normalisation_lifts_weak_bands() -> None:
    places = torch.arange(64.0)
    slow = torch.sin(places / 8).expand(64, 64)
    fast = torch.sin(places * 2.8).expand(64, 64)
    image = (0.05 * slow + fast)[None, None]
    lifted = laplacian_normalised(image, 4)

    def share(found: torch.Tensor) -> torch.Tensor:
        return (found * slow).mean().abs() / (found * fast).mean().abs()

    assert share(lifted) > 5 * share(image)
