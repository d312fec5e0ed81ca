"""Attacks against Captum's own."""

from __future__ import annotations

from typing import Any

import captum.robust
import pytest
import torch
from helpers import assert_same, noise, seeded
from torch import Tensor, nn

from torchattr.captum import robust

# Captum sets flags of inputs, and says so.
pytestmark = pytest.mark.filterwarnings("ignore:Input Tensor 0 did not already")

X = noise(3, 4)
NET = seeded(lambda: nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3))).double()
PROBABILITIES = nn.Sequential(NET, nn.Softmax(1))
MASK = torch.tensor([[1, 0, 1, 1]])
LIBRARIES = (robust, captum.robust)


@pytest.mark.parametrize("targeted", [False, True])
@pytest.mark.parametrize("loss", [None, nn.CrossEntropyLoss(reduction="none")])
@pytest.mark.parametrize("model", [PROBABILITIES, NET], ids=["probabilities", "scores"])
def test_the_sign_step_is_captums(model: nn.Module, loss: Any, targeted: bool) -> None:
    labels: Any = torch.tensor([0, 2, 1])
    found = [
        library.FGSM(model, loss, -1.0, 1.0).perturb(X, 0.1, labels, None, targeted, MASK)
        for library in LIBRARIES
    ]
    assert_same(found[0], found[1].detach(), 1e-12)


@pytest.mark.parametrize("norm", ["Linf", "L2"])
def test_projected_steps_are_captums(norm: str) -> None:
    found = [
        library.PGD(PROBABILITIES).perturb(X, 0.12, 0.05, 4, [0, 2, 1], norm=norm, mask=MASK)
        for library in LIBRARIES
    ]
    assert_same(found[0], found[1].detach(), 1e-10)


def test_a_random_start_follows_pytorchs_seed() -> None:
    starts = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        starts.append(robust.PGD(NET).perturb(X, 0.5, 0.1, 0, 0, random_start=True))
    assert torch.equal(starts[0], starts[1])
    assert not torch.equal(starts[0], starts[2])


@pytest.mark.parametrize("mode", ["linear", "binary"])
def test_the_smallest_parameter_is_captums(mode: str) -> None:
    label = NET(X[:1]).argmax(1)

    def attack(x: Tensor, by: float) -> Tensor:
        return x - by * NET[0].weight[0]

    found = [
        library.MinParamPerturbation(NET, attack, "by", 0.0, 40.0, 0.5, mode=mode).evaluate(
            X[:1], target=label, perturbations_per_eval=3
        )
        for library in LIBRARIES
    ]
    assert found[0][1] == found[1][1]


def test_comparisons_are_captums() -> None:
    results, summaries = [], []
    for library in LIBRARIES:
        comparator = library.AttackComparator(NET, lambda output, target: output[:, target])
        comparator.add_attack(
            library.FGSM(PROBABILITIES),
            attack_kwargs={"epsilon": 0.2},
            additional_attack_arg_names=["target"],
        )
        comparator.add_attack(lambda x: x / 2, name="half", num_attempts=2)
        results.append(comparator.evaluate(X, target=1, perturbations_per_eval=2))
        summaries.append(comparator.summary())
    for name in ("FGSM", "half"):
        for stat, value in results[1][name].items():
            assert_same(results[0][name][stat], value.detach(), 1e-10)
    assert_same(results[0]["Original"], results[1]["Original"].detach(), 1e-10)
    assert summaries[0].keys() == summaries[1].keys()


def test_attacks_of_users_derive_from_perturbation() -> None:
    class Twice(robust.Perturbation):
        def perturb(self, inputs: Tensor) -> Tensor:
            return 2 * inputs

    assert torch.equal(Twice()(X), 2 * X)
    assert isinstance(robust.FGSM(NET), robust.Perturbation)
    with pytest.raises(NotImplementedError, match="perturb"):
        robust.Perturbation()(X)
