"""ROAD against a loop over pictures and fractions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from helpers import seeded
from imputed_by_hand import by_hand
from measured import SmallNet
from torch import Tensor, nn

import torchattr as ta
from torchattr.errors import InputError, InputTypeError, ShapeError
from torchattr.evaluate import road

MODEL = seeded(SmallNet).double()
GENERATOR = torch.Generator().manual_seed(3)
X = torch.rand(2, 2, 6, 8, generator=GENERATOR, dtype=torch.float64)
MAPS = torch.randn(2, 1, 6, 8, generator=GENERATOR, dtype=torch.float64)


def literal(x: Tensor, worth: Tensor, share: float) -> Tensor:
    """Remove the most important pixels of one picture, and solve for them."""
    first = worth.flatten().argsort(descending=True)[: round(share * 48)]
    removed = torch.zeros(48, dtype=torch.bool)
    removed[first] = True
    mask = removed.reshape(6, 8).numpy()
    return torch.stack([torch.from_numpy(by_hand(channel.numpy(), mask)) for channel in x])


@pytest.mark.parametrize("order", ["most", "least"])
def test_equals_a_literal_loop(order: Any) -> None:
    curve = road(MODEL, X, MAPS, [1, 2], order=order, noise=0, activation="none")
    assert curve.fractions[0].tolist() == [0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.7, 0.9]
    for n, target in enumerate([1, 2]):
        worth = MAPS[n, 0] if order == "most" else -MAPS[n, 0]
        for step, share in enumerate(curve.fractions[0].tolist()):
            changed = literal(X[n], worth, share)
            expected = MODEL(changed[None])[0, target].item()
            assert curve.scores[n, step].item() == pytest.approx(expected, abs=1e-8)


def test_several_targets_have_maps_of_their_own() -> None:
    maps = torch.stack([MAPS, MAPS.flip(-1)], 1)
    together = road(MODEL, X, maps, ta.Classes(2, 0))
    for position, target in enumerate([2, 0]):
        one = road(MODEL, X, maps[:, position], target)
        assert torch.allclose(together.scores[:, position], one.scores, rtol=0, atol=1e-12)


def test_the_noise_is_that_of_the_seed_in_any_batch() -> None:
    options: dict[str, Any] = {"target": 1, "activation": "none", "noise": 0.1}
    found = road(MODEL, X, MAPS, **options).scores
    assert torch.equal(found, road(MODEL, X, MAPS, **options).scores)
    alone = road(MODEL, X[1:], MAPS[1:], **options).scores
    assert torch.allclose(found[1:], alone, rtol=0, atol=1e-12)
    other = road(MODEL, X, MAPS, seed=1, **options).scores
    assert (found - other)[:, 1:].abs().min() > 0
    calm = road(MODEL, X, MAPS, **{**options, "noise": 0}).scores
    assert torch.equal(found[:, 0], calm[:, 0])


def test_fractions_share_forwards_as_memory_allows() -> None:
    rows: list[int] = []
    hook = MODEL.register_forward_hook(lambda _, given, __: rows.append(len(given[0])))
    by_seven = road(MODEL, X, MAPS, 1)
    assert rows == [2, 14]
    rows.clear()
    by_three = road(MODEL, X, MAPS, 1, perturbations_per_eval=3)
    assert rows == [2, 6, 6, 2]
    rows.clear()
    one_by_one = road(MODEL, X, MAPS, 1, perturbations_per_eval=1)
    assert rows == [2] * 8
    hook.remove()
    for found in (by_seven, by_three):
        assert torch.allclose(found.scores, one_by_one.scores, rtol=0, atol=1e-12)


def test_a_model_that_takes_one_batch_at_a_time_is_measured() -> None:
    def of_two(x: Tensor) -> Tensor:
        assert len(x) == 2
        return MODEL(x)

    curve = road(of_two, X, MAPS, 1, perturbations_per_eval=1)
    assert torch.allclose(curve.scores, road(MODEL, X, MAPS, 1).scores, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("options", "error", "says"),
    [
        ({"fractions": (0.2, 0.1)}, InputError, "must rise between 0 and 1"),
        ({"fractions": (0.5, 1.0)}, InputError, "must rise between 0 and 1"),
        ({"fractions": 0.5}, InputTypeError, "a sequence of floats, got float"),
        ({"fractions": ()}, InputTypeError, "a sequence of floats"),
        ({"noise": -1}, InputError, "noise must be at least 0"),
        ({"perturbations_per_eval": 0}, InputError, "perturbations_per_eval must be at least 1"),
        ({"order": "first"}, InputError, "'most' or 'least'"),
        ({"seed": 1.5}, InputTypeError, "seed must be an int"),
    ],
)
def test_arguments_out_of_range(options: dict[str, Any], error: type, says: str) -> None:
    with pytest.raises(error, match=says):
        road(MODEL, X, MAPS, 1, **options)


def test_rows_are_no_pictures() -> None:
    with pytest.raises(ShapeError, match="floating pictures"):
        road(nn.Linear(4, 2), torch.rand(1, 4), torch.rand(1, 4))
    with pytest.raises(InputTypeError, match="a tensor of pictures, got tuple"):
        road(MODEL, (X,), MAPS)  # type: ignore[arg-type]


def test_fractions_may_be_an_array() -> None:
    expected = road(MODEL, X, MAPS, 1, fractions=(0.25, 0.5))
    for fractions in (np.array([0.25, 0.5]), torch.tensor([0.25, 0.5])):
        found = road(MODEL, X, MAPS, 1, fractions=fractions)  # type: ignore[arg-type]
        assert torch.equal(found.scores, expected.scores)
