"""Directions of concepts."""

from __future__ import annotations

from typing import Any

import torch
from helpers import noise, refused
from torch import Tensor

from torchattr.concepts import CAV, Classifier, Concept, train_cav
from torchattr.errors import InputError

CONCEPTS = [Concept(4, "a", None), Concept(2, "b", None)]


class Means(Classifier):
    """Its weights are the means of the classes."""

    def __init__(self) -> None:
        self.means: dict[int, Tensor] = {}

    def train_and_eval(self, dataloader: Any, **kwargs: Any) -> dict[str, Any]:
        batches = list(dataloader)
        for number in {int(label) for _, labels in batches for label in labels}:
            rows = torch.cat([values[labels == number] for values, labels in batches])
            self.means[number] = rows.mean(0)
        return {"options": kwargs, "batches": len(batches)}

    def weights(self) -> Tensor:
        return torch.stack([self.means[number] for number in self.classes()])

    def classes(self) -> list[int]:
        return sorted(self.means)


def test_weights_are_in_the_order_of_the_concepts() -> None:
    batches = {one: [noise(3, 2, seed=one.id), noise(1, 2, seed=9)] for one in CONCEPTS}
    cav = train_cav(CONCEPTS, "layer", batches, Means(), rate=3)
    assert cav.stats is not None
    assert cav.stats["classes"] == [2, 4]
    assert cav.stats["options"] == {"rate": 3}
    assert cav.stats["batches"] == 4
    expected = [torch.cat(batches[one]).mean(0) for one in CONCEPTS]
    assert torch.equal(cav.weights_of(CONCEPTS), torch.stack(expected))


def test_what_is_not_trained_is_refused() -> None:
    with refused(InputError, "train it first"):
        CAV(CONCEPTS, "layer").weights_of(CONCEPTS)
    cav = CAV(CONCEPTS[:1], "layer", {"weights": torch.ones(1, 2), "classes": [4]})
    with refused(InputError, "[4]", "Concept(2, 'b')"):
        cav.weights_of(CONCEPTS)


def test_a_classifier_without_weights_is_refused() -> None:
    class Nothing(Means):
        def weights(self) -> Tensor:
            return torch.empty(0)

    batches = {one: [noise(3, 2)] for one in CONCEPTS}
    with refused(InputError, "Nothing", "weights"):
        train_cav(CONCEPTS, "layer", batches, Nothing())
