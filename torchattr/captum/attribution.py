"""Captum's base classes, for `isinstance` and to derive methods of one's own from."""

from __future__ import annotations

import re
from abc import ABC
from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor

from torchattr import methods
from torchattr.captum.base import DIFFERENTIATED, CaptumMethod, LayerMethod, convergence_delta
from torchattr.core.types import Forward, Tensors


class Attribution(ABC):
    """Base class of all methods.

    The methods of this package count as subclasses of these classes wherever Captum's do, without
    inheriting from them.

    Args:
        forward_func: the model.

    >>> from torchattr.captum import Saliency
    >>> isinstance(Saliency(len), GradientAttribution), isinstance(Saliency(len), LayerAttribution)
    (True, False)
    """

    attribute: Callable[..., Any]
    compute_convergence_delta: Callable[..., Any]

    def __init__(self, forward_func: Forward) -> None:
        self.forward_func = forward_func

    @classmethod
    def get_name(cls) -> str:
        """Return the name of the method in words."""
        return re.sub("(?<!^)(?=[A-Z])", " ", cls.__name__)

    @property
    def multiplies_by_inputs(self) -> bool:
        """Whether attributions have the units of the score."""
        return False

    def has_convergence_delta(self) -> bool:
        """Whether `attribute` accepts `return_convergence_delta`."""
        return False

    def attribute_future(self, *args: Any, **kwargs: Any) -> Any:
        """Not supported: attributions of models that return futures.

        Raises:
            NotImplementedError: always.
        """
        raise NotImplementedError(f"{type(self).__name__} does not support attribute_future")

    @classmethod
    def __subclasshook__(cls, other: type) -> Any:
        # Asked of a class of the user's, too, of which only true subclasses are some.
        counts = _COUNTS.get(cls)
        ours = counts is not None and issubclass(other, CaptumMethod) and counts(other)
        return True if ours else NotImplemented


class GradientAttribution(Attribution):
    """Base class of the methods that take gradients."""

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
        """
        points = (attributions, start_point, end_point, target, additional_forward_args)
        return convergence_delta(self.forward_func, *points)


class PerturbationAttribution(Attribution):
    """Base class of the methods that change inputs."""

    @property
    def multiplies_by_inputs(self) -> bool:
        return True


class InternalAttribution(Attribution):
    """Base class of the methods that look into a model.

    Args:
        forward_func: the model.
        layer: a layer, or several.
        device_ids: for `DataParallel`; not used here.
    """

    layer: Any

    def __init__(
        self, forward_func: Forward, layer: Any, device_ids: Sequence[int] | None = None
    ) -> None:
        super().__init__(forward_func)
        self.layer, self.device_ids = layer, device_ids


class LayerAttribution(InternalAttribution):
    """Base class of the methods that attribute to a layer."""

    interpolate = staticmethod(LayerMethod.interpolate)


class NeuronAttribution(InternalAttribution):
    """Base class of the methods that explain a neuron of a layer."""


def _differentiates(other: type) -> bool:
    return issubclass(other, DIFFERENTIATED)


def _perturbs(other: type) -> bool:
    """Whether a method changes inputs: all do but those that take gradients or wrap others."""
    others = (
        *DIFFERENTIATED,
        methods.NoiseTunnel,
        methods.LayerActivation,
        methods.DataLoaderAttribution,
    )
    return not issubclass(other, others)


def _is_of_layer(other: type) -> bool:
    return issubclass(other, LayerMethod)


def _is_of_neuron(other: type) -> bool:
    # The names of the classes are Captum's.
    return other.__name__.startswith("Neuron")


_COUNTS: dict[type, Callable[[type], bool]] = {
    Attribution: lambda other: True,
    GradientAttribution: _differentiates,
    PerturbationAttribution: _perturbs,
    InternalAttribution: lambda other: _is_of_layer(other) or _is_of_neuron(other),
    LayerAttribution: _is_of_layer,
    NeuronAttribution: _is_of_neuron,
}
"""Which methods of this package count as subclasses."""
