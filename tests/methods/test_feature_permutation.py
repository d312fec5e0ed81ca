"""Feature permutation against the exchange of rows by hand."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from helpers import assert_same, noise, refused, reported
from peers import Counting, classifier, mixed, picture_net, pictures, rows
from torch import Tensor

import torchattr as ta
from torchattr.errors import InputError, InputTypeError, PermutationWarning
from torchattr.methods._perturbation.permuted import seeded_permutation

EXACT = 1e-12
MASK = torch.tensor([[5, 5, 1, 1, 2, 2]])


def by_hand(forward: Any, x: Tensor, mask: Tensor, permute: Any) -> Tensor:
    clean, whole = forward(x), mask.expand_as(x)
    result = torch.zeros(len(clean), *x.shape[1:], dtype=x.dtype)
    for number, feature in enumerate(mask.unique().tolist()):
        own = whole == feature
        effect = clean - forward(permute(number, x, own))
        result += own[:1] * effect.reshape(-1, *(1 for _ in x.shape[1:]))
    return result


@pytest.mark.parametrize("at_once", [None, 1, 2])
def test_equals_the_definition(at_once: int | None) -> None:
    model, x = classifier(), rows(4)
    found = ta.FeaturePermutation(model).attribute(
        x, 1, feature_mask=MASK, perturbations_per_eval=at_once, seed=3
    )
    expected = by_hand(lambda x: model(x)[:, 1].detach(), x, MASK, seeded_permutation(3))
    assert_same(found, expected, EXACT)


def test_a_loss_of_the_batch_has_one_attribution() -> None:
    model, x = classifier(), rows(4)

    def loss(x: Tensor) -> Tensor:
        return model(x).square().mean().detach()

    found = ta.FeaturePermutation(loss).attribute(x, feature_mask=MASK)
    expected = by_hand(lambda x: loss(x).reshape(1), x, MASK, seeded_permutation(0))
    assert_same(found, expected, EXACT)


def test_a_function_of_the_caller_permutes() -> None:
    model, x = classifier(), rows(4)

    def rolled(x: Tensor, mask: Tensor) -> Tensor:
        return torch.where(mask, x.roll(1, 0), x)

    found = ta.FeaturePermutation(model, rolled).attribute(x, 1, feature_mask=MASK)
    expected = by_hand(
        lambda x: model(x)[:, 1].detach(), x, MASK, lambda _, x, mask: rolled(x, mask)
    )
    assert_same(found, expected, EXACT)


def test_features_across_inputs_move_together() -> None:
    x = rows(4)
    a, b = x, x[:, :4] * 2
    masks = torch.zeros(1, 6, dtype=torch.long), torch.zeros(1, 4, dtype=torch.long)
    found = ta.FeaturePermutation(mixed).attribute((a, b), 1, feature_mask=masks)
    permute = seeded_permutation(0)
    everything = torch.tensor(True)
    moved = mixed(permute(0, a, everything), permute(0, b, everything))
    expected = (mixed(a, b) - moved)[:, 1:2]
    for part, given in zip(found, (a, b), strict=True):
        assert_same(part, expected.expand_as(given), EXACT)


def test_superpixels_are_followed() -> None:
    model, x = picture_net(), pictures(3)
    segments = torch.arange(30).reshape(5, 6) // 8
    options: dict[str, Any] = {"target": 2, "feature_mask": segments}
    method = ta.FeaturePermutation(model)
    whole = method.attribute(x, incremental=False, **options)
    followed, recomputed = reported(method, x, incremental=True, **options)
    assert recomputed.followed
    assert_same(followed, whole, EXACT)
    expected = by_hand(lambda x: model(x)[:, 2].detach(), x, segments, seeded_permutation(0))
    assert_same(whole, expected, EXACT)


def test_memory_that_runs_out_is_shared_by_fewer() -> None:
    model = Counting(classifier(), limit=9)
    found = ta.FeaturePermutation(model).attribute(rows(4), 1)
    assert_same(found, ta.FeaturePermutation(classifier()).attribute(rows(4), 1), EXACT)


def test_what_has_no_other_example_gets_zeros_and_a_warning() -> None:
    method = ta.FeaturePermutation(lambda a, b: a.sum(1) * b.sum())
    inputs = rows(3), noise(1, 2)
    masks = torch.tensor([[0, 0, 1, 1, 2, 2]]), torch.tensor([[0, 3]])
    with pytest.warns(PermutationWarning, match="2 of 4 features"):
        first, second = method.attribute(inputs, feature_mask=masks)
    assert not first[:, :2].any()
    assert not second.any()
    assert first[:, 2:].any()
    assert ta.FeaturePermutation(classifier()).attribute(rows()[:0], 1).shape == (0, 6)


def test_bad_arguments_are_refused() -> None:
    with refused(InputTypeError, "perm_func", "int"):
        ta.FeaturePermutation(classifier(), 3)  # type: ignore[arg-type]
    with refused(InputError, "perm_func", "(3, 6)", "(2, 6)"):
        ta.FeaturePermutation(classifier(), lambda x, mask: x[:2]).attribute(rows(), 1)
    with refused(InputError, "seed", "-3"):
        ta.FeaturePermutation(classifier()).attribute(rows(), 1, seed=-3)
