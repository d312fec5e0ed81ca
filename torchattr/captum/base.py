"""Base classes of the methods under Captum's names."""

from __future__ import annotations

import re
from abc import ABC
from collections.abc import Sequence
from typing import Any

from torch import Tensor

from torchattr.captum.targets import take_captums_targets
from torchattr.core.types import Forward
from torchattr.errors import InputError
from torchattr.methods import enlarge


class CaptumMethod(ABC):
    """The attributes and methods that Captum's methods have in common.

    All of them take Captum's targets, in which a negative class counts from the end.

    Attributes:
        multiplies_by_inputs: whether attributions have the units of the score.
    """

    model: Forward
    multiplies_by_inputs: bool = False
    _gives_delta: bool = False

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        for name in ("attribute", "compute_convergence_delta"):
            take_captums_targets(cls, name)

    @classmethod
    def get_name(cls) -> str:
        """Return the name of the method in words.

        >>> LayerAttribution.get_name()
        'Layer Attribution'
        """
        return re.sub("(?<!^)(?=[A-Z])", " ", cls.__name__)

    @property
    def forward_func(self) -> Forward:
        return self.model

    def has_convergence_delta(self) -> bool:
        """Whether `attribute` accepts `return_convergence_delta`."""
        return self._gives_delta

    def attribute_future(self, *args: Any, **kwargs: Any) -> Any:
        """Not supported: attributions of models that return futures.

        Raises:
            NotImplementedError: always.
        """
        raise NotImplementedError(
            f"{type(self).__name__} does not support attribute_future; call attribute with a"
            " forward that waits for its futures and returns a tensor"
        )


class LayerAttribution(CaptumMethod):
    """Base class of Captum's layer methods."""

    @staticmethod
    def interpolate(
        layer_attribution: Tensor,
        interpolate_dims: int | tuple[int, ...],
        interpolate_mode: str = "nearest",
    ) -> Tensor:
        """Resize attributions `(N, C, ...)` of a layer to a spatial size, usually the input's.

        Args:
            layer_attribution: the result of a layer method.
            interpolate_dims: the spatial size; an int is used for all dimensions.
            interpolate_mode: a mode of `F.interpolate`.

        Raises:
            ShapeError: a wrong number of spatial dimensions.
            InputError: an unknown mode, or one that does not support this number of dimensions.
        """
        if isinstance(interpolate_dims, int):
            interpolate_dims = (interpolate_dims,) * (layer_attribution.dim() - 2)
        return enlarge(layer_attribution, interpolate_dims, interpolate_mode)


def one_device(device_ids: Sequence[int] | None) -> Sequence[int] | None:
    if device_ids is not None and len(device_ids) > 1:
        raise InputError(
            f"device_ids names {len(device_ids)} devices ({', '.join(map(str, device_ids))}), but"
            " the model runs as it is, on the device of its inputs; pass the module inside the"
            " DataParallel (model.module), and device_ids=None or one device"
        )
    return device_ids


def in_captums_form(result: Any) -> Any:
    """Return a list for several layers, and a tensor for a layer with a single one."""
    if isinstance(result, dict):
        return [bare(values) for values in result.values()]
    return bare(result)


def bare(values: Any) -> Any:
    return values[0] if isinstance(values, tuple) and len(values) == 1 else values
