"""The model, the images and the other arguments that are fed to a call."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MethodType
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor, nn

from torchattr.core.arrays import tensor_of
from torchattr.core.types import Forward
from torchattr.errors import InputError, InputTypeError
from torchattr.inspect import draw_input
from torchattr.models import LoadedModel, load_model
from torchattr.results import Display


@dataclass(frozen=True, eq=False)
class Feed:
    """A model that can be run on images alone.

    run: the model, with all arguments but the images bound.
    images: `(N, C, H, W)`, on the device and with the dtype of the model.
    loaded: the model with its preprocessing, if known.
    chunk: maximum number of maps per backward; `None` for the default.
    """

    run: Forward
    images: Tensor
    loaded: LoadedModel | None
    chunk: int | None

    @classmethod
    def of(cls, model: Any, value: Any, input_tensor: str | None) -> Feed:
        if isinstance(model, (str, Path)):
            model = load_model(str(model))
        loaded = model if isinstance(model, LoadedModel) else None
        run: Forward = model.model if isinstance(model, LoadedModel) else model
        name, fed = _image_entry(value, input_tensor)
        arguments = {key: _tensor(one, run) for key, one in fed.items()}
        images = arguments.pop(name)
        if not isinstance(images, Tensor):
            raise InputTypeError(
                f"value_feed_dict must hold images (N, C, H, W) as a tensor or array, got"
                f" {type(images).__name__}"
            )
        if not arguments:
            return cls(run, images, loaded, None)
        # Copies of the images in one forward would need copies of the other arguments.
        return cls(_with_arguments(run, name, arguments), images, loaded, 1)

    def picture(self, image: Tensor) -> Image.Image:
        if self.loaded is None:
            return Image.fromarray(draw_input(image))
        return Display.of(self.loaded.transform).picture(image)


def _image_entry(value: Any, input_tensor: str | None) -> tuple[str, dict[str, Any]]:
    fed = dict(value) if isinstance(value, Mapping) else {"images": value}
    if input_tensor is None and len(fed) == 1:
        return next(iter(fed)), fed
    if input_tensor is None or input_tensor not in fed:
        raise InputError(
            f"input_tensor must name the images among {', '.join(map(repr, fed)) or 'nothing'},"
            f" got {input_tensor!r}"
        )
    return input_tensor, fed


def _tensor(value: Any, model: Forward) -> Any:
    """Return arrays as tensors on the model's device, floating ones with its dtype."""
    if isinstance(value, np.ndarray):
        value = tensor_of(value)
    owner = getattr(model, "__self__", model)
    parameters = owner.parameters() if isinstance(owner, nn.Module) else ()
    like = next((one for one in parameters if one.is_floating_point()), None)
    if not isinstance(value, Tensor) or like is None:
        return value
    return value.to(like.device, like.dtype if value.is_floating_point() else None)


def _with_arguments(model: Forward, name: str, arguments: Mapping[str, Any]) -> Forward:
    """Return the model as a function of images alone; it remains a method of its module."""

    def run(owner: Any, images: Tensor) -> Any:
        return model(**{name: images}, **arguments)

    return MethodType(run, getattr(model, "__self__", model))
