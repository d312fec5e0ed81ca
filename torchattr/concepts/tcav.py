"""TCAV: the share of examples whose score grows along the direction of a concept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from torchattr.concepts.cav import CAV, train_cav
from torchattr.concepts.classifier import Classifier, LinearClassifier
from torchattr.concepts.concept import Concept, activations, checked_concepts, key_of, rows
from torchattr.core.inputs import Inputs
from torchattr.core.select import as_selections
from torchattr.core.targets import Target
from torchattr.core.types import Forward, OutputKey, Tensors
from torchattr.errors import InputError, InputTypeError, ShapeError
from torchattr.layers import TapPoint
from torchattr.methods import Calls, GradientAttribution, LayerChoice, Pass, PassResult

Cavs = Mapping[str, Mapping[str, CAV]]
Scores = dict[str, dict[str, dict[str, Tensor]]]


class TCAV:
    """Tests whether a score depends on concepts, by directions in the activations of layers.

    A linear classifier tells the activations of a concept from those of others; its weights `v`
    are the concept's direction. Reported are the share of examples with `∂s/∂A · v > 0`
    (`sign_count`) and the mean of that product (`magnitude`). Kim et al. 2018, arXiv:1711.11279.

    It is *not* evidence by a single direction: also random examples have one. Compare with several
    random sets, as the paper's test does.

    Args:
        model: as for every method, see :class:`torchattr.Attribution`.
        layers: names of layers, or a single one.
        classifier: tells concepts apart; :class:`LinearClassifier` by default.
        attribute_to_layer_input: use the layers' inputs instead of their outputs.
        output: as for every method.

    >>> from torchattr.concepts import Concept
    >>> model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 2))
    >>> bright = Concept(0, "bright", [torch.rand(20, 1, 2, 2) + 1])
    >>> other = Concept(1, "random", [torch.rand(20, 1, 2, 2)])
    >>> tcav = TCAV(model, "0")
    >>> cavs = tcav.compute_cavs([[bright, other]])
    >>> scores = tcav.interpret(torch.rand(3, 1, 2, 2), [[bright, other]], cavs, target=1)
    >>> scores["0-1"]["0"]["sign_count"].shape
    torch.Size([2])
    """

    def __init__(
        self,
        model: Forward,
        layers: str | Sequence[str],
        *,
        classifier: Classifier | None = None,
        attribute_to_layer_input: bool = False,
        output: OutputKey = None,
    ) -> None:
        self.model, self.output = model, output
        if not all(isinstance(one, str) for one in as_selections(layers)):
            raise InputTypeError(
                "layers must be the name of a layer or a list of names, which the results have as"
                f" keys, got {layers!r}"
            )
        self.layers = [layers] if isinstance(layers, str) else list(layers)
        if not self.layers:
            raise InputError("layers is empty; pass the name of at least one layer")
        self.classifier = classifier or LinearClassifier()
        self.attribute_to_layer_input = attribute_to_layer_input

    def compute_cavs(
        self, experimental_sets: Sequence[Sequence[Concept]], **options: Any
    ) -> dict[str, dict[str, CAV]]:
        """Return the directions of each set of concepts in each layer, by key and name.

        Each concept's examples are run once, and its activations are kept until all are trained.

        Args:
            experimental_sets: sets of concepts to tell apart.
            **options: options of the classifier's training.

        Raises:
            InputError: sets of fewer than two concepts, a concept without examples, or two
                concepts of the same number.
            LayerError: an unknown layer.
        """
        batches = {
            concept: list(
                activations(
                    self.model, self.layers, concept, of_input=self.attribute_to_layer_input
                )
            )
            for concept in checked_concepts(experimental_sets)
        }
        found: dict[str, dict[str, CAV]] = {}
        for concepts in experimental_sets:
            for layer in self.layers:
                of_layer = {one: [batch[layer] for batch in batches[one]] for one in concepts}
                cav = train_cav(concepts, layer, of_layer, self.classifier, **options)
                found.setdefault(key_of(concepts), {})[layer] = cav
        return found

    def interpret(
        self,
        inputs: Tensors,
        experimental_sets: Sequence[Sequence[Concept]],
        cavs: Cavs,
        target: Target = None,
        additional_forward_args: Any = None,
    ) -> Scores:
        """Return the scores of each concept, in the order of its set.

        Args:
            inputs: the examples whose score is explained; as for every method.
            experimental_sets: sets of concepts.
            cavs: their directions, from :meth:`compute_cavs`.
            target: as for every method.
            additional_forward_args: as for every method.

        Returns:
            By key of the set and name of the layer `sign_count` and `magnitude`, `(concepts,)`.

        Raises:
            ShapeError: directions of another number of features than the layer has for `inputs`.
        """
        method = _LayerGradient(self.model, self.layers, output=self.output)
        of_input = self.attribute_to_layer_input
        found = method.of(inputs, target, additional_forward_args, of_input=of_input)
        scores: Scores = {}
        for concepts in experimental_sets:
            key = key_of(concepts)
            scores[key] = {
                layer: concept_scores(rows(gradient), cavs[key][layer], concepts)
                for layer, gradient in zip(self.layers, found, strict=True)
            }
        return scores


def concept_scores(gradients: Tensor, cav: CAV, concepts: Sequence[Concept]) -> dict[str, Tensor]:
    """Return how a score reacts to the directions of concepts: `sign_count` and `magnitude`.

    Args:
        gradients: of the score at the layer, `(N, features)`.
        cav: the directions.
        concepts: the concepts.

    Raises:
        ShapeError: the directions have another number of features.

    >>> concepts = [Concept(0, "dark", None), Concept(1, "bright", None)]
    >>> weights = torch.tensor([[-1.0, 0.0], [1.0, 0.0]])
    >>> cav = CAV(concepts, "0", {"weights": weights, "classes": [0, 1]})
    >>> concept_scores(torch.tensor([[2.0, 0.0], [4.0, 1.0]]), cav, concepts)
    {'sign_count': tensor([0., 1.]), 'magnitude': tensor([-3.,  3.])}
    """
    weights = cav.weights_of(concepts).to(gradients.device)
    if weights.shape[1] != gradients.shape[1]:
        raise ShapeError(
            f"the directions for layer {cav.layer!r} have {weights.shape[1]} features, but the"
            f" layer has {gradients.shape[1]} for these inputs; train them on examples of that size"
        )
    kind = torch.promote_types(gradients.dtype, torch.float32)
    slopes = gradients.to(kind) @ weights.to(kind).T
    return {"sign_count": (slopes > 0).to(kind).mean(0), "magnitude": slopes.mean(0)}


class _LayerGradient(GradientAttribution):
    """The gradient of the score at layers."""

    differentiates_inputs: ClassVar[bool] = False

    def __init__(
        self,
        model: Forward,
        layers: Sequence[str],
        *,
        output: OutputKey,
        calls: Calls | None = None,
    ) -> None:
        super().__init__(model, output=output)
        self._layers = LayerChoice(model, list(layers), calls)

    def of(
        self, inputs: Tensors, target: Any, additional_forward_args: Any, *, of_input: bool
    ) -> list[Any]:
        """Return the gradient at each layer, in their order."""
        found = self._attribute(inputs, target, additional_forward_args, of_input=of_input)
        return list(found.values())

    def passes(
        self,
        inputs: Inputs,
        arguments: Sequence[Any],
        *,
        target: Any = None,
        of_input: bool = False,
        **options: Any,
    ) -> Sequence[Pass]:
        layers = self._layers.resolve(inputs, arguments, self.output, target)
        return [Pass(self.table, TapPoint(one, of_input), name) for name, one in layers.items()]

    def combine(self, inputs: Inputs, results: Sequence[PassResult], **options: Any) -> Any:
        gradients = {
            result.name: self._layers.pick(result.name, result.gradients) for result in results
        }
        return self._layers.form(gradients)
