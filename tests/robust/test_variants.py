"""Several variants in one forward."""

from __future__ import annotations

from copy import deepcopy

import pytest
import torch
from helpers import noise, refused
from torch import Tensor, nn

from torchattr.errors import InputTypeError, OutOfMemory, OutputError, TrainingModeError
from torchattr.robust.variants import Variants, prepared


def test_outputs_are_those_of_each() -> None:
    calls = []

    def model(x: Tensor, factor: Tensor) -> Tensor:
        calls.append(len(x))
        return x * factor

    factor = torch.tensor([[1.0], [2.0]])
    variants = [noise(2, 3, seed=seed, dtype=torch.float32) for seed in range(3)]
    found = list(Variants(model, factor).outputs(variants))
    assert calls == [6]
    assert all(torch.equal(one, x * factor) for one, x in zip(found, variants, strict=True))


def test_tuples_are_joined_by_place() -> None:
    pairs = [(noise(2, 3, seed=seed), noise(2, 1, seed=seed), "mode") for seed in range(2)]
    found = list(Variants(lambda pair: pair[0] + pair[1], None).outputs(pairs))
    assert torch.equal(found[1], pairs[1][0] + pairs[1][1])


def test_a_single_variant_may_be_anything() -> None:
    assert list(Variants(len, None).outputs(["abc"])) == [3]
    assert prepared("abc", None) == "abc"
    assert prepared("abc", len) == 3


def test_batches_are_halved_when_memory_runs_out() -> None:
    rows: list[int] = []

    def model(x: Tensor) -> Tensor:
        rows.append(len(x))
        if len(x) > 4:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return 2 * x

    variants = [noise(2, 3, seed=seed) for seed in range(5)]
    found = Variants(model, None).outputs(variants)
    assert rows == [10, 4, 4, 2]
    assert all(torch.equal(one, 2 * x) for one, x in zip(found, variants, strict=True))
    with refused(OutOfMemory, "not even a single variant"):
        Variants(model, None).outputs([noise(5, 3)])


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("part", [nn.Dropout(), nn.BatchNorm1d(3)], ids=["dropout", "norm"])
def test_training_mode_is_refused(part: nn.Module, count: int) -> None:
    model = deepcopy(nn.Sequential(nn.Linear(3, 3), part))
    state = {name: value.clone() for name, value in model.state_dict().items()}
    variants = [noise(2, 3, dtype=torch.float32)] * count
    with refused(TrainingModeError, "call model.eval() first", "'1'"):
        Variants(model, None).outputs(variants)
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    assert len(Variants(model.eval(), None).outputs(variants)) == count


def test_what_cannot_be_joined_is_refused() -> None:
    with refused(InputTypeError, "str", "perturbations_per_eval=1"):
        list(Variants(len, None).outputs(["abc", "abd"]))
    with refused(OutputError, "perturbations_per_eval=1"):
        list(Variants(lambda x: x.sum(), None).outputs([noise(2, 3), noise(2, 3)]))
