"""The layer that methods use when none is named."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import GradientEdge

from torchattr.core.gradient_mode import gradients
from torchattr.core.inputs import Inputs
from torchattr.core.select import layer_names
from torchattr.core.targets import each
from torchattr.core.types import Forward, OutputKey
from torchattr.core.warn import warn
from torchattr.errors import Hint, LayerChoiceWarning, LayerError, TargetError, WayOut
from torchattr.layers import Captured, Layout, TapPoint, Trace
from torchattr.methods._gradient.rows import per_example
from torchattr.methods._gradient.target_reader import TargetReader


def default_layer(
    model: Forward,
    inputs: Inputs,
    arguments: Sequence[Any],
    key: OutputKey = None,
    target: Any = None,
) -> tuple[str, nn.Module]:
    """Return the last spatial layer, with a :class:`LayerChoiceWarning` that names it."""
    name, module = last_spatial_layer(model, inputs, arguments, key, target)
    warn("no layer given; using {setting}", LayerChoiceWarning, Hint("layer", name))
    return name, module


def last_spatial_layer(
    model: Forward,
    inputs: Inputs,
    arguments: Sequence[Any],
    key: OutputKey = None,
    target: Any = None,
) -> tuple[str, nn.Module]:
    """Return the last layer with spatial dimensions that gets a gradient from the target.

    Its layout must be known: channels first, channels last, or tokens of a grid (see
    :class:`torchattr.layers.Layout`). Of several modules that return the same tensor, the outermost
    is chosen (`layer4`, not `layer4.2.relu`); pooling to a fixed size does not count, nor do
    projections to attention heads. This runs one forward, and the last part of a backward.

    Args:
        model: the model.
        inputs: its inputs.
        arguments: its further arguments.
        key: which entry of its output holds the scores.
        target: the target.

    Raises:
        LayerError: the model has no modules, or none with such an output.
    """
    names = {module: name for name, module in layer_names(model).items()}
    reader = TargetReader(model, target)
    taps = [TapPoint(module, with_layout=True, with_values=False) for module in names]
    trace = Trace(model, inputs.tensors, arguments, taps=taps + reader.taps, key=key)
    pictures = list(_pictures(trace, inputs))
    candidates = [layer for layer in pictures if layer.edge is not None]
    if not candidates:
        raise LayerError(
            _no_candidate(names[pictures[-1].module] if pictures else None),
            hint=Hint(
                ways_out=[
                    WayOut("name one with {setting}", "layer"),
                    WayOut("tell Grad-CAM how to read it with {setting}", "layout"),
                ]
            ),
        )
    output = trace.output
    if reader.reads_output:
        output = per_example(output, inputs, model, arguments, key)
    scores = _scores(reader, trace, output, target)
    alike = [layer for layer in candidates if _has_aspect(layer.layout)]
    chosen = _last_that_matters(trace, alike, scores)
    if chosen is None:
        other = _last_that_matters(trace, candidates, scores)
        if other is not None:
            raise LayerError(
                "cannot choose a layer automatically: of those with a grid of the input's aspect"
                " none gets a gradient from the target",
                hint=Hint(
                    ways_out=[
                        WayOut(
                            f"name one, such as {{setting}} with a grid of {other.layout.sizes}",
                            "layer",
                            names[other.module],
                        )
                    ]
                ),
            )
        # The gradient is 0 everywhere, so any layer will do.
        chosen = (alike or candidates)[-1]
    return names[chosen.module], chosen.module


def _no_candidate(cut: str | None) -> str:
    because = (
        "no layer of this model is known to have spatial dimensions"
        if cut is None
        else f"no gradient reaches those with spatial dimensions, such as {cut!r} (they ran"
        " under torch.no_grad(), say)"
    )
    return f"cannot choose a layer automatically: {because}"


@dataclass(frozen=True)
class _Candidate:
    module: nn.Module
    edge: GradientEdge | None
    layout: Layout


def _pictures(trace: Trace, inputs: Inputs) -> Iterator[_Candidate]:
    # Of a module that is called several times, Grad-CAM uses the last call.
    last = {tap: number for number, (tap, _) in enumerate(trace.order)}
    for number, (tap, captured) in enumerate(trace.order):
        layout = _single_layout(tap, captured)
        if number != last[tap] or layout is None:
            continue
        if _is_picture(tap.module, layout, inputs):
            yield _Candidate(tap.module, captured.edges[0], layout)


def _single_layout(tap: TapPoint, captured: Captured) -> Layout | None:
    """Return the layout of a layer that returns one tensor; `None` if it is unknown."""
    if not tap.with_layout or captured.form != 0:
        return None
    layout = captured.layouts[0]
    return layout if isinstance(layout, Layout) else None


def _is_picture(module: nn.Module, layout: Layout, inputs: Inputs) -> bool:
    if isinstance(module, _FIXED_SIZE) or layout.splits_channels or not layout.coordinates:
        return False
    extents = inputs.tensors[layout.coordinates[0].input].shape[2:]
    return len(layout.coordinates) == len(extents) and torch.Size(layout.sizes).numel() > 1


_FIXED_SIZE = (nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d)

_LOST = 2
"""About the pixels that convolutions without padding remove from each side of a small grid."""
_LOOSE = 1.1


def _has_aspect(layout: Layout) -> bool:
    """Whether a grid has about the aspect ratio of the input, at any scale and duration."""
    pairs = list(zip(layout.sizes, layout.coordinates, strict=True))[-2:]
    scales = [size / dimension.extent for size, dimension in pairs]
    whole = [(size + _LOST) / dimension.extent for size, dimension in pairs]
    return max(scales) <= _LOOSE * min(whole)


def _scores(reader: TargetReader, trace: Trace, output: Tensor, target: Any) -> Tensor:
    """Return the target's scores, or all scores if the target does not fit the output."""
    with gradients():
        try:
            single = [reader.read(trace, output, value) for value in each(target, output)[0]]
        except TargetError:
            if not reader.reads_output:
                raise
            return output.reshape(-1)
        # Different weights, so that targets do not cancel each other.
        return torch.stack([(1 + k / len(single)) * value for k, value in enumerate(single)]).sum(0)


def _last_that_matters(
    trace: Trace, candidates: Sequence[_Candidate], scores: Tensor
) -> _Candidate | None:
    """Return the last candidate whose grid gets a nonzero gradient."""
    connected = trace.connected(scores, [layer.edge for layer in candidates])
    reached = [layer for layer, yes in zip(candidates, connected, strict=True) if yes]
    seen: set[GradientEdge | None] = set()
    for layer in reversed(reached):
        if layer.edge in seen:
            continue
        seen.add(layer.edge)
        (gradient,) = trace.gradients(scores, [layer.edge])
        if gradient is not None and bool(layer.layout.to_grid(gradient).any()):
            return layer
    return None
