"""Captum's rules of relevance, set on modules as `module.rule`, and ours in their place.

With `R` the relevance of an output, what Captum's rules send back, and so do these:

| rule                | relevance of the input                                                    |
|---------------------|---------------------------------------------------------------------------|
| `EpsilonRule`       | `x · Wᵀ (R / (W x + b))`                                                  |
| `GammaRule`         | the same with `W + γ W⁺`, meant for `x ≥ 0`                               |
| `Alpha1_Beta0_Rule` | the same with `W⁺`, meant for `x ≥ 0`                                     |
| `IdentityRule`      | `R`, where the input is not 0                                             |

Operations without weights have the first with their own gradient, but for `IdentityRule`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from torchattr.core.select import layer_names
from torchattr.core.types import Forward
from torchattr.errors import InputTypeError, RuleError
from torchattr.layers import (
    AffineLayer,
    Call,
    Composite,
    LayerRule,
    RelevanceRule,
    Term,
    Weights,
    dead_free_quotient,
    input_of,
    output_of,
    stabilised,
)


class PropagationRule:
    """Base class of the rules that a module can have.

    Attributes:
        STABILITY_FACTOR: what is added to denominators, with their sign.
    """

    STABILITY_FACTOR: float = 1e-9


class EpsilonRule(PropagationRule):
    """In proportion to the contributions.

    Args:
        epsilon: what is added to denominators, with their sign.
    """

    def __init__(self, epsilon: float = 1e-9) -> None:
        self.STABILITY_FACTOR = epsilon


class GammaRule(PropagationRule):
    """Positive weights count 1 + γ times.

    Args:
        gamma: what positive weights gain.
        set_bias_to_zero: whether the bias takes no relevance.
    """

    def __init__(self, gamma: float = 0.25, set_bias_to_zero: bool = False) -> None:
        self.gamma = gamma
        self.set_bias_to_zero = set_bias_to_zero


class Alpha1_Beta0_Rule(PropagationRule):
    """Only positive weights count.

    Args:
        set_bias_to_zero: whether the bias takes no relevance.
    """

    def __init__(self, set_bias_to_zero: bool = False) -> None:
        self.set_bias_to_zero = set_bias_to_zero


class IdentityRule(EpsilonRule):
    """An input has the relevance of the output in its place."""


class Reweighted(RelevanceRule):
    """In proportion to contributions by other weights, the same for all signs of the input.

    Args:
        reweighted: returns these weights.
        epsilon: as for all rules.
        without_bias: whether the bias is 0.
    """

    def __init__(
        self,
        reweighted: Callable[[Tensor], Tensor] = lambda weight: weight,
        epsilon: float = 1e-9,
        without_bias: bool = False,
    ) -> None:
        super().__init__(epsilon, without_bias)
        self._reweighted = reweighted

    def weights(self, layer: AffineLayer) -> Sequence[Weights]:
        weight = self._reweighted(layer.weight)
        return (Weights(weight, weight),)

    def terms(
        self, layer: AffineLayer, weights: Sequence[Weights], x: Tensor, z: Tensor
    ) -> Iterator[Term]:
        bias = self._bias(layer.bias)
        yield Term(layer.apply(x, weights[0].positive, bias), bias)


class WeightedIdentity(Reweighted):
    """`g · z / x`: an input has the relevance of the output in its place, unless it is 0."""

    def backward(self, call: Call, grad: Tensor, *saved: Tensor) -> Tensor:
        x = input_of(call, *saved)
        call.place.hand_down(lambda: x)
        z = output_of(AffineLayer.of(call), x)
        call.place.leave()
        return _in_place(call, grad * z, x)

    def absorbed(self, call: Call, grad: Tensor, *saved: Tensor) -> Mapping[Any, Tensor]:
        x = input_of(call, *saved)
        return _dead(grad * output_of(AffineLayer.of(call), x), x)


class Stabilised(LayerRule):
    """The gradient of an operation without weights, times `y / (y + ε sign y)`.

    Args:
        epsilon: what is added to the output, with its sign.
    """

    def __init__(self, epsilon: float) -> None:
        self.epsilon = epsilon

    def save(self, call: Call, x: Any, y: Tensor, *extras: Tensor) -> tuple[Tensor, ...]:
        # Copies: a model often goes on in place.
        inputs = x if isinstance(x, tuple) else (x,)
        return (y.clone(), *(tensor.clone() for tensor in inputs))

    def backward(self, call: Call, grad: Tensor, *saved: Tensor) -> tuple[Tensor, ...]:
        y, *inputs = saved
        gate = dead_free_quotient(y, stabilised(y, self.epsilon))
        return call.vjp(grad * gate, *inputs)

    def absorbed(self, call: Call, grad: Tensor, *saved: Tensor) -> Mapping[Any, Tensor]:
        y, *inputs = saved
        returned = self.backward(call, grad, *saved)
        kept = sum((x * g).double().sum() for x, g in zip(inputs, returned, strict=True))
        return {"stabiliser": (y * grad).double().sum() - kept}


class Identity(Stabilised):
    """`g · y / x` of an operation whose output has the shape of its only input."""

    def backward(self, call: Call, grad: Tensor, *saved: Tensor) -> tuple[Tensor, ...]:
        y, *inputs = saved
        return (_in_place(call, grad * y, *inputs),)

    def absorbed(self, call: Call, grad: Tensor, *saved: Tensor) -> Mapping[Any, Tensor]:
        y, x = saved
        return _dead(grad * y, x)


def _in_place(call: Call, relevance: Tensor, *inputs: Tensor) -> Tensor:
    """Return the gradient of an input that has the relevance of the output.

    Raises:
        RuleError: there are several inputs, or it has another shape.
    """
    if len(inputs) != 1 or inputs[0].shape != relevance.shape:
        shapes = ", ".join(str(tuple(x.shape)) for x in inputs)
        raise RuleError(
            f"IdentityRule of {call.spelling}: inputs of shape {shapes} cannot have the relevance"
            f" of the output of shape {tuple(relevance.shape)} in their places; choose EpsilonRule"
        )
    return dead_free_quotient(relevance, inputs[0])


def _dead(relevance: Tensor, x: Tensor) -> Mapping[Any, Tensor]:
    return {"dead": relevance[x == 0].double().sum()}


def rules_of(model: Forward) -> dict[str, Any]:
    """Return the rule of each layer that has one, by its name: a module without others in it.

    Raises:
        InputTypeError: a module has a rule that is no propagation rule.
    """
    modules = layer_names(model)
    chosen = {name: module.rule for name, module in modules.items() if _has_rule(module)}
    for name, rule in chosen.items():
        _kind_of(name, rule)
    return {name: rule for name, rule in chosen.items() if is_leaf(modules[name])}


def is_leaf(module: nn.Module) -> bool:
    """Whether a module has no others in it, but for what its own parameters are computed by."""
    return all(name == "parametrizations" for name, _ in module.named_children())


def with_rules_of(model: Forward, general: Composite) -> Composite:
    """Return a composite whose rules are those of a model's modules, and else general ones."""
    modules, rules = layer_names(model), rules_of(model)
    return Composite(
        general,
        layers={name: weighted_rule(name, rule) for name, rule in rules.items()},
        inside={
            name: other_rule(name, rule)
            for name, rule in rules.items()
            if not _leaves_to_others(modules[name], rule)
        },
        strict=general.strict,
    )


def _has_rule(module: nn.Module) -> bool:
    return getattr(module, "rule", None) is not None


def _leaves_to_others(module: nn.Module, rule: Any) -> bool:
    """Whether a module's rule does not matter: of a gate, or of a norm's weights.

    Those are one with the weights of the convolution before it, whose rule counts.
    """
    if isinstance(module, nn.modules.batchnorm._BatchNorm):
        return _kind_of("", rule) in ("GammaRule", "Alpha1_Beta0_Rule")
    return isinstance(module, (nn.ReLU, nn.Tanh, nn.Dropout))


def weighted_rule(name: str, rule: Any) -> LayerRule:
    """Return our rule of convolutions and linear layers for one of Captum's.

    Args:
        name: the name of the module that has it.
        rule: Captum's, or of the same name here.
    """
    kind, epsilon = _kind_of(name, rule), rule.STABILITY_FACTOR
    if kind == "IdentityRule":
        return WeightedIdentity()
    if kind == "EpsilonRule":
        return Reweighted(epsilon=epsilon)
    without_bias = bool(rule.set_bias_to_zero)
    if kind == "GammaRule":
        gamma = rule.gamma
        return Reweighted(
            lambda weight: weight + gamma * weight.clamp(min=0), epsilon, without_bias
        )
    return Reweighted(lambda weight: weight.clamp(min=0), epsilon, without_bias)


def other_rule(name: str, rule: Any) -> LayerRule:
    """Return our rule of operations without weights for one of Captum's."""
    if _kind_of(name, rule) == "IdentityRule":
        return Identity(rule.STABILITY_FACTOR)
    return Stabilised(rule.STABILITY_FACTOR)


def _kind_of(name: str, rule: Any) -> str:
    """Return which of the rules one is, by the names of its classes; Captum is not imported.

    Raises:
        InputTypeError: it is none of them.
    """
    for cls in type(rule).__mro__:
        if cls.__name__ in _KINDS:
            return cls.__name__
    raise InputTypeError(
        f"the rule of module {name!r} must be one of {', '.join(_KINDS)}, of torchattr.captum or"
        f" captum, got {type(rule).__name__}; rules of your own are LayerRules, for"
        " torchattr.LRP(composite={name: rule})"
    )


_KINDS = ("IdentityRule", "EpsilonRule", "GammaRule", "Alpha1_Beta0_Rule")
