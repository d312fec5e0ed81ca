"""Load models of timm, which is imported only here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

from torchattr.core.registry import closest, suggest
from torchattr.errors import Hint, ModelError, WayOut, WeightsError
from torchattr.models.loaded import LoadedModel
from torchattr.models.weights import (
    RANDOM,
    UNTRAINED,
    fit_weights,
    read_weights,
    same_random_weights,
)


def load(name: str, weights: str | Path | None, device: torch.device) -> LoadedModel:
    """Load a timm model; see ``torchattr.models.load_model`` for ``weights``."""
    timm = _timm()
    if not timm.is_model(name.partition(".")[0]):
        close = closest(name, timm.list_models(), cutoff=0.5)
        question = f"; {suggest(name, close)}" if close else ""
        raise ModelError(f"timm has no model named {name!r}{question}")
    model = _create(timm, name, weights)
    config = timm.data.resolve_model_data_config(model)
    return LoadedModel(
        name=f"timm:{name}",
        model=model.eval().to(device),
        transform=timm.data.create_transform(**config, is_training=False),
        class_names=_class_names(timm, model),
        activation="softmax",
    )


def _timm() -> Any:
    try:
        import timm
        import timm.data
    except ImportError as error:
        raise ModelError(
            f"timm is needed for timm:NAME and could not be imported ({error}); "
            "install it with: pip install timm"
        ) from error
    return timm


def _create(timm: Any, name: str, weights: str | Path | None) -> nn.Module:
    if weights is not None and weights != RANDOM:
        model: nn.Module = timm.create_model(name, pretrained=False)
        fit_weights(model, read_weights(weights), str(weights))
        return model
    if weights == RANDOM:
        with same_random_weights():
            return timm.create_model(name, pretrained=False)
    try:
        return timm.create_model(name, pretrained=True)
    except (OSError, RuntimeError) as error:
        raise WeightsError(
            f"the weights of timm:{name} could not be downloaded ({error})",
            hint=Hint(ways_out=[WayOut("pass a file with {setting}", "weights"), UNTRAINED]),
        ) from error


def _class_names(timm: Any, model: Any) -> tuple[str, ...] | None:
    subset = timm.data.infer_imagenet_subset(model)
    if subset is None:
        return None
    info = timm.data.ImageNetInfo(subset)
    return tuple(info.index_to_description(index) for index in range(info.num_classes()))
