"""Composites: which rule serves which operation, by name or by the user's own table."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import Any, TypeAlias

from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized

from torchattr.core.registry import suggest
from torchattr.core.select import layer_names, match
from torchattr.core.types import Forward
from torchattr.errors import RuleError
from torchattr.layers import OPERATIONS, Composite, LayerRule, registered_rules, rule_table

CompositeChoice: TypeAlias = "str | Mapping[str, LayerRule | str]"
"""A composite by name, or rules by operation, kind, layer name or pattern, `first` and `last`."""


@dataclass(frozen=True)
class RuleSettings:
    """The parameters of the rules of a composite.

    Attributes:
        epsilon: of all denominators.
        gamma: of the gamma rule.
        zero_bias: whether biases take no relevance.
        low: the lowest value of an input, for the z_box rule.
        high: the highest value.
        examples: the number of examples, for the normalised rule of sums.
    """

    epsilon: float = 1e-6
    gamma: float = 0.25
    zero_bias: bool = False
    low: Tensor | float | None = None
    high: Tensor | float | None = None
    examples: int | None = None

    def rule(self, rule: LayerRule | str, operation: str) -> LayerRule:
        """Return a rule with these parameters, by its name among those of an operation.

        Raises:
            RuleError: there is none of this name.
        """
        if not isinstance(rule, str) or operation not in OPERATIONS:
            return rule_table({operation: rule})[operation]
        cls = registered_rules().get((operation, rule))
        if cls is None:
            known = [name for owner, name in registered_rules() if owner == operation]
            raise RuleError(f"no rule for {operation!r} is called {rule!r}; {suggest(rule, known)}")
        accepted = _parameters(cls)
        return cls(**{name: value for name, value in vars(self).items() if name in accepted})


@lru_cache
def _parameters(cls: type[LayerRule]) -> frozenset[str]:
    """Return the names of what a class of rules takes, which Python parses anew at each call."""
    return frozenset(inspect.signature(cls).parameters)


FROZEN: Mapping[str, str] = MappingProxyType(
    {
        **{
            name: "secant"
            for name, operation in OPERATIONS.items()
            if operation.kind in ("rectifier", "activation", "elementwise")
        },
        "batch_norm": "affine",
        **dict.fromkeys(
            ("layer_norm", "group_norm", "instance_norm", "rms_norm", "normalize"), "frozen"
        ),
        **dict.fromkeys(("mul", "matmul"), "halves"),
        **dict.fromkeys(("div", "reciprocal", "softmax", "attention", "logsumexp"), "frozen"),
        "add": "sum",
        "cat": "split",
        **dict.fromkeys(("conv", "linear"), "zero"),
    }
)
"""The network with all gates, statistics and attention weights of its forward frozen: linear in the
input, so that nothing is lost but what biases and constants take."""

ATTENTION: Mapping[str, str] = MappingProxyType({"softmax": "own", "attention": "halves"})
"""What attention-aware relevance replaces: both products share, the softmax has its gradient."""

IN_PLACE: Mapping[str, str] = MappingProxyType(
    {
        "add": "normalised",
        **dict.fromkeys(
            ("layer_norm", "group_norm", "instance_norm", "rms_norm", "softmax", "attention"),
            "pass",
        ),
    }
)
"""What the relevance of attention matrices replaces (Chefer et al. 2021, 2012.09838): it stays in
its place in norms and softmax, and sums are normalised."""

_NAMED: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {
        "zero": {},
        "epsilon_plus": {"conv": "z_plus", "linear": "epsilon"},
        "epsilon_plus_flat": {"conv": "z_plus", "linear": "epsilon", "first": "flat"},
        "epsilon_alpha2_beta1": {"conv": "alpha_beta", "linear": "epsilon"},
        "epsilon_alpha2_beta1_flat": {
            "conv": "alpha_beta",
            "linear": "epsilon",
            "first": "flat",
        },
        "epsilon_gamma_box": {"conv": "gamma", "linear": "epsilon", "first": "z_box"},
        "excitation_backprop": {"conv": "z_plus", "linear": "z_plus"},
        "excitation_backprop_opposite": {"conv": "z_plus", "linear": "z_plus", "last": "z_minus"},
    }
)
"""The composites of Kohlbrenner et al. 2020 (1910.09840) and others, over the frozen network."""


def composite_names() -> tuple[str, ...]:
    """Return the names of the built-in composites.

    >>> composite_names()[:2]
    ('zero', 'epsilon_plus')
    """
    return tuple(_NAMED)


def composite_of(
    choice: CompositeChoice,
    settings: RuleSettings,
    model: Forward,
    *,
    base: Mapping[str, str] = FROZEN,
    rules: Mapping[str, Any] | None = None,
    strict: bool = True,
) -> Composite:
    """Return a composite.

    Args:
        choice: its name, or rules by the name of an operation, a kind of operations, a layer's name
            or pattern, `"first"` or `"last"`. A layer's rule comes before that of its operation,
            and the first and last weighted operation before both.
        settings: the parameters of rules that are given by name.
        model: the model whose layers are meant.
        base: the rules of all other operations.
        rules: rules by operation that replace those of the composite.
        strict: as for :class:`Composite`.

    Raises:
        RuleError: an unknown composite, rule, operation or layer.
    """
    table = _table(choice)
    chosen = {**base, **_by_operation(table), **(rules or {})}
    by_operation = {name: settings.rule(rule, name) for name, rule in chosen.items() if rule}
    places = {
        place: settings.rule(table[place], "conv") for place in ("first", "last") if place in table
    }
    return Composite(
        by_operation,
        first=places.get("first"),
        last=places.get("last"),
        layers=_by_layer(table, settings, model),
        strict=strict,
    )


def _table(choice: CompositeChoice) -> Mapping[str, Any]:
    if isinstance(choice, Mapping):
        return choice
    if not isinstance(choice, str):
        raise RuleError(
            "composite must be the name of one or a table of rules, got"
            f" {type(choice).__name__}; there are: {', '.join(_NAMED)}"
        )
    if choice not in _NAMED:
        raise RuleError(f"no composite is called {choice!r}; {suggest(choice, _NAMED)}")
    return _NAMED[choice]


def _by_operation(table: Mapping[str, Any]) -> dict[str, Any]:
    """Return the rules by operation; those of a kind come before those of single operations."""
    of_kinds = {
        name: table[operation.kind]
        for name, operation in OPERATIONS.items()
        if operation.kind in table and operation.kind not in OPERATIONS
    }
    return of_kinds | {name: rule for name, rule in table.items() if name in OPERATIONS}


def _by_layer(
    table: Mapping[str, Any], settings: RuleSettings, model: Forward
) -> dict[str, LayerRule]:
    kinds = {operation.kind for operation in OPERATIONS.values()}
    names = layer_names(model)
    layers: dict[str, LayerRule] = {}
    for key, rule in table.items():
        if key in OPERATIONS or key in kinds or key in ("first", "last"):
            continue
        matching = match(names, key)
        if not matching:
            known = [*OPERATIONS, *kinds, "first", "last", *names]
            raise RuleError(
                f"the composite names {key!r}, which is no operation, kind of operations or layer;"
                f" {suggest(key, known)}"
            )
        weighted = [name for name in matching if _has_weight(names[name])]
        if not weighted:
            raise RuleError(
                f"the composite has a rule for {key!r}, but none of {', '.join(matching)} is a"
                " convolution or linear layer with a weight of its own; name those inside of it"
                f" ('{key}.*'), or their operation"
            )
        layers |= dict.fromkeys(weighted, settings.rule(rule, "conv"))
    return layers


def _has_weight(module: nn.Module) -> bool:
    """Whether a layer itself may hold the weight of a convolution or linear layer."""
    own: list[Any] = list(module.parameters(recurse=False))
    if is_parametrized(module):
        computed: Any = module.parametrizations
        own += [getattr(module, name) for name in computed]
    return any(isinstance(weight, Tensor) and weight.dim() > 1 for weight in own)
