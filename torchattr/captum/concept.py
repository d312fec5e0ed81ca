"""Captum's names for concepts, `captum.concept`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import copy
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from torchattr import concepts
from torchattr.captum.elsewhere import refuse as _refuse
from torchattr.concepts import Classifier as Classifier
from torchattr.concepts import Concept as Concept
from torchattr.concepts import (
    activations,
    check_experimental_sets,
    concept_scores,
    key_of,
    train_cav,
)
from torchattr.core.pytree import tensors_of
from torchattr.core.select import find_layer
from torchattr.core.types import Forward, Tensors
from torchattr.errors import InputError
from torchattr.methods import LayerChoice

__path__: list[str] = []  # so that `refuse` knows an import


def __getattr__(name: str) -> object:
    return _refuse(name, __name__)


class ConceptInterpreter:
    """Base class of what explains a model by concepts; a subclass defines `interpret`.

    Args:
        model: the model.
    """

    interpret: Any

    def __init__(self, model: Forward) -> None:
        self.model = model


class DefaultClassifier(concepts.LinearClassifier):
    """:class:`torchattr.concepts.LinearClassifier`, which needs no scikit-learn."""

    def __init__(self) -> None:
        super().__init__()


class CAV(concepts.CAV):
    """:class:`torchattr.concepts.CAV`, which can be written to a file and read again.

    Args:
        concepts: see :class:`torchattr.concepts.CAV`.
        layer: see :class:`torchattr.concepts.CAV`.
        stats: see :class:`torchattr.concepts.CAV`.
        save_path: the folder of all models' files.
        model_id: the model's folder in it.
    """

    def __init__(
        self,
        concepts: list[Concept],
        layer: str,
        stats: dict[str, Any] | None = None,
        save_path: str = "./cav/",
        model_id: str = "default_model_id",
    ) -> None:
        super().__init__(concepts, layer, stats)
        self.save_path, self.model_id = save_path, model_id

    @staticmethod
    def assemble_save_path(path: str, model_id: str, concepts: list[Concept], layer: str) -> str:
        """Return the file of the directions of concepts in a layer."""
        return str(Path(path) / model_id / f"{key_of(concepts)}-{layer}.pkl")

    @staticmethod
    def create_cav_dir_if_missing(save_path: str, model_id: str) -> None:
        """Make a model's folder."""
        (Path(save_path) / model_id).mkdir(parents=True, exist_ok=True)

    def save(self) -> None:
        """Write it to its file."""
        CAV.create_cav_dir_if_missing(self.save_path, self.model_id)
        content = {
            "concept_ids": [concept.id for concept in self.concepts],
            "concept_names": [concept.name for concept in self.concepts],
            "layer": self.layer,
            "stats": self.stats,
        }
        path = CAV.assemble_save_path(self.save_path, self.model_id, self.concepts, self.layer)
        torch.save(content, path)

    @staticmethod
    def load(cavs_path: str, model_id: str, concepts: list[Concept], layer: str) -> CAV | None:
        """Return what a file holds, this package's or Captum's; `None` if there is no file."""
        path = Path(CAV.assemble_save_path(cavs_path, model_id, concepts, layer))
        if not path.exists():
            return None
        # Captum's classifier gives its classes as an array, which is no tensor.
        kinds = [np.ndarray, np.dtype, np.dtypes.Int32DType, np.dtypes.Int64DType]
        arrays: list[Any] = [*kinds, np.array(0).__reduce__()[0]]
        with torch.serialization.safe_globals(arrays):
            content = torch.load(path)
        pairs = zip(content["concept_ids"], content["concept_names"], strict=True)
        known = [Concept(number, name, None) for number, name in pairs]
        return CAV(known, content["layer"], content["stats"], cavs_path, model_id)


class ActivationFiles:
    """A folder with a file for each batch of a concept's activations in a layer.

    Args:
        save_path: the folder of all models' files.
        model_id: the model's folder in it.
    """

    def __init__(self, save_path: str, model_id: str) -> None:
        self._folder = Path(save_path) / "av" / model_id

    def of(self, concept: Concept, layer: str) -> list[Path]:
        """Return the files of a concept and layer, in the order of the batches."""
        found = (self._folder / concept.identifier / layer).glob("*.pt")
        return sorted(found, key=lambda path: int(path.stem))

    def write(self, concept: Concept, layer: str, batches: Sequence[Tensor]) -> None:
        """Replace the files of a concept and layer."""
        for path in self.of(concept, layer):
            path.unlink()
        folder = self._folder / concept.identifier / layer
        folder.mkdir(parents=True, exist_ok=True)
        for number, batch in enumerate(batches):
            torch.save(batch, folder / f"{number}.pt")

    def read(self, concept: Concept, layer: str) -> list[Tensor]:
        """Return the batches of a concept and layer."""
        return [torch.load(path) for path in self.of(concept, layer)]


class TCAV(ConceptInterpreter):
    """:class:`torchattr.concepts.TCAV` with files of activations and directions, as Captum's.

    What `save_path` holds for `model_id` is used again, so a changed model or changed examples need
    another `model_id`, or `compute_cavs(..., force_train=True)`. The native class writes no files.

    Args:
        model: the model.
        layers: names of layers, or one.
        model_id: the name of the model's folder.
        classifier: see :class:`torchattr.concepts.TCAV`.
        layer_attr_method: attributes the score to a layer, instead of its gradient.
        attribute_to_layer_input: use the layers' inputs instead of their outputs.
        save_path: the folder of all models' files.
        **classifier_kwargs: options of the classifier's training.

    Raises:
        InputError: an empty `model_id`.
    """

    def __init__(
        self,
        model: Forward,
        layers: str | list[str],
        model_id: str = "default_model_id",
        classifier: Classifier | None = None,
        layer_attr_method: Any = None,
        attribute_to_layer_input: bool = False,
        save_path: str = "./cav/",
        **classifier_kwargs: Any,
    ) -> None:
        super().__init__(model)
        if not model_id:
            raise InputError("model_id is empty; leave it out, or name the folder of this model")
        self._tcav = concepts.TCAV(
            model,
            layers,
            classifier=classifier or DefaultClassifier(),
            attribute_to_layer_input=attribute_to_layer_input,
        )
        self.layers, self.classifier = self._tcav.layers, self._tcav.classifier
        self.model_id, self.save_path = model_id, save_path
        self.layer_attr_method = layer_attr_method
        self.attribute_to_layer_input = attribute_to_layer_input
        self.classifier_kwargs = classifier_kwargs
        self.concepts: set[Concept] = set()
        self.cavs: dict[str, dict[str, CAV]] = {}
        self._files = ActivationFiles(save_path, model_id)

    def generate_all_activations(self) -> None:
        """Write the activations of all `concepts` in all layers."""
        for concept in self.concepts:
            self.generate_activation(self.layers, concept)

    def generate_activations(self, concept_layers: Mapping[Concept, list[str]]) -> None:
        """Write the activations of concepts in some layers each."""
        for concept, layers in concept_layers.items():
            self.generate_activation(layers, concept)

    def generate_activation(self, layers: str | list[str], concept: Concept) -> None:
        """Write the activations of a concept in layers.

        Raises:
            InputError: the concept has no examples.
        """
        names = [layers] if isinstance(layers, str) else layers
        found = list(
            activations(self.model, names, concept, of_input=self.attribute_to_layer_input)
        )
        for name in names:
            self._files.write(concept, name, [batch[name] for batch in found])

    def load_cavs(self, concepts: list[Concept]) -> tuple[list[str], dict[Concept, list[str]]]:
        """Read the directions of concepts; return the layers and activations that are missing."""
        missing: list[str] = []
        absent: dict[Concept, list[str]] = {}
        of_set = self.cavs.setdefault(key_of(concepts), {})
        for layer in self.layers:
            cav = CAV.load(self.save_path, self.model_id, concepts, layer)
            if cav is not None:
                of_set[layer] = cav
            if of_set.get(layer) is None:
                missing.append(layer)
                for concept in concepts:
                    if not self._files.of(concept, layer):
                        absent.setdefault(concept, []).append(layer)
        return missing, absent

    def compute_cavs(
        self,
        experimental_sets: list[list[Concept]],
        force_train: bool = False,
        processes: int | None = None,
    ) -> dict[str, dict[str, CAV]]:
        """Return the directions of sets of concepts in each layer, read or trained.

        Args:
            experimental_sets: sets of concepts.
            force_train: train all anew, also where there are files.
            processes: not used: classifiers are trained one after the other, with the same result.

        Raises:
            InputTypeError: no lists of concepts.
            InputError: two concepts of the same number.
        """
        check_experimental_sets(experimental_sets)
        self.concepts.update(*experimental_sets)
        numbers = [concept.id for concept in self.concepts]
        if len(set(numbers)) < len(numbers):
            raise InputError(
                f"the ids {sorted(numbers)} repeat; use one Concept object for each id"
            )
        if force_train:
            self.generate_all_activations()
        for concepts_of_set in experimental_sets:
            layers = self.layers
            if not force_train:
                layers, absent = self.load_cavs(concepts_of_set)
                self.generate_activations(absent)
            self._train(concepts_of_set, layers)
        return self.cavs

    def interpret(
        self,
        inputs: Tensors,
        experimental_sets: list[list[Concept]],
        target: Any = None,
        additional_forward_args: Any = None,
        processes: int | None = None,
        **kwargs: Any,
    ) -> dict[str, dict[str, dict[str, Tensor]]]:
        """Return :meth:`torchattr.concepts.TCAV.interpret` with the directions of these sets.

        Args:
            inputs: see :meth:`torchattr.concepts.TCAV.interpret`.
            experimental_sets: sets of concepts.
            target: see :meth:`torchattr.concepts.TCAV.interpret`.
            additional_forward_args: see :meth:`torchattr.concepts.TCAV.interpret`.
            processes: not used.
            **kwargs: further options of `layer_attr_method`.

        Raises:
            InputError: `attribute_to_layer_input`, which belongs to the constructor.
        """
        if "attribute_to_layer_input" in kwargs:
            raise InputError("pass attribute_to_layer_input to TCAV itself, for both of its steps")
        cavs = self.compute_cavs(experimental_sets, processes=processes)
        if self.layer_attr_method is None:
            arguments = (target, additional_forward_args)
            return self._tcav.interpret(inputs, experimental_sets, cavs, *arguments)
        scores: dict[str, dict[str, dict[str, Tensor]]] = {}
        for layer in self.layers:
            found = self._attributed(layer, inputs, target, additional_forward_args, **kwargs)
            for chosen in experimental_sets:
                key = key_of(chosen)
                scores.setdefault(key, {})[layer] = concept_scores(found, cavs[key][layer], chosen)
        return scores

    def _train(self, chosen: list[Concept], layers: Sequence[str]) -> None:
        for layer in layers:
            batches = {concept: self._files.read(concept, layer) for concept in chosen}
            found = train_cav(chosen, layer, batches, self.classifier, **self.classifier_kwargs)
            cav = CAV(chosen, layer, found.stats, self.save_path, self.model_id)
            self.cavs.setdefault(key_of(chosen), {})[layer] = cav
            cav.save()

    def _attributed(
        self, layer: str, inputs: Tensors, target: Any, arguments: Any, **options: Any
    ) -> Tensor:
        """Return what the given method attributes to a layer, `(N, features)`."""
        _, module = find_layer(self.model, layer)
        method = copy(self.layer_attr_method)
        method.layer = module
        if hasattr(method, "_layers"):
            method._layers = LayerChoice(self.model, module, None)
        found = method.attribute(
            inputs,
            target=target,
            additional_forward_args=arguments,
            attribute_to_layer_input=self.attribute_to_layer_input,
            **options,
        )
        parts = [part.reshape(len(part), -1) for part in tensors_of(found)]
        return torch.cat(parts, dim=1).detach()
