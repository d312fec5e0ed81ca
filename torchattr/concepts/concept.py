"""A concept: examples that show something; and the activations that they cause."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from torchattr.core.arguments import checked_flags
from torchattr.core.pytree import tensors_of
from torchattr.core.stepping import step
from torchattr.core.types import Forward
from torchattr.errors import InputError, InputTypeError
from torchattr.methods import LayerActivation


class Concept:
    """Something that examples show, such as stripes.

    Args:
        id: its number, the class of its examples; no two concepts of a call share one.
        name: its name.
        data_iter: batches of examples, such as a `DataLoader`; read again for each call.

    >>> Concept(0, "striped", None).identifier
    'striped-0'
    """

    def __init__(self, id: int, name: str, data_iter: Iterable[Any] | None) -> None:
        self.id, self.name, self.data_iter = id, name, data_iter

    @property
    def identifier(self) -> str:
        """The name and the number."""
        return f"{self.name}-{self.id}"

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.id!r}, {self.name!r})"


def key_of(concepts: Sequence[Concept]) -> str:
    """Return the key of a set of concepts in results: their numbers.

    >>> key_of([Concept(0, "striped", None), Concept(3, "random", None)])
    '0-3'
    """
    return "-".join(str(concept.id) for concept in concepts)


def check_experimental_sets(experimental_sets: Any) -> None:
    """Check the form of sets of concepts.

    Raises:
        InputTypeError: no lists of concepts.

    >>> check_experimental_sets([[Concept(0, "striped", None), Concept(3, "random", None)]])
    """
    if not _are_sets(experimental_sets):
        raise InputTypeError(
            "experimental_sets must be a list of lists of concepts, such as [[striped, random]],"
            f" got {experimental_sets!r}"
        )


def _are_sets(experimental_sets: Any) -> bool:
    return isinstance(experimental_sets, (list, tuple)) and all(
        isinstance(concepts, (list, tuple)) and all(map(_is_concept, concepts))
        for concepts in experimental_sets
    )


def _is_concept(one: Any) -> bool:
    """Whether an object is a concept, or one of another library, such as Captum's."""
    return all(hasattr(one, name) for name in ("id", "name", "data_iter"))


def checked_concepts(experimental_sets: Sequence[Sequence[Concept]]) -> list[Concept]:
    """Return every concept of several sets once.

    Raises:
        InputTypeError: no lists of concepts.
        InputError: no set, a set of fewer than two concepts, or two concepts of the same number.
    """
    check_experimental_sets(experimental_sets)
    if not experimental_sets or any(len(concepts) < 2 for concepts in experimental_sets):
        raise InputError(
            "experimental_sets must hold lists of at least two concepts each, such as a concept and"
            f" random examples, got {[len(concepts) for concepts in experimental_sets]}"
        )
    concepts = list(dict.fromkeys(one for concepts in experimental_sets for one in concepts))
    numbers = [concept.id for concept in concepts]
    repeated = sorted({number for number in numbers if numbers.count(number) > 1})
    if repeated:
        raise InputError(
            f"several concepts have the id {repeated[0]}; use one Concept object for each id"
        )
    return concepts


@checked_flags
def activations(
    model: Forward,
    layers: Sequence[str],
    concept: Concept,
    *,
    of_input: bool = False,
) -> Iterable[Mapping[str, Tensor]]:
    """Yield for each batch of a concept the activations of layers, `(examples, features)`.

    All layers come from one forward, in the memory of one batch.

    Args:
        model: the model.
        layers: names of layers.
        concept: the concept.
        of_input: take the layers' inputs instead of their outputs.

    Raises:
        InputError: the concept has no examples.
        LayerError: a layer that is unknown or did not run.

    >>> model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.ReLU())
    >>> concept = Concept(0, "ones", [torch.ones(5, 3)])
    >>> [batch["0"].shape for batch in activations(model, ["0"], concept)]
    [torch.Size([5, 4])]
    """
    if concept.data_iter is None:
        raise InputError(f"{concept!r} has no data_iter; pass batches of its examples")
    method = LayerActivation(model, list(layers))
    empty = True
    for batch in concept.data_iter:
        step()
        empty = False
        inputs = tuple(batch) if isinstance(batch, list) else batch
        found = method.attribute(inputs, attribute_to_layer_input=of_input)
        yield {name: rows(values) for name, values in zip(layers, found.values(), strict=True)}
    if empty:
        raise InputError(
            f"the data_iter of {concept!r} yields nothing; a generator can be read only once, pass"
            " a list or a DataLoader"
        )


def rows(values: Any) -> Tensor:
    """Return the values of a layer, one or several tensors, as a row for each example."""
    parts = tensors_of(values)
    return torch.cat([part.detach().reshape(len(part), -1) for part in parts], dim=1)
