"""What Captum's methods share."""

from __future__ import annotations

import re
from abc import ABC
from collections.abc import Sequence
from typing import Any

from torch import Tensor

from torchattr.core.types import Forward
from torchattr.errors import InputError
from torchattr.methods import enlarge


class CaptumMethod(ABC):
    """What scripts ask of every method of Captum's.

    Attributes:
        multiplies_by_inputs: whether attributions are in the units of the score.
    """

    model: Forward
    multiplies_by_inputs: bool = False
    _gives_delta: bool = False

    @classmethod
    def get_name(cls) -> str:
        """Give the name in words.

        >>> LayerAttribution.get_name()
        'Layer Attribution'
        """
        return re.sub("(?<!^)(?=[A-Z])", " ", cls.__name__)

    @property
    def forward_func(self) -> Forward:
        return self.model

    def has_convergence_delta(self) -> bool:
        """Tell whether `attribute` takes `return_convergence_delta`."""
        return self._gives_delta

    def attribute_future(self, *args: Any, **kwargs: Any) -> Any:
        """Refuse: attributions of models that give futures are not offered.

        Raises:
            NotImplementedError: always.
        """
        raise NotImplementedError(
            f"{type(self).__name__} has no attribute_future here; call attribute, with a forward"
            " that waits for its futures and gives a tensor"
        )


class LayerAttribution(CaptumMethod):
    """What Captum's layer methods share."""

    @staticmethod
    def interpolate(
        layer_attribution: Tensor,
        interpolate_dims: int | tuple[int, ...],
        interpolate_mode: str = "nearest",
    ) -> Tensor:
        """Resize attributions `(N, C, ...)` of a layer to spatial extents, often the input's.

        Args:
            layer_attribution: what a layer method gave.
            interpolate_dims: the extents; an int serves for all dimensions.
            interpolate_mode: a mode of `F.interpolate`.

        Raises:
            ShapeError: another number of spatial dimensions.
            InputError: a mode that does not exist, or is not for so many dimensions.
        """
        if isinstance(interpolate_dims, int):
            interpolate_dims = (interpolate_dims,) * (layer_attribution.dim() - 2)
        return enlarge(layer_attribution, interpolate_dims, interpolate_mode)


def one_device(device_ids: Sequence[int] | None) -> Sequence[int] | None:
    if device_ids is not None and len(device_ids) > 1:
        raise InputError(
            f"device_ids names {len(device_ids)} devices ({', '.join(map(str, device_ids))}), but a"
            " model is run as it is, on the device of its inputs; pass the module inside the"
            " DataParallel (model.module), and device_ids=None or one device"
        )
    return device_ids


def in_captums_form(found: Any) -> Any:
    """Give a list for several layers, and a tensor for a layer that holds a single one."""
    if isinstance(found, dict):
        return [bare(values) for values in found.values()]
    return bare(found)


def bare(values: Any) -> Any:
    return values[0] if isinstance(values, tuple) and len(values) == 1 else values
