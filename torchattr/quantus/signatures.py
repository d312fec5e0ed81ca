"""The signatures of Quantus' metrics: names and defaults of their options."""

from __future__ import annotations

from collections.abc import Mapping
from inspect import Parameter, Signature
from typing import Any

from torchattr.core.registry import OPTIONS_CUTOFF, suggest
from torchattr.errors import InputError

NORMALISING = {"normalise_func": None, "normalise_func_kwargs": None}
REPORTING = {
    "default_plot_func": None,
    "disable_warnings": False,
    "display_progressbar": False,
}
REPLACING = {"perturb_func": None, "perturb_baseline": "black", "perturb_func_kwargs": None}
"""The options of metrics that replace features."""


def options(
    own: Mapping[str, Any],
    *,
    abs: bool,
    normalise: bool,
    then: Mapping[str, Any] | None = None,
    return_aggregate: bool = False,
    aggregate_func: Any = None,
    last: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return the options of a metric with their defaults, in Quantus' order.

    Args:
        own: the metric's own, which come first.
        abs: whether magnitudes are measured by default.
        normalise: whether maps are normalised by default.
        then: what follows the normalisation.
        return_aggregate: whether scores are aggregated by default.
        aggregate_func: how, if not by their mean.
        last: what follows all others.
    """
    return {
        **own,
        "abs": abs,
        "normalise": normalise,
        **NORMALISING,
        **(then or {}),
        "return_aggregate": return_aggregate,
        "aggregate_func": aggregate_func,
        **REPORTING,
        **(last or {}),
    }


def signature(defaults: Mapping[str, Any]) -> Signature:
    """Return the signature of a constructor with these options."""
    kind = Parameter.POSITIONAL_OR_KEYWORD
    return Signature([Parameter(name, kind, default=value) for name, value in defaults.items()])


def bound(
    metric: str, defaults: Mapping[str, Any], args: tuple[Any, ...], given: Mapping[str, Any]
) -> dict[str, Any]:
    """Return all options of a metric from the arguments of its constructor.

    Raises:
        InputError: an option that it does not have.
        TypeError: too many arguments, or one twice.
    """
    for name in given:
        if name not in defaults:
            close = suggest(name, list(defaults), cutoff=OPTIONS_CUTOFF)
            raise InputError(f"{metric} has no option {name!r}; {close}")
    found = signature(defaults).bind(*args, **given)
    found.apply_defaults()
    return dict(found.arguments)
