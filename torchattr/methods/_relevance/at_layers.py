"""Relevance at layers instead of the inputs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from torchattr.core.inputs import Inputs
from torchattr.core.types import OutputKey
from torchattr.layers import RuleTable, TapPoint
from torchattr.methods._gradient.backward_pass import Pass, PassResult
from torchattr.methods._gradient.layer_choice import LayerChoice


def passes_at(
    layers: LayerChoice,
    table: RuleTable,
    inputs: Inputs,
    arguments: Sequence[Any],
    key: OutputKey,
    target: Any,
    *,
    of_input: bool = False,
    with_layout: bool = False,
) -> list[Pass]:
    """Return a pass for each layer.

    Args:
        layers: the layers.
        table: the rules.
        inputs: the inputs of the model.
        arguments: its further arguments.
        key: which entry of its output holds the scores.
        target: what is explained.
        of_input: whether the layers' inputs are read instead of their outputs.
        with_layout: whether to track the layout of their values.
    """
    named = layers.resolve(inputs, arguments, key, target)
    return [
        Pass(table, TapPoint(module, of_input, with_layout), name) for name, module in named.items()
    ]


def at_layers(
    layers: LayerChoice,
    results: Sequence[PassResult],
    of_call: Callable[[PassResult, int], Any],
) -> Any:
    """Return the result of each layer, from those of its calls that count."""
    found = {}
    for result in results:
        numbers = range(len(result.calls))
        found[result.name] = layers.pick(result.name, numbers, partial(of_call, result))
    return layers.form(found)
