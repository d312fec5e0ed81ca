"""Ablation over a data loader, against Captum's and against that of all examples at once."""

from __future__ import annotations

from typing import Any

import captum.attr
import pytest
import torch
from helpers import assert_same, noise, refused
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import torchattr as ta
import torchattr.captum
from torchattr.errors import InputError, InputTypeError, OutputError, ShapeError, TrainingModeError
from torchattr.methods import DataLoaderAttribution

A, B, LABELS = noise(5, 2), noise(5, 2, 2, seed=2), torch.arange(5)
LOADER = DataLoader(TensorDataset(A, B), batch_size=2)
MASKS = (torch.tensor([[0, 1]]), torch.tensor([[[1, 2], [3, 2]]]))


def model(a: Tensor, b: Tensor) -> Tensor:
    return (a.square().sum(1) + (b.flatten(1) * torch.arange(4)).sum(1)).sigmoid()


OPTIONS: list[dict[str, Any]] = [
    {},
    {"feature_mask": MASKS},
    {"baselines": (torch.tensor([[0.5, -1.0]]), 1)},
    {"return_input_shape": False},
    {"perturbations_per_pass": 4},
    {"to_metric": lambda state: torch.stack([state.mean(), state.sum()])},
    {"reduce": lambda state, output, entries: output.sum() + (0 if state is None else state)},
]


@pytest.mark.parametrize("options", OPTIONS, ids=lambda options: "-".join(options))
def test_it_is_captums(options: dict[str, Any]) -> None:
    ours = torchattr.captum.DataLoaderAttribution(torchattr.captum.FeatureAblation(model))
    theirs = captum.attr.DataLoaderAttribution(captum.attr.FeatureAblation(model))
    found, expected = (one.attribute(LOADER, **options) for one in (ours, theirs))
    if isinstance(expected, Tensor):
        found, expected = (found,), (expected,)
    for one, other in zip(found, expected, strict=True):
        assert_same(one, other, 1e-6)


def test_it_is_the_ablation_of_all_examples_at_once() -> None:
    method = ta.FeatureAblation(model)
    found = DataLoaderAttribution(method).attribute(LOADER)
    for one, other in zip(found, method.attribute((A, B)), strict=True):
        assert_same(one, other, 1e-12)


def test_roles_say_what_entries_are_for() -> None:
    seen: list[int] = []

    def reduce(state: Any, output: Tensor, entries: tuple[Any, ...]) -> Tensor:
        seen.append(len(entries))
        return output if state is None else torch.cat([state, output])

    loader = DataLoader(TensorDataset(A, B, LABELS), batch_size=2)
    method = DataLoaderAttribution(ta.FeatureAblation(model))
    (found,) = method.attribute(loader, input_roles=(0, 1, 2), reduce=reduce)
    expected = ta.FeatureAblation(model).attribute(A, additional_forward_args=(B,))
    assert_same(found, expected, 1e-12)
    assert set(seen) == {3}


def test_batches_are_left_alone_and_one_tensor_gives_one() -> None:
    def writes(x: Tensor) -> Tensor:
        return x.mul_(2).sum(1)

    batches = [A[:2].clone(), A[2:].clone()]
    found = DataLoaderAttribution(ta.FeatureAblation(writes)).attribute(batches)
    assert_same(found, 2 * A, 1e-12)
    assert torch.equal(torch.cat(batches), A)


def test_wrong_arguments_are_refused() -> None:
    with refused(InputTypeError, "FeatureAblation", "Saliency"):
        DataLoaderAttribution(ta.Saliency(model))
    method = DataLoaderAttribution(ta.FeatureAblation(model))
    with refused(InputError, "no batch"):
        method.attribute([])
    with refused(ShapeError, "input_roles", "3 entries"):
        method.attribute(LOADER, input_roles=(0, 0, 0))
    with refused(InputError, "input_roles", "[1, 1]"):
        method.attribute(LOADER, input_roles=(1, 1))
    with refused(ShapeError, "feature_mask[0]", "single row"):
        method.attribute(LOADER, feature_mask=(torch.zeros(2, 2).long(), MASKS[1]))
    with refused(InputTypeError, "feature_mask[0]", "integers"):
        method.attribute(LOADER, feature_mask=(torch.zeros(1, 2), MASKS[1]))
    with refused(OutputError, "tensor", "float"):
        method.attribute(LOADER, to_metric=lambda state: 1.0)  # type: ignore[arg-type,return-value]
    dropout = nn.Sequential(nn.Dropout(), nn.Linear(2, 1)).double()
    with refused(TrainingModeError, "training"):
        DataLoaderAttribution(ta.FeatureAblation(dropout)).attribute([A])
