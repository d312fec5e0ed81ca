"""The model of a run: loaded by name, or an object that the user made."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn

from torchattr.bulk.shards import local_rank
from torchattr.errors import InputError, InputTypeError
from torchattr.models import Box, Geometry, LoadedModel, Meaning, load_model


def as_loaded(
    model: str | nn.Module | LoadedModel,
    weights: str | Path | None = None,
    device: str | torch.device = "auto",
    *,
    transform: Any = None,
    trust: bool = False,
    activation: Meaning | None = None,
) -> LoadedModel:
    """Return the model of a run, on its device.

    Args:
        model: see :func:`torchattr.run`.
        weights, trust: see :func:`torchattr.models.load_model`; for a model by name.
        device: where to put it; `"auto"` chooses for a model by name, and leaves others.
        transform: the preprocessing of a module.
        activation: the meaning of its scores; `None` for what is known of it.

    Raises:
        InputTypeError: neither a name nor a model.
        InputError: weights or a transform that do not go with it.
        ModelError: it cannot be loaded.
    """
    if isinstance(model, str):
        _check_absent(transform, "transform", "a model by name has its own")
        loaded = load_model(model, weights, chosen_device(device), trust=trust)
        return loaded.meaning(activation)
    _check_absent(weights, "weights", "only a model by name loads any")
    if isinstance(model, LoadedModel):
        _check_absent(transform, "transform", "a LoadedModel has its own")
        return _moved(model, device).meaning(activation)
    if not isinstance(model, nn.Module):
        raise InputTypeError(
            "model must be a name such as torchvision:resnet50, a module or a LoadedModel, got"
            f" {type(model).__name__}"
        )
    return _moved(_with_transform(model, transform), device).meaning(activation)


def _with_transform(model: nn.Module, transform: Any) -> LoadedModel:
    name = type(model).__name__
    if transform is None:
        return LoadedModel(name, model, NoTransform(name), geometry=_Whole())
    return LoadedModel(name, model, transform)


def _moved(loaded: LoadedModel, device: str | torch.device) -> LoadedModel:
    if device != "auto":
        loaded.model.to(device)
    return loaded


def _check_absent(value: Any, argument: str, because: str) -> None:
    if value is not None:
        raise InputError(f"{argument} does not go with this model: {because}; leave it out")


def chosen_device(device: str | torch.device) -> str | torch.device:
    """Return a device; for `"auto"`, the GPU of this process among those of its machine."""
    if device != "auto":
        return device
    if not torch.cuda.is_available():
        return "cpu"
    return f"cuda:{local_rank() % torch.cuda.device_count()}"


class NoTransform:
    """Stands for a transform that was not given; it is needed only if the data set has images.

    Args:
        name: the model.
    """

    def __init__(self, name: str) -> None:
        self._name = name

    def __call__(self, image: Image.Image) -> Tensor:
        raise InputError(
            f"the data set holds images, but it is not known how {self._name} wants them; pass"
            " transform, a function from an image to a tensor (C, H, W)"
        )

    def __repr__(self) -> str:
        return "none"


class _Whole(Geometry):
    def box(self, width: int, height: int) -> Box:
        return Box(0.0, 0.0, float(width), float(height))
