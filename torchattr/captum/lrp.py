"""Captum's names for layer-wise relevance propagation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from torchattr import methods
from torchattr.captum.base import CaptumMethod, LayerMethod, in_captums_form
from torchattr.captum.lrp_rules import is_leaf, rules_of, with_rules_of
from torchattr.core.inputs import Inputs
from torchattr.core.select import layer_names
from torchattr.core.types import Forward, Layers, OutputKey, Tensors
from torchattr.layers import Composite
from torchattr.methods import Calls, PassResult, RelevanceByComposite

_GENERAL = {"conv": "epsilon", "linear": "epsilon"}


class _RulesOfModules(CaptumMethod, RelevanceByComposite):
    """A method whose rules are set on the modules of the model, as `module.rule`."""

    multiplies_by_inputs = True
    _gives_delta = True

    @property
    def composite(self) -> Composite:
        """The rules that the modules have now, and ε for the rest."""
        return with_rules_of(self.model, super().composite)

    def compute_convergence_delta(  # type: ignore[override]  # Captum's own arguments for LRP
        self, attributions: Tensor | tuple[Tensor, ...], output: Tensor
    ) -> Tensor:
        """Return what of the score is missing in the sum of the relevance, `(N,)`.

        Args:
            attributions: the relevance, of one or several tensors.
            output: the score of each example.
        """
        parts = attributions if isinstance(attributions, tuple) else (attributions,)
        sums = [part.reshape(len(part), -1).sum(1) for part in parts]
        return output.flatten() - sum(sums[1:], sums[0])

    def _show_rules(self) -> None:
        """Print which rule each layer has."""
        rules = rules_of(self.model)
        for name, module in layer_names(self.model).items():
            if is_leaf(module):
                rule = type(rules[name]).__name__ if name in rules else "the default rule"
                # Captum's `verbose` prints, too.
                print(f"Applied {rule} on layer {name}: {module}")  # noqa: T201


class LRP(_RulesOfModules, methods.LRP):
    """:class:`torchattr.LRP` by the rules that modules have, `module.rule`; ε for the others.

    Args:
        model: the model, whose rules stay as they are.
        output: as for every method, see :class:`torchattr.Attribution`.
        strict: as for :class:`torchattr.LRP`.

    Raises:
        InputTypeError: a module's rule is no propagation rule.
    """

    def __init__(self, model: Forward, *, output: OutputKey = None, strict: bool = True) -> None:
        super().__init__(model, _GENERAL, epsilon=_EPSILON, output=output, strict=strict)
        rules_of(model)

    def attribute(
        self,
        inputs: Tensors,
        target: Any = None,
        additional_forward_args: Any = None,
        return_convergence_delta: bool = False,
        verbose: bool = False,
    ) -> Any:
        """Return the relevance, shaped like the inputs.

        Args:
            inputs: see :class:`torchattr.Attribution`.
            target: see :class:`torchattr.Attribution`.
            additional_forward_args: see :class:`torchattr.Attribution`.
            return_convergence_delta: also return what of each score is missing in the sum.
            verbose: print which rule each layer has.
        """
        if verbose:
            self._show_rules()
        delta = {"return_convergence_delta": return_convergence_delta}
        return self._attribute(inputs, target, additional_forward_args, **delta)

    def combine(
        self,
        inputs: Inputs,
        results: Sequence[PassResult],
        *,
        return_convergence_delta: bool = False,
        **options: Any,
    ) -> Any:
        found = super().combine(inputs, results, **options)
        if not return_convergence_delta:
            return found
        return found, self.compute_convergence_delta(found, results[0].scores)


@LRP.register
class LayerLRP(_RulesOfModules, LayerMethod, methods.LayerLRP):
    """:class:`torchattr.LayerLRP` by the rules that modules have; several layers return a list.

    Args:
        model: the model, whose rules stay as they are.
        layer: as for :class:`torchattr.GradCAM`; `None` means all that have no others in them.
        calls: as for :class:`torchattr.GradCAM`.
        output: as for every method, see :class:`torchattr.Attribution`.
        strict: as for :class:`torchattr.LRP`.

    Raises:
        InputTypeError: a module's rule is no propagation rule.
    """

    def __init__(
        self,
        model: Forward,
        layer: Layers | None,
        *,
        calls: Calls | None = None,
        output: OutputKey = None,
        strict: bool = True,
    ) -> None:
        chosen = _leaves(model) if layer is None else layer
        methods.LayerLRP.__init__(
            self,
            model,
            chosen,
            _GENERAL,
            calls=calls,
            epsilon=_EPSILON,
            output=output,
            strict=strict,
        )
        self.layer = layer
        rules_of(model)

    def attribute(  # type: ignore[override]  # Captum returns a delta on request
        self,
        inputs: Tensors,
        target: Any = None,
        additional_forward_args: Any = None,
        return_convergence_delta: bool = False,
        attribute_to_layer_input: bool = False,
        verbose: bool = False,
    ) -> Any:
        """Return the relevance of each layer, in the form of its output.

        Args:
            inputs: see :class:`torchattr.Attribution`.
            target: see :class:`torchattr.Attribution`.
            additional_forward_args: see :class:`torchattr.Attribution`.
            return_convergence_delta: also return what of each score is missing in the sum; a list
                for several layers.
            attribute_to_layer_input: return the relevance of the layer's input.
            verbose: print which rule each layer has.
        """
        if verbose:
            self._show_rules()
        return self._attribute(
            inputs,
            target,
            additional_forward_args,
            return_convergence_delta=return_convergence_delta,
            attribute_to_layer_input=attribute_to_layer_input,
        )

    def combine(
        self,
        inputs: Inputs,
        results: Sequence[PassResult],
        *,
        return_convergence_delta: bool = False,
        **options: Any,
    ) -> Any:
        found = in_captums_form(super().combine(inputs, results, **options))
        if not return_convergence_delta:
            return found
        several = isinstance(found, list)
        deltas = [
            self.compute_convergence_delta(one, results[0].scores)
            for one in (found if several else [found])
        ]
        return found, deltas if several else deltas[0]


_EPSILON = 1e-9


def _leaves(model: Forward) -> list[nn.Module]:
    return [module for module in layer_names(model).values() if is_leaf(module)]
