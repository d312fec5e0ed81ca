"""Concept activation vectors: the weights of a classifier that tells concepts apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from torchattr.concepts.classifier import Classifier
from torchattr.concepts.concept import Concept
from torchattr.errors import InputError


class CAV:
    """The directions of concepts among the activations of a layer.

    Args:
        concepts: the concepts that were told apart.
        layer: the layer's name.
        stats: `weights` `(classes, features)`, `classes` in their order, and what the classifier
            says of itself, such as `accs`.

    >>> CAV([Concept(0, "striped", None)], "features.3")
    CAV(0 striped, layer='features.3')
    """

    def __init__(
        self, concepts: list[Concept], layer: str, stats: dict[str, Any] | None = None
    ) -> None:
        self.concepts, self.layer, self.stats = concepts, layer, stats

    def __repr__(self) -> str:
        names = ", ".join(f"{concept.id} {concept.name}" for concept in self.concepts)
        return f"{type(self).__name__}({names}, layer={self.layer!r})"

    def weights_of(self, concepts: Sequence[Concept]) -> Tensor:
        """Return the weights of concepts, in their order: `(concepts, features)`.

        Raises:
            InputError: it was not trained, or not on one of these concepts.
        """
        if self.stats is None:
            raise InputError(f"{self!r} has no stats; train it first")
        classes = [int(number) for number in self.stats["classes"]]
        missing = [concept for concept in concepts if concept.id not in classes]
        if missing:
            raise InputError(f"{self!r} knows the classes {classes}, not {missing[0]!r}")
        weights: Tensor = torch.as_tensor(self.stats["weights"]).detach()
        return weights[[classes.index(concept.id) for concept in concepts]]


class LabelledActivations(Dataset[tuple[Tensor, Tensor]]):
    """Batches of activations, each with the number of its concept as the label of all rows.

    Args:
        batches: for each concept its number and its batches.
    """

    def __init__(self, batches: Mapping[int, Sequence[Tensor]]) -> None:
        self._batches = [(one, number) for number, parts in batches.items() for one in parts]

    def __len__(self) -> int:
        return len(self._batches)

    def __getitem__(self, position: int) -> tuple[Tensor, Tensor]:
        values, number = self._batches[position]
        return values, torch.full((len(values),), number, device=values.device)


def train_cav(
    concepts: Sequence[Concept],
    layer: str,
    activations: Mapping[Concept, Sequence[Tensor]],
    classifier: Classifier,
    **options: Any,
) -> CAV:
    """Train a classifier to tell concepts apart, and return its weights.

    Args:
        concepts: the concepts.
        layer: the name of the layer.
        activations: for each concept the batches of the layer's activations.
        classifier: the classifier.
        **options: options of its training.

    Raises:
        InputError: the classifier has no weights or classes afterwards.

    >>> from torchattr.concepts import LinearClassifier
    >>> concepts = [Concept(0, "dark", None), Concept(1, "bright", None)]
    >>> batches = {concepts[0]: [torch.zeros(6, 2)], concepts[1]: [torch.ones(6, 2)]}
    >>> train_cav(concepts, "0", batches, LinearClassifier()).stats["classes"]
    [0, 1]
    """
    batches = {concept.id: activations[concept] for concept in concepts}
    loader = DataLoader(LabelledActivations(batches), batch_size=None)
    said = classifier.train_and_eval(loader, **options) or {}
    weights, classes = classifier.weights(), classifier.classes()
    if weights is None or classes is None or not len(weights) or not len(classes):
        raise InputError(
            f"{type(classifier).__name__} has no weights or classes after training; its weights()"
            " and classes() must return one row and one label for each concept"
        )
    # A classifier may change its own tensors and lists when it is trained again.
    kept = weights.detach().clone()
    return CAV(list(concepts), layer, {"weights": kept, "classes": list(classes), **said})
