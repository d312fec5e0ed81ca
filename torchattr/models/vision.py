"""Load models of torchvision, with the preprocessing and class names of their weights."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torchvision import models
from torchvision.transforms._presets import (
    ImageClassification,
    ObjectDetection,
    SemanticSegmentation,
)

from torchattr.core.paths import expanded
from torchattr.core.registry import closest, suggest
from torchattr.errors import Hint, ModelError, WayOut, WeightsError
from torchattr.models.loaded import LoadedModel
from torchattr.models.weights import (
    RANDOM,
    UNTRAINED,
    StateDict,
    fit_weights,
    read_weights,
    same_random_weights,
)

_PRESETS = (ImageClassification, ObjectDetection, SemanticSegmentation)
_SEGMENTATION = ("deeplabv3_", "fcn_", "lraspp_")
_DETECTION = ("fasterrcnn_", "fcos_", "keypointrcnn_", "maskrcnn_", "retinanet_", "ssd")
_QUANTIZED = "quantized_"
# torchvision's weights expect these networks to undo ImageNet's normalisation themselves.
_TRANSFORM_INPUT = ("googlenet", "inception_v3")
# The published DenseNet weights use older layer names.
_OLD_DENSENET = re.compile(r"(denselayer\d+\.(?:norm|conv))\.([12]\.)")


def load(name: str, weights: str | Path | None, device: torch.device) -> LoadedModel:
    """Load a torchvision model; see ``torchattr.models.load_model`` for ``weights``."""
    published = _published(name)
    entry, file = _choose(published, weights)
    preset = entry.transforms()
    if name.startswith(_QUANTIZED) or not isinstance(preset, _PRESETS):
        raise ModelError(
            f"torchvision:{name} is not a floating-point classification, segmentation or "
            "detection model of images; wrap it in a function and load that as"
            " path/to/file.py:FUNCTION"
        )
    if file is not None:
        model = _from_file(name, file)
    elif weights == RANDOM:
        model = _untrained(name)
    else:
        model = _pretrained(name, entry)
    names = entry.meta.get("categories")
    return LoadedModel(
        name=f"torchvision:{name}",
        model=model.eval().to(device),
        transform=preset,
        class_names=tuple(names) if names else None,
        activation="none" if isinstance(preset, ObjectDetection) else "softmax",
    )


def _published(name: str) -> Any:
    try:
        return models.get_model_weights(name)
    except ValueError as error:
        close = closest(name, models.list_models(), cutoff=0.5)
        question = f"; {suggest(name, close)}" if close else ""
        raise ModelError(f"torchvision has no model named {name!r}{question}") from error


def _choose(published: Any, weights: str | Path | None) -> tuple[Any, Path | None]:
    """Return the published weights whose preprocessing applies, and a file to load instead."""
    default = published.DEFAULT
    if weights is None or weights == RANDOM:
        return default, None
    if isinstance(weights, str) and weights in published.__members__:
        return published[weights], None
    file = expanded(weights, WeightsError)
    if not file.is_file():
        raise WeightsError(
            f"weights: there is no file {file}; published weights of this model: "
            f"{', '.join(published.__members__)}"
        )
    named = (entry for entry in published if Path(entry.url).name == file.name)
    return next(named, default), file


def _pretrained(name: str, entry: Any) -> nn.Module:
    try:
        return models.get_model(name, weights=entry)
    except Exception as error:
        raise WeightsError(
            f"the weights of torchvision:{name} could not be downloaded ({error})",
            hint=Hint(
                ways_out=[
                    WayOut(
                        f"fetch {entry.url} on another machine and pass the file with {{setting}}",
                        "weights",
                    ),
                    UNTRAINED,
                ]
            ),
        ) from error


def _untrained(name: str) -> nn.Module:
    with same_random_weights():
        return models.get_model(name, weights=None, **_options(name, {}, init_weights=True))


def _from_file(name: str, file: Path) -> nn.Module:
    state = read_weights(file)
    if name.startswith("densenet"):
        state = {_OLD_DENSENET.sub(r"\1\2", key): value for key, value in state.items()}
    options = _options(name, state, init_weights=False)
    model = models.get_model(name, weights=None, **options)
    fit_weights(model, state, str(file))
    return model


def _options(name: str, state: StateDict, init_weights: bool) -> dict[str, Any]:
    """Return builder options that avoid downloads and match the heads of the weights."""
    auxiliary = any("aux" in key.lower() for key in state)
    if name in _TRANSFORM_INPUT:
        heads = {"aux_logits": auxiliary} if state else {}
        return {"transform_input": True, "init_weights": init_weights, **heads}
    if name.startswith(_DETECTION):
        return {"weights_backbone": None}
    if name.startswith(_SEGMENTATION):
        heads = {} if name.startswith("lraspp") else {"aux_loss": auxiliary}
        return {"weights_backbone": None, **heads}
    return {}
