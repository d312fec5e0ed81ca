"""Twenty metrics of twelve methods, against Quantus with the same settings."""

from __future__ import annotations

import importlib.util
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

import torchattr as ta
from benchmarks.cases.base import Case, Row
from benchmarks.report.text import number, say, table
from benchmarks.settings import Settings
from benchmarks.tasks import Subject, Task
from torchattr import evaluate
from torchattr.methods import Attribution, build

NETWORK = "resnet18"
PICTURES = 32
"""Pictures of the whole table; fewer are measured, and their time is scaled."""

METHODS = (
    *("saliency", "input_x_gradient", "deconvolution", "guided_backprop"),
    *("grad_cam", "grad_cam_plus_plus", "xgrad_cam", "hires_cam"),
    *("layer_cam", "grad_cam_elementwise", "eigen_grad_cam", "guided_grad_cam"),
)
SAMPLES = 200
"""Perturbed pictures of each measure of robustness, as by default in Quantus."""

SETS = 100
"""Random sets of the faithfulness correlation, as by default in Quantus."""

RADIUS, SUBSET, TOP = 0.2, 224, 1000
ROBUSTNESS = {
    "MaxSensitivity": "sensitivity_max",
    "AvgSensitivity": "sensitivity_average",
    "LocalLipschitzEstimate": "local_lipschitz",
    "RelativeInputStability": "relative_input_stability",
    "RelativeOutputStability": "relative_output_stability",
    "RelativeRepresentationStability": "relative_representation_stability",
}


@dataclass(frozen=True)
class Scene:
    """What both sides measure.

    Attributes:
        task: the model, its pictures and the class that is explained.
        samples: perturbed pictures and random sets that are run.
        peers: number of methods that are run by Quantus.
    """

    task: Task
    samples: int
    peers: int

    @cached_property
    def methods(self) -> dict[str, Attribution]:
        return {name: build(name, self.task.model, layer=self.task.layer) for name in METHODS}

    @cached_property
    def maps(self) -> dict[str, Tensor]:
        """Return each method's maps `(N, 1, h, w)`, of the size of the pictures."""
        images, layer = self.task.images, self.task.layer
        found = ta.explain(self.task.model, images, METHODS, self.task.target, layer=layer)
        return {name: whole(found[name][:, 0], images) for name in METHODS}

    @cached_property
    def masks(self) -> Tensor:
        """Return a box in the middle of each picture."""
        images = self.task.images
        masks = torch.zeros_like(images[:, :1], dtype=torch.bool)
        height, width = (side // 4 for side in images.shape[2:])
        masks[..., height:-height, width:-width] = True
        return masks

    def explained(self, name: str) -> Callable[..., np.ndarray]:
        """Return a method as Quantus wants it: arrays in and out, as large as the picture."""
        method: Any = self.methods[name]

        def explain(model: Any, inputs: Any, targets: Any, **options: Any) -> np.ndarray:
            images = torch.as_tensor(np.asarray(inputs)).to(self.task.images)
            found = method.attribute(images, target=torch.as_tensor(np.asarray(targets)).long())
            array: np.ndarray = whole(found, images).cpu().numpy()
            return array

        return explain


def whole(maps: Tensor, images: Tensor) -> Tensor:
    """Return maps of one channel in the size of the pictures."""
    flat = maps.detach().sum(1, keepdim=True)
    size = images.shape[2:]
    return F.interpolate(flat, size, mode="bilinear") if flat.shape[2:] != size else flat


@dataclass(frozen=True)
class Group:
    """Metrics that one side or both measure together.

    Attributes:
        name: for the table and the targets.
        metrics: Quantus' names, with the options of each.
        ours: measures them of all methods.
        draws: number of perturbations of the whole table, of which `Scene.samples` are run; `None`
            where all are.
    """

    name: str
    metrics: Callable[[Scene], Mapping[str, dict[str, Any]]]
    ours: Callable[[Scene], object]
    draws: int | None = None


def _robustness_options(scene: Scene) -> dict[str, dict[str, Any]]:
    noise = _peer("functions.perturb_func").batch_uniform_noise
    common = {"nr_samples": scene.samples, "perturb_func": noise}
    within = {"perturb_func_kwargs": {"lower_bound": -RADIUS, "upper_bound": RADIUS}}
    found = {name: {**common, **within} for name in ROBUSTNESS}
    for name in ("MaxSensitivity", "AvgSensitivity"):
        found[name] = {**common, "lower_bound": RADIUS}
    found["LocalLipschitzEstimate"]["normalise"] = False
    found["RelativeRepresentationStability"]["layer_names"] = ["avgpool"]
    return found


def _robustness(scene: Scene) -> object:
    return evaluate.robustness(
        scene.methods,
        scene.task.images,
        measures=tuple(ROBUSTNESS.values()),
        layer="avgpool",
        radius=RADIUS,
        n_samples=scene.samples,
        target=scene.task.target,
    )


def _correlation_options(scene: Scene) -> dict[str, dict[str, Any]]:
    return {"FaithfulnessCorrelation": {"nr_runs": scene.samples, "subset_size": SUBSET}}


def _correlation(scene: Scene) -> object:
    """The random sets are those of all methods: their forwards are shared."""
    images, target = scene.task.images, scene.task.target
    elements = torch.arange(images[0].numel(), device=images.device).reshape(1, *images.shape[1:])
    return evaluate.faithfulness_correlation(
        scene.task.model,
        images,
        torch.stack(list(scene.maps.values()), 1),
        ta.Classes(*[target] * len(METHODS)),
        subset_size=SUBSET,
        n_samples=scene.samples,
        feature_mask=elements,
    )


def _steps(scene: Scene) -> dict[str, int]:
    """The sides of patches, and the elements of a step, so that about 50 steps are needed.

    Patches divide the picture: Quantus' infidelity fails for others.
    """
    side = scene.task.images.shape[-1] // 8
    return {"patch": side, "elements": scene.task.images[0].numel() // 48}


def _deletion_options(scene: Scene) -> dict[str, dict[str, Any]]:
    steps = _steps(scene)
    return {
        "PixelFlipping": {"features_in_step": steps["elements"]},
        "RegionPerturbation": {"patch_size": steps["patch"] // 2, "regions_evaluation": 100},
        "Selectivity": {"patch_size": steps["patch"]},
        "Infidelity": {"perturb_patch_sizes": [steps["patch"]], "n_perturb_samples": 1},
    }


def _deletion(scene: Scene) -> object:
    steps, images, target = _steps(scene), scene.task.images, scene.task.target
    model, maps = scene.task.model, list(scene.maps.values())
    softmax: Any = {"activation": "softmax", "baselines": 0}
    several = ta.Classes(*[target] * len(maps))
    found: list[object] = [
        evaluate.square_infidelity(
            model, images, torch.stack(maps, 1), several, size=steps["patch"]
        )
    ]
    for one in maps:
        found += [
            evaluate.pixel_flipping(model, images, one, target, steps=48, **softmax),
            evaluate.region_perturbation(
                model, images, one, target, size=steps["patch"] // 2, regions=100, **softmax
            ),
            evaluate.selectivity(model, images, one, target, size=steps["patch"], **softmax),
        ]
    return found


def _map_options(scene: Scene) -> dict[str, dict[str, Any]]:
    top = min(TOP, scene.masks[0].numel() // 2)
    names = ("Sparseness", "Complexity", "EffectiveComplexity")
    located = ("PointingGame", "RelevanceMassAccuracy", "RelevanceRankAccuracy", "AUC")
    found: dict[str, dict[str, Any]] = {name: {} for name in (*names, *located)}
    return {**found, "AttributionLocalisation": {}, "TopKIntersection": {"k": top}}


def _of_maps(scene: Scene) -> object:
    top, masks = min(TOP, scene.masks[0].numel() // 2), scene.masks
    return [
        (
            evaluate.gini_index(maps),
            evaluate.entropy(maps),
            evaluate.effective_complexity(maps),
            evaluate.top_k_intersection(maps, masks, 1),
            evaluate.relevance_mass(maps, masks),
            evaluate.relevance_rank(maps, masks),
            evaluate.localisation_auc(maps, masks),
            evaluate.attribution_localisation(maps, masks),
            evaluate.top_k_intersection(maps, masks, top),
        )
        for maps in scene.maps.values()
    ]


GROUPS = (
    Group("6 measures of robustness", _robustness_options, _robustness, SAMPLES),
    Group("faithfulness correlation", _correlation_options, _correlation, SETS),
    Group("4 metrics of deletion", _deletion_options, _deletion),
    Group("9 measures of maps", _map_options, _of_maps),
)
ALL = "20 metrics, 12 methods, 32 pictures"


class Metrics(Case):
    """Both sides measure some pictures, with some draws; the whole table's time follows."""

    name = "metrics"
    title = "Metrics"
    how = (
        "Each side runs once. Times are scaled from the pictures, draws and methods that were run"
        " to those of the whole table, as stated for each row."
    )

    def missing(self, settings: Settings) -> str | None:
        found = importlib.util.find_spec("quantus") is not None
        return None if found else "Quantus is not installed: pip install 'torchattr[bench]'"

    def run(self, settings: Settings) -> list[dict[str, Any]]:
        subject = Subject.of(NETWORK, settings.size, settings.device)
        pictures, samples, peers = (1, 2, 1) if settings.quick else (4, 5, 3)
        scene = Scene(subject.task("metrics", pictures), samples, peers)
        # The maps are not part of any metric: Quantus gets them ready, too.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            _ = scene.maps
            rows = [_row(group, scene) for group in GROUPS]
        return [*rows, _total(rows)]

    def tables(self, rows: Sequence[Row]) -> list[str]:
        text = (
            f"Seconds for {PICTURES} pictures and {len(METHODS)} methods, ResNet-18. Measured:"
            " the pictures, draws and methods of each row; Quantus explains by the methods of"
            " torchattr, with the settings of its defaults: noise within 0.2,"
            f" {SAMPLES} perturbed pictures, {SETS} random sets of {SUBSET} elements; about 50"
            " steps of deletion, which are fewer than its defaults."
        )
        head = ["metrics", "pictures", "draws", "methods there", "torchattr, s", "Quantus, s", "×"]
        return [text, "", *table(head, map(_cells, rows))]


def _row(group: Group, scene: Scene) -> dict[str, Any]:
    pictures = len(scene.task.images)
    draws = 1.0 if group.draws is None else group.draws / scene.samples
    scale = PICTURES / pictures * draws
    own = _seconds(lambda: group.ours(scene)) * scale
    options = group.metrics(scene)
    other = _seconds(lambda: _by_peer(options, scene)) * scale * len(METHODS) / scene.peers
    say(f"{group.name}: torchattr {own:.0f} s, Quantus {other:.0f} s")
    measured = {"pictures": pictures, "methods": scene.peers}
    measured["draws"] = scene.samples if group.draws else 0
    return {"name": group.name, **measured, "sides": _sides(own, other)}


def _sides(own: float, other: float) -> dict[str, Any]:
    return {"torchattr": {"s": own}, "quantus": {"s": other, "times": other / own}}


def _total(rows: Sequence[Row]) -> dict[str, Any]:
    own, other = (sum(row["sides"][side]["s"] for row in rows) for side in ("torchattr", "quantus"))
    return {"name": ALL, "sides": _sides(own, other)}


def _by_peer(options: Mapping[str, dict[str, Any]], scene: Scene) -> object:
    """Measure some of the methods by Quantus."""
    task, found = scene.task, []
    x = task.images.cpu().numpy()
    y = np.full(len(x), task.target)
    for name in METHODS[:: -(-len(METHODS) // scene.peers)]:
        call: dict[str, Any] = {
            "model": task.model,
            "x_batch": x,
            "y_batch": y,
            "explain_func": scene.explained(name),
        }
        for metric, own in options.items():
            made = getattr(_peer("metrics"), metric)(**own, disable_warnings=True)
            a_batch = scene.maps[name].cpu().numpy().copy()
            masks = {} if "Relative" in metric[:8] and "Stab" in metric else _masks(scene)
            found.append(made(a_batch=a_batch, **call, **masks))
    return found


def _masks(scene: Scene) -> dict[str, Any]:
    return {"s_batch": scene.masks.cpu().numpy()}


def _peer(module: str) -> Any:
    return importlib.import_module(f"quantus.{module}")


def _seconds(run: Callable[[], object]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def _cells(row: Row) -> list[str]:
    ours, peer = row["sides"]["torchattr"], row["sides"]["quantus"]
    measured = [str(row.get(name) or "–") for name in ("pictures", "draws", "methods")]
    return [row["name"], *measured, number(ours["s"]), number(peer["s"]), number(peer["times"])]
