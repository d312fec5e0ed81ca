"""What methods read at layers instead of the inputs: values, gradients, and calls that count."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from torchattr.core.inputs import Inputs
from torchattr.core.types import OutputKey
from torchattr.layers import RuleTable, TapPoint
from torchattr.methods._gradient.backward_pass import Pass, PassResult
from torchattr.methods._gradient.forward_result import ForwardResult
from torchattr.methods._gradient.layer_choice import LayerChoice
from torchattr.methods._gradient.target_reader import last_call


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


def values_at(layers: LayerChoice, taps: Mapping[str, TapPoint], forward: ForwardResult) -> Any:
    """Return the values of each layer in a forward, in the form of its output.

    Args:
        layers: the layers.
        taps: where the forward recorded each, by name.
        forward: the forward.

    Raises:
        LayerError: a layer did not run.
    """
    found = {}
    for name, tap in taps.items():
        last_call(forward, tap)
        found[name] = layers.pick(name, forward.calls(tap), lambda call: call.restore(call.values))
    return layers.form(found)
