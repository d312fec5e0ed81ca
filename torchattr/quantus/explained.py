"""What explains, under Quantus' convention: a function of model, inputs and targets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from torchattr.core.arrays import tensor_of
from torchattr.core.targets import Classes
from torchattr.errors import InputTypeError
from torchattr.methods import Attribution, build
from torchattr.quantus.normalising import Normalising


class Explained(Attribution):
    """What users pass as `explain_func`, as a method of torchattr.

    Args:
        model: the model.
        explain_func: a function of model, inputs and targets; or a method of torchattr: an object,
            a class or a name.
        arguments: further arguments of it.
        normalising: what is done to the maps.
        as_arrays: whether a function gets arrays.

    Raises:
        InputTypeError: nothing that explains.
    """

    def __init__(
        self,
        model: Any,
        explain_func: Any,
        arguments: Mapping[str, Any],
        normalising: Normalising,
        as_arrays: bool,
    ) -> None:
        super().__init__(model)
        is_method = isinstance(explain_func, (str, Attribution))
        if not is_method and not callable(explain_func):
            raise InputTypeError(
                "explain_func must be a function (model, inputs, targets), or a method of"
                f" torchattr, got {type(explain_func).__name__}"
            )
        self._is_method = is_method or isinstance(explain_func, type)
        self._explain_func: Any = explain_func
        self._arguments = arguments
        self._normalising, self._as_arrays = normalising, as_arrays

    def attribute(
        self, inputs: Tensor, target: Any = None, additional_forward_args: Any = None
    ) -> Tensor:
        """Return the maps of inputs for one class each, or several; there are no other arguments.

        Raises:
            InputTypeError: further arguments.
        """
        if additional_forward_args not in (None, ()):
            raise InputTypeError("a function of model, inputs and targets takes no other arguments")
        if isinstance(target, Classes):
            return torch.stack([self.attribute(inputs, one) for one in target.indices], 1)
        classes = torch.as_tensor(target, device=inputs.device).reshape(-1).expand(len(inputs))
        explained = self._by_method if self._is_method else self._by_function
        return self._normalising.applied(explained(inputs, classes), inputs)

    def _by_method(self, inputs: Tensor, classes: Tensor) -> Tensor:
        method: Any = build(self._explain_func, self.model)
        found: Tensor = method.attribute(inputs, target=classes, **self._arguments)
        return found

    def _by_function(self, inputs: Tensor, classes: Tensor) -> Tensor:
        given: Any = [inputs.detach(), classes]
        if self._as_arrays:
            given = [one.cpu().numpy() for one in given]
        found = self._explain_func(
            model=self.model, inputs=given[0], targets=given[1], **self._arguments
        )
        return as_tensor(found, "what explain_func returned").to(inputs.device)


def as_tensor(values: Any, name: str) -> Tensor:
    """Return an array or a tensor as a tensor.

    Raises:
        InputTypeError: neither.
    """
    if isinstance(values, Tensor):
        return values.detach()
    array = np.asarray(values)
    if array.dtype.kind not in "biuf":
        raise InputTypeError(
            f"{name} must be a tensor or an array of numbers, got {type(values).__name__}"
        )
    return tensor_of(array)
