"""The panels that come along, and examples of how to write one."""

from __future__ import annotations

from collections.abc import Iterable

import torch

from torchattr.inspect import show_kernels, summary
from torchattr.methods import Saliency
from torchattr.web.panels.panel import Panel, register_panel
from torchattr.web.panels.parts import Bars, Map, Part, Picture, Table, Text
from torchattr.web.panels.scene import Scene


@register_panel("scores")
class ScoresPanel(Panel):
    """The best classes of the picture, as bars and as a table."""

    title = "Scores"

    def show(self, scene: Scene, top: int = 5) -> Iterable[Part]:
        """Show the best classes.

        Args:
            top: how many.
        """
        answer = scene.answer
        count = max(1, min(top, len(answer.probabilities)))
        best = answer.probabilities.topk(count)
        names = [scene.loaded.class_name(index) for index in best.indices.tolist()]
        largest = 1.0 if answer.bounded else None
        yield Bars(names, best.values, f"Best {count}", largest, percent=answer.bounded)
        rows = zip(best.indices.tolist(), names, best.values.tolist(), strict=True)
        yield Table(["index", "class", "score"], list(rows), "The same as numbers")


@register_panel("gradient")
class Gradient(Panel):
    """The gradient of the class in four ways: colours, both signs, and over the picture."""

    title = "Gradient, four ways"

    def show(self, scene: Scene, multiply: bool = False) -> Iterable[Part]:
        """Show the gradient.

        Args:
            multiply: multiply it by the input.
        """
        found = scene.explain(Saliency(scene.loaded.model, output=scene.reader.scores), _SIGNED)
        gradient = next(iter(found.attributions.values()))[0, 0]
        values = gradient * scene.inputs[0] if multiply else gradient
        if values.shape[0] in (1, 3):
            yield Map(values, "In colour", "color")
        yield Map(values, "Largest magnitude", "heat")
        yield Map(values, "Raises and lowers", "signed_heat")
        yield Map(values.abs(), "Over the picture", "overlay")


_SIGNED = {"abs": False}


@register_panel("kernels")
class KernelsPanel(Panel):
    """The kernels of a convolution; those of the first layer in colour."""

    title = "Kernels"

    def show(self, scene: Scene, layer: str | None = None, shared: bool = False) -> Iterable[Part]:
        """Show kernels.

        Args:
            layer: a convolution; the first one if none is named.
            shared: one scale for all kernels, instead of one for each.
        """
        name = layer or _first_convolution(scene)
        if name is None:
            yield Text("This model has no convolution as a layer.")
            return
        yield Picture(show_kernels(scene.loaded.model, name, shared=shared), name)


@register_panel("summary")
class SummaryPanel(Panel):
    """What the model consists of, and what an attribution of it needs."""

    title = "Summary"

    def show(self, scene: Scene) -> Iterable[Part]:
        found = summary(scene.loaded.model, scene.inputs)
        yield Table(
            ["what", "value"],
            [
                ["parameters", f"{found.parameters:,}"],
                ["multiply-adds", f"{found.multiply_adds:,}"],
                ["ReLU calls that rules rewrite", found.relu_calls],
                ["activations without a rule", sum(found.without_rule.values())],
                ["remembered for a gradient, bytes", f"{found.remembered_bytes:,}"],
            ],
            "Totals",
        )
        rows = [
            [row.name, row.type, row.output, row.calls, f"{row.parameters:,}"]
            for row in found.rows
            if row.name
        ]
        yield Table(["layer", "type", "output", "calls", "parameters"], rows, "Layers")


def _first_convolution(scene: Scene) -> str | None:
    kinds = (torch.nn.Conv1d, torch.nn.Conv2d, torch.nn.Conv3d)
    named = scene.loaded.model.named_modules()
    return next((name for name, module in named if isinstance(module, kinds)), None)
