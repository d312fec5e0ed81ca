"""Targets: bounds for figures, each with the position of its figure in the results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from benchmarks.report.text import number, table
from benchmarks.tasks import GRADIENT_METHODS, TITLES

Device = Literal["cpu", "cuda"]
Where = Mapping[str, Any]


@dataclass(frozen=True)
class Target:
    """A bound for a figure of the results; of several rows that fit, the worst counts.

    Attributes:
        what: description of the figure.
        limit: the bound.
        case: the section of the results.
        where: the values that select the rows of the target; a tuple lists alternatives.
        figure: path of the figure within the row.
        device: device that it applies to; `None` for any.
        at_least: whether the bound is a lower one.
        unit: unit of the figure, unless it is a ratio.
    """

    what: str
    limit: float
    case: str
    where: Where
    figure: tuple[str, ...]
    device: Device | None = "cpu"
    at_least: bool = False
    unit: str = ""

    def rests_on(self, case: str, row: Where) -> bool:
        """Whether a row, measured or not, is one of the rows of this target."""
        return case == self.case and all(
            name in row and row[name] in (wanted if isinstance(wanted, tuple) else (wanted,))
            for name, wanted in self.where.items()
        )

    def measured(self, sections: Mapping[str, Any]) -> float | None:
        """Return the worst figure of its rows, if each has one.

        A row that was skipped because it would take too long does not count.
        """
        rows = [row for row in sections.get(self.case, {}).get("rows", ()) if "left_out" not in row]
        found = [figure_of(row, self.figure) for row in rows if self.rests_on(self.case, row)]
        known = [value for value in found if value is not None]
        if not known or len(known) < len(found):
            return None
        return min(known) if self.at_least else max(known)

    def is_met(self, value: float) -> bool:
        return value >= self.limit if self.at_least else value <= self.limit

    def status(self, value: float | None, device: str) -> str:
        if self.device is not None and self.device != device:
            return f"not measured here ({_NAMES[self.device]})"
        if value is None:
            return "not measured"
        return "met" if self.is_met(value) else "missed"


_NAMES: dict[Any, str] = {"cpu": "CPU", "cuda": "GPU"}


def figure_of(row: Any, path: Sequence[str]) -> float | None:
    """Return the figure at a path within a row, if it is there."""
    for name in path:
        row = row.get(name) if isinstance(row, Mapping) else None
    return row


def rests_on(case: str, row: Where) -> bool:
    """Whether any target rests on a row."""
    return any(target.rests_on(case, row) for target in TARGETS)


def as_table(sections: Mapping[str, Any], device: str, reasons: Mapping[str, str]) -> list[str]:
    """Return all targets with their figures; `reasons` tell why one is missed."""
    lines = []
    for target in TARGETS:
        value = target.measured(sections) if target.device in (None, device) else None
        bound = f"{'≥' if target.at_least else '≤'} {number(target.limit)} {target.unit}".strip()
        status = target.status(value, device)
        if status == "missed" and target.what in reasons:
            status += f": {reasons[target.what]}"
        lines.append([target.what, bound, f"{_exact(value)} {target.unit}".strip(), status])
    return table(["target", "bound", "measured", ""], lines)


def _method(what: str, limit: float, networks: Any, methods: Any, side: str, **more: Any) -> Target:
    where = {"network": networks, "method": methods, "batch": 8}
    return Target(what, limit, "methods", where, ("sides", side, "ratio"), **more)


def _named(case: str, name: str, limit: float, what: str, **more: Any) -> Target:
    return Target(what, limit, case, {"name": name}, ("sides", "captum", "ratio"), **more)


def _incremental(
    network: str, what: str, limit: float, figure: str, words: str, **more: Any
) -> Target:
    shown = what if " " in what else f"window/stride {what}"
    return Target(
        f"incremental ablation, {TITLES[network]}, {shown}: {words}",
        limit,
        "incremental",
        {"network": network, "what": what},
        ("sides", "captum", figure),
        **more,
    )


_OF_COALITIONS = "{} of 100 superpixels, ResNet-50 and VGG-16: of Captum's time"

_FASTER = {
    "vgg16": {"16/8": 20.0, "8/4": 25.0, "100 superpixels": 15.0},
    "resnet18": {"16/8": 6.0, "8/4": 6.5},
    "resnet50": {"16/8": 5.0, "8/4": 5.0, "100 superpixels": 4.0},
    "mobilenet_v2": {"16/8": 3.0, "8/4": 4.0},
}
_NETWORKS = {name: TITLES[name] for name in ("resnet50", "vgg16")}
_LIMITS = {"Saliency": 1.0, "GuidedBackprop": 0.9, "Deconvolution": 0.9}
_KERNEL_LIMITS = {"relu": "`torch.relu`", "relu_backward guided": "PyTorch's threshold backward"}

TARGETS: tuple[Target, ...] = (
    *(
        _method(f"{method}, {title}, batch 8: of Captum's time", limit, network, method, "captum")
        for network, title in _NETWORKS.items()
        for method, limit in _LIMITS.items()
    ),
    *(
        _method(f"{method}, {title}, batch 8: of the floor's time", 1.08, network, method, "floor")
        for network, title in _NETWORKS.items()
        for method in GRADIENT_METHODS
    ),
    *(
        Target(
            f"{method}, ResNet-50, batch 8, prepared: of Captum's time",
            0.8,
            "prepare",
            {"network": "resnet50", "method": method, "batch": 8, "precision": "float32"},
            ("sides", "captum", "prepared_ratio"),
        )
        for method in GRADIENT_METHODS
    ),
    *(
        Target(
            f"remembered bytes, {TITLES[network]}: of Captum's",
            limit,
            "methods",
            {"network": network, "method": GRADIENT_METHODS},
            ("sides", "captum", "remembered_ratio"),
            device=None,
        )
        for network, limit in (("resnet50", 1 / 55), ("vgg16", 1 / 25))
    ),
    Target(
        "growth of resident memory, guided, ResNet-50, batch 32: of inference's",
        1.3,
        "scale",
        {"network": "resnet50", "batch": 32},
        ("sides", "inference", "ratio"),
    ),
    *(
        _method(
            f"GuidedGradCAM, {title}, batch 8: of Captum's time", 0.7, n, "GuidedGradCAM", "captum"
        )
        for n, title in _NETWORKS.items()
    ),
    Target(
        "GuidedGradCAM, ResNet-50, batch 8, prepared: of Captum's time",
        0.6,
        "prepare",
        {"network": "resnet50", "method": "GuidedGradCAM", "batch": 8, "precision": "float32"},
        ("sides", "captum", "prepared_ratio"),
    ),
    _named("sharing", "five methods", 0.45, "five methods in one `explain`: of five Captum calls"),
    _named(
        "sharing", "grad-cam for 100 classes", 0.02, "Grad-CAM for 100 classes: of 100 Captum calls"
    ),
    _named(
        "sharing", "saliency for 10 classes", 0.62, "saliency for 10 classes: of 10 Captum calls"
    ),
    Target(
        "ten class activation maps in one `explain`, ResNet-50, batch 8: of ten calls of grad-cam",
        0.25,
        "cams",
        {"name": "ten maps"},
        ("sides", "grad-cam", "ratio"),
    ),
    Target(
        "Ablation-CAM, ResNet-50 and VGG-16: of grad-cam's time",
        1 / 3,
        "cams",
        {"name": "ablation-cam"},
        ("sides", "grad-cam", "ratio"),
    ),
    *(
        _named(
            "coalitions",
            name,
            1 / 3,
            f"{name}, 100 superpixels, VGG-16, ResNet-50: of Captum's time",
        )
        for name in ("ShapleyValueSampling", "KernelShap")
    ),
    *(
        _named("paths", name, 0.9, f"{name}, 50 points, ResNet-18 and ResNet-50: of Captum's time")
        for name in ("LayerIntegratedGradients", "GradientShap")
    ),
    *(
        Target(
            f"LRP {what}, {TITLES[network]}, batch {batch}: of zennit's time",
            limit,
            "relevance",
            {"network": network, "name": what},
            ("sides", "zennit", "ratio"),
        )
        for what, batch, limit in (
            *(("z⁺", 8, 0.6), ("α2β1", 8, 0.5), ("γ", 8, 0.4)),
            ("z⁺, 10 targets", 1, 0.3),
        )
        for network in _NETWORKS
    ),
    *(
        Target(
            f"remembered bytes, LRP z⁺, {TITLES[network]}: of zennit's, hooks included",
            1 / 3,
            "relevance",
            {"network": network, "name": "z⁺"},
            ("sides", "zennit", "with_hooks_ratio"),
            device=None,
        )
        for network in _NETWORKS
    ),
    Target(
        "DeepLIFT, VGG-16, batch 8: of Captum's time",
        0.8,
        "relevance",
        {"network": "vgg16", "name": "DeepLIFT"},
        ("sides", "captum", "ratio"),
    ),
    Target(
        "AttnLRP, ViT-B/16, batch 8: of the time of input × gradient",
        1.1,
        "relevance",
        {"network": "vit_b_16", "name": "AttnLRP"},
        ("sides", "input × gradient", "ratio"),
    ),
    *(
        Target(
            f"kernel `{name}`, 64 MiB: of the time of {beside}",
            1.5,
            "kernels",
            {"operation": name, "dtype": "float32", "chosen": True},
            ("to_plain",),
        )
        for name, beside in _KERNEL_LIMITS.items()
    ),
    _named(
        "inspect", "whole maps", 0.55, "512 back-projections of whole maps: of 512 Captum calls"
    ),
    _named("inspect", "maxima", 0.25, "512 back-projections of maxima: of 512 Captum calls"),
    _named("inspect", "layer by layer", 0.1, "Guided Grad-CAM of 13 layers: of 13 Captum calls"),
    Target(
        "randomisation test of six methods, ResNet-18: of the time of the dearest one alone",
        1.3,
        "randomisation",
        {"name": "six methods"},
        ("sides", "dearest alone", "ratio"),
    ),
    Target(
        "viewer: response to a click on a map of the bundled model",
        300,
        "inspect",
        {"name": "viewer click"},
        ("sides", "torchattr", "ms"),
        unit="ms",
    ),
    *(
        _incremental(network, what, limit, "times", "Captum's time, of torchattr's", at_least=True)
        for network, limits in _FASTER.items()
        for what, limit in limits.items()
    ),
    *(
        _incremental(network, "16/8", 1.0, "growth_ratio", "growth of memory, of Captum's")
        for network in _FASTER
    ),
    Target(
        "deletion by 16-pixel blocks, VGG-16: of the time of whole forwards",
        1 / 8,
        "faithfulness",
        {"network": "vgg16", "name": "deletion curve"},
        ("sides", "whole", "ratio"),
    ),
    *(
        Target(
            f"a run over a data set, ResNet-18, {what}: time beyond that of the attributions",
            0.1,
            "dataset_run",
            {"name": f"overhead, {name}"},
            ("overhead",),
        )
        for name, what in {"five methods": "five methods", "guided_backprop": "guided"}.items()
    ),
    Target(
        "a run over a data set, ResNet-50, guided: of the time of a script with Captum",
        0.7,
        "dataset_run",
        {"name": "plain script"},
        ("ratio",),
    ),
    Target(
        "a run over a data set: growth of the process with each picture",
        1000,
        "dataset_run",
        {"name": "memory"},
        ("bytes_per_picture",),
        unit="bytes",
    ),
    Target(
        "a data set of a million ids: listing, resuming and opening, each",
        10,
        "dataset_run",
        {"name": "many ids"},
        ("slowest_s",),
        unit="s",
    ),
    Target(
        "a run over a data set by two processes: of the speed of one",
        1.8,
        "dataset_run",
        {"name": "two processes"},
        ("speedup",),
        at_least=True,
    ),
    Target(
        "20 metrics × 12 methods × 32 pictures, ResNet-18: Quantus' time, of torchattr's",
        20.0,
        "metrics",
        {"name": "20 metrics, 12 methods, 32 pictures"},
        ("sides", "quantus", "times"),
        at_least=True,
    ),
    Target(
        "largest batch at fixed memory, guided, ResNet-50: of Captum's",
        8.0,
        "scale",
        {"name": "largest batch", "network": "resnet50"},
        ("sides", "captum", "times_as_many"),
        device="cuda",
        at_least=True,
    ),
)


def _exact(value: float | None) -> str:
    """Return one digit more than the bounds have, so that a near miss is visible."""
    return "–" if value is None else f"{value:.3g}"
