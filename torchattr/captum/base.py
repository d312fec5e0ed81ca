"""Base classes of the methods under Captum's names."""

from __future__ import annotations

import re
from abc import ABC
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from torchattr import methods
from torchattr.captum.targets import take_captums_targets
from torchattr.core.arguments import plain_numbers
from torchattr.core.inputs import as_arguments, as_inputs, as_tensors
from torchattr.core.targets import OnlyValue, plain
from torchattr.core.types import Forward, OutputKey, Tensors
from torchattr.errors import InputError, InputTypeError
from torchattr.methods import enlarge

DIFFERENTIATED = (
    methods.GradientAttribution,
    methods.PathAttribution,
    methods.RescaleAttribution,
)
"""The methods that take gradients, which refuse several values without a target in Captum."""


class CaptumMethod(ABC):
    """The attributes and methods that Captum's methods have in common.

    All of them take Captum's targets, in which a negative class counts from the end.

    Attributes:
        multiplies_by_inputs: whether attributions have the units of the score.
    """

    model: Forward
    output: OutputKey
    multiplies_by_inputs: bool = False
    _gives_delta: bool = False

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        for name in ("attribute", "compute_convergence_delta"):
            take_captums_targets(cls, name)

    @classmethod
    def get_name(cls) -> str:
        """Return the name of the method in words.

        >>> LayerMethod.get_name()
        'Layer Method'
        """
        return re.sub("(?<!^)(?=[A-Z])", " ", cls.__name__)

    @property
    def forward_func(self) -> Forward:
        return self.model

    def has_convergence_delta(self) -> bool:
        """Whether `attribute` accepts `return_convergence_delta`."""
        return self._gives_delta

    def compute_convergence_delta(
        self,
        attributions: Tensors,
        start_point: Any,
        end_point: Tensors,
        target: Any = None,
        additional_forward_args: Any = None,
    ) -> Tensor:
        """Return the sum of the attributions minus `s(end) − s(start)`, `(N,)`.

        Args:
            attributions: the attributions of the difference between both points.
            start_point: for each input a number, or a tensor that broadcasts to it.
            end_point: the inputs.
            target: the same target as for the attributions.
            additional_forward_args: the same arguments.

        Raises:
            InputError: attributions or points that do not fit each other.
        """
        own = getattr(super(), "compute_convergence_delta", None)
        only = OnlyValue() if target is None else target
        points = (attributions, start_point, end_point, only, additional_forward_args)
        return own(*points) if own else convergence_delta(self.model, *points, output=self.output)

    def attribute_future(self, *args: Any, **kwargs: Any) -> Any:
        """Not supported: attributions of models that return futures.

        Raises:
            NotImplementedError: always.
        """
        raise NotImplementedError(
            f"{type(self).__name__} does not support attribute_future; call attribute with a"
            " forward that waits for its futures and returns a tensor"
        )


class LayerMethod(CaptumMethod):
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
        interpolate_dims = plain_numbers(interpolate_dims)
        if isinstance(interpolate_dims, int):
            interpolate_dims = (interpolate_dims,) * (layer_attribution.dim() - 2)
        return enlarge(layer_attribution, interpolate_dims, interpolate_mode)


def one_device(device_ids: Sequence[int] | None) -> Sequence[int] | None:
    if isinstance(plain(device_ids), int):
        raise InputTypeError(
            f"device_ids must be a list of devices or None, got {device_ids!r}; the model runs as"
            " it is, on the device of its inputs"
        )
    if device_ids is not None and len(device_ids) > 1:
        raise InputError(
            f"device_ids names {len(device_ids)} devices ({', '.join(map(str, device_ids))}), but"
            " the model runs as it is, on the device of its inputs; pass the module inside the"
            " DataParallel (model.module), and device_ids=None or one device"
        )
    return device_ids


def drawn_seeds(inputs: Tensors) -> list[int]:
    """Return a random seed for each example, which `torch.manual_seed` determines."""
    count = as_inputs(inputs).batch_size
    return torch.randint(2**63 - 1, (count,)).tolist()


def in_captums_form(result: Any) -> Any:
    """Return a list for several layers, and a tensor for a layer with a single one."""
    if isinstance(result, dict):
        return [bare(values) for values in result.values()]
    return bare(result)


def with_deltas(found: Any, given: bool) -> Any:
    """Return attributions in Captum's form, with their deltas if these are given."""
    return tuple(map(in_captums_form, found)) if given else in_captums_form(found)


def bare(values: Any) -> Any:
    return values[0] if isinstance(values, tuple) and len(values) == 1 else values


def check_grad_kwargs(grad_kwargs: Mapping[str, Any] | None) -> bool:
    """Return whether arguments of `torch.autograd.grad` ask for zeros where there is no gradient.

    Raises:
        InputError: they would change its result.
    """
    changing = {
        name for name, value in (grad_kwargs or {}).items() if value and name not in _ACCEPTED
    }
    if changing:
        raise InputError(
            f"grad_kwargs sets {', '.join(sorted(changing))}, but the gradient is always that of"
            f" the target, without a graph; only {', '.join(_ACCEPTED)} are"
            " accepted"
        )
    return bool((grad_kwargs or {}).get("materialize_grads"))


_ACCEPTED = ("retain_graph", "allow_unused", "materialize_grads")


def convergence_delta(
    model: Forward,
    attributions: Tensors,
    start_point: Any,
    end_point: Tensors,
    target: Any = None,
    additional_forward_args: Any = None,
    *,
    output: OutputKey = None,
) -> Tensor:
    """Return the sum of attributions minus `s(end) − s(start)`, `(N,)`.

    Raises:
        InputError: attributions or points that do not fit each other.
        TargetError: no target, or several, for several values.
    """
    path = methods.IntegratedGradients(model, output=output)
    given = as_inputs(end_point)
    for values in as_tensors(attributions, "attributions"):
        if values.dim() == 0 or len(values) != given.batch_size:
            raise InputError(
                f"attributions have the shape {tuple(values.shape)} for {given.batch_size}"
                " examples; pass one row for each"
            )
    only = OnlyValue() if target is None else target
    arguments = as_arguments(additional_forward_args)
    return path.compute_convergence_delta(attributions, start_point, end_point, only, arguments)
