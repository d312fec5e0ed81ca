"""The built-in panels, which are also examples of how to write one."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import torch

from torchattr.inspect import show_kernels, summary
from torchattr.methods import Saliency
from torchattr.show import OVERLAY
from torchattr.web.panels.panel import Panel, register_panel
from torchattr.web.panels.parts import Bars, Map, Part, Picture, Table, Text
from torchattr.web.panels.scene import Scene

OVER_THE_PICTURE = replace(OVERLAY, how="max_abs", sign="absolute", percentile=99.5)
"""Single pixels of a gradient are far larger than the rest, which would be transparent."""


@register_panel("scores")
class ScoresPanel(Panel):
    """The highest class scores, as a bar chart and as a table."""

    title = "Scores"

    def show(self, scene: Scene, top: int = 5) -> Iterable[Part]:
        """Show the highest class scores.

        Args:
            top: number of classes.
        """
        answer = scene.answer
        count = max(1, min(top, len(answer.probabilities)))
        best = answer.probabilities.topk(count)
        names = [scene.loaded.class_name(index) for index in best.indices.tolist()]
        largest = 1.0 if answer.bounded else None
        yield Bars(names, best.values, f"Top {count}", largest, percent=answer.bounded)
        rows = zip(best.indices.tolist(), names, best.values.tolist(), strict=True)
        yield Table(["index", "class", "score"], list(rows), "Values")


@register_panel("gradient")
class GradientPanel(Panel):
    """The gradient of the class score in four styles: RGB, magnitude, signed and overlay."""

    title = "Gradient, four styles"

    def show(self, scene: Scene, multiply: bool = False) -> Iterable[Part]:
        """Show the gradient.

        Args:
            multiply: multiply the gradient by the input.
        """
        method = Saliency(scene.loaded.model, output=scene.asked.output)
        explanation = scene.explain(method, {"abs": False})
        gradient = next(iter(explanation.attributions.values()))[0, 0]
        values = gradient * scene.inputs[0] if multiply else gradient
        if values.shape[0] in (1, 3):
            yield Map(values, "RGB", "color")
        yield Map(values, "Maximum magnitude", "heat")
        yield Map(values, "Signed", "signed_heat")
        yield Map(values, "Over the picture", OVER_THE_PICTURE)


@register_panel("kernels")
class KernelsPanel(Panel):
    """The kernels of a convolution; in colour for the first layer."""

    title = "Kernels"

    def show(self, scene: Scene, layer: str | None = None, shared: bool = False) -> Iterable[Part]:
        """Show kernels.

        Args:
            layer: a convolutional layer; default: the first one.
            shared: scale all kernels together instead of each independently.
        """
        name = layer or _first_convolution(scene)
        if name is None:
            yield Text("This model has no convolutional layer.")
            return
        yield Picture(show_kernels(scene.loaded.model, name, shared=shared), name)


@register_panel("summary")
class SummaryPanel(Panel):
    """The layers of the model, and the cost of computing an attribution."""

    title = "Summary"

    def show(self, scene: Scene) -> Iterable[Part]:
        totals = summary(scene.loaded.model, scene.inputs)
        yield Table(
            ["quantity", "value"],
            [
                ["parameters", f"{totals.parameters:,}"],
                ["multiply-adds", f"{totals.multiply_adds:,}"],
                ["ReLU calls rewritten by rules", totals.relu_calls],
                ["activations without a rule", sum(totals.without_rule.values())],
                ["memory kept for the backward pass, bytes", f"{totals.remembered_bytes:,}"],
            ],
            "Totals",
        )
        rows = [
            [row.name, row.type, row.output, row.calls, f"{row.parameters:,}"]
            for row in totals.rows
            if row.name
        ]
        yield Table(["layer", "type", "output", "calls", "parameters"], rows, "Layers")


def _first_convolution(scene: Scene) -> str | None:
    kinds = (torch.nn.Conv1d, torch.nn.Conv2d, torch.nn.Conv3d)
    named = scene.loaded.model.named_modules()
    return next((name for name, module in named if isinstance(module, kinds)), None)
