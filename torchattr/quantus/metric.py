"""What all metrics have in common: their options, and the form of a call."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from inspect import Signature
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from torchattr.core.arguments import plain_numbers
from torchattr.core.outputs import activated_by
from torchattr.core.types import Activation
from torchattr.core.warn import unheard
from torchattr.errors import InputError, InputTypeError, ShapeError
from torchattr.layers import Trace
from torchattr.quantus.explained import Explained, as_tensor
from torchattr.quantus.normalising import Normalising
from torchattr.quantus.signatures import bound, signature


@dataclass(frozen=True)
class Batch:
    """Examples to measure, as tensors on the model's device.

    Attributes:
        x: the inputs, channels first.
        y: the explained class of each.
        method: explains inputs, as the metric's options want maps.
        given: maps that were passed, in the same form.
        masks: segmentation masks.
        custom: what else was passed.
        activation: how the model's scores become what is measured.
    """

    model: Any
    x: Tensor
    y: Tensor
    method: Explained | None
    given: Tensor | None
    masks: Any
    custom: Any
    activation: Activation

    @property
    def maps(self) -> Tensor:
        """The maps of the examples, computed if none were passed.

        Raises:
            InputTypeError: neither maps nor what explains.
        """
        return self.explaining.attribute(self.x, self.y) if self.given is None else self.given

    @property
    def explaining(self) -> Explained:
        """What explains inputs.

        Raises:
            InputTypeError: nothing was passed.
        """
        if self.method is None:
            raise InputTypeError(
                "explain_func is missing: pass a function (model, inputs, targets), such as"
                " torchattr.quantus.explain, or a method of torchattr"
            )
        return self.method

    @property
    def scored(self) -> Any:
        """The model with the scores that are measured: raw ones, or probabilities."""
        if self.activation == "none":
            return self.model
        probabilities = activated_by(self.activation)
        return lambda x: probabilities(self.model(x))

    @property
    def class_scores(self) -> Tensor:
        """What the model returns for the examples, `(N, classes)`."""
        return Trace(self.model, (self.x,), differentiable=False).output

    @property
    def predictions(self) -> Tensor:
        """The predicted class of each example."""
        return self.class_scores.argmax(1)

    def parts(self, size: int) -> Iterator[Batch]:
        """Yield some examples after another."""
        for start in range(0, len(self.x), size):
            own = slice(start, start + size)
            yield replace(
                self,
                x=self.x[own],
                y=self.y[own],
                given=None if self.given is None else self.given[own],
                masks=None if self.masks is None else self.masks[own],
                custom=None if self.custom is None else self.custom[own],
            )


class Metric(ABC):
    """A metric under Quantus' name, measured by :mod:`torchattr.evaluate`.

    The options of the constructor and their defaults are Quantus 0.6's. What is not offered here
    is refused by name if it is given. Called with Quantus' arguments, a metric returns a list of
    scores, one for each example; nothing of a call remains in the object.

    A subclass states its `defaults`, and returns the scores of a batch. It may offer them in
    another form than a list (`collected`).
    """

    defaults: ClassVar[Mapping[str, Any]]
    refused: ClassVar[Mapping[str, str]] = {}
    """Options that are not offered, with what to do instead."""
    softmax: ClassVar[bool | None] = False
    """Whether the scores are probabilities by default."""
    normalises: ClassVar[bool] = True
    """Whether maps may be normalised: what a metric measures can be lost by it."""
    whole: ClassVar[bool] = False
    """Whether examples are compared with each other, so that a batch is not divided."""
    __signature__: ClassVar[Signature]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if hasattr(cls, "defaults"):
            cls.__signature__ = signature(cls.defaults)

    def __init__(self, *args: Any, **given: Any) -> None:
        name = type(self).__name__
        self.options = bound(name, self.defaults, args, given)
        for option, why in {**_REFUSED, **self.refused}.items():
            if option in self.options and self.options[option] != self.defaults[option]:
                raise InputError(f"{name} does not take {option} here: {why}")

    def __call__(
        self,
        model: Any,
        x_batch: Any,
        y_batch: Any,
        a_batch: Any = None,
        s_batch: Any = None,
        channel_first: bool | None = None,
        explain_func: Any = None,
        explain_func_kwargs: Mapping[str, Any] | None = None,
        model_predict_kwargs: Mapping[str, Any] | None = None,
        softmax: bool | None = None,
        device: Any = None,
        batch_size: int = 64,
        custom_batch: Any = None,
    ) -> Any:
        """Return a list of scores, one for each example, or a single one if they are aggregated.

        Args:
            model: the model; metrics that do not run it take `None`.
            x_batch: inputs, an array or a tensor; arrays are handed to `explain_func` as arrays.
            y_batch: the class of each that is explained.
            a_batch: their maps; computed by `explain_func` if missing.
            s_batch: their masks.
            channel_first: `False` for channels last.
            explain_func: `(model, inputs, targets, **kwargs)` to maps; or a method of torchattr: an
                object, a class or a name.
            explain_func_kwargs: further arguments of that.
            model_predict_kwargs: not offered: pass a function as the model.
            softmax: whether probabilities are measured instead of raw scores; `None` is the
                metric's default.
            device: where the inputs are moved.
            batch_size: number of examples measured at once.
            custom_batch: what else a metric needs of each example.

        Raises:
            InputError, InputTypeError, ShapeError: arguments that do not fit.
        """
        if model_predict_kwargs:
            raise InputError(
                "model_predict_kwargs is not offered here: pass a function that calls the model"
                " with these arguments as model"
            )
        x = as_tensor(x_batch, "x_batch").to(device)
        x = x.movedim(-1, 1) if channel_first is False else x
        y = as_tensor(y_batch, "y_batch").to(x.device).long().reshape(-1)
        if len(y) != len(x):
            raise ShapeError(f"y_batch has {len(y)} classes for {len(x)} examples")
        as_arrays = not isinstance(x_batch, Tensor)
        normalising = Normalising.of(self.options) if self.normalises else Normalising()
        method = None
        if explain_func is not None:
            arguments = explain_func_kwargs or {}
            method = Explained(model, explain_func, arguments, normalising, as_arrays)
        given = None
        if a_batch is not None:
            given = normalising.applied(as_tensor(a_batch, "a_batch").to(x.device), x)
        scaled = self.softmax if softmax is None else softmax
        masks = None if s_batch is None else as_tensor(s_batch, "s_batch").to(x.device)
        activation: Activation = "softmax" if scaled else "none"
        batch = Batch(model, x, y, method, given, masks, custom_batch, activation)
        return self._aggregated(self._measured(batch, batch_size))

    @abstractmethod
    def scores(self, batch: Batch) -> Sequence[Any] | Tensor:
        """Return one score for each example of a batch."""

    def collected(self, scores: list[Any]) -> Any:
        """Return the scores of all examples as users get them; a list by default."""
        return scores

    def _measured(self, batch: Batch, batch_size: int) -> list[Any]:
        found: list[Any] = []
        with ExitStack() as stack:
            if self.options["disable_warnings"]:
                stack.enter_context(unheard())
            for part in [batch] if self.whole else batch.parts(batch_size):
                scores = self.scores(part)
                found.extend(scores.tolist() if isinstance(scores, Tensor) else scores)
        return found

    def _aggregated(self, scores: list[Any]) -> Any:
        if not self.options["return_aggregate"]:
            return self.collected(scores)
        aggregate: Callable[[Any], Any] = self.options["aggregate_func"] or np.mean
        return [aggregate(scores)]

    def perturbing(self, **defaults: Any) -> Callable[[Tensor], Tensor] | None:
        """Return the `perturb_func` of the options as a function of tensors, if there is one.

        Args:
            defaults: arguments that it gets besides those of the options.
        """
        function = self.options["perturb_func"]
        if function is None:
            return None
        arguments = {**defaults, **(self.options["perturb_func_kwargs"] or {})}

        def perturbed(rows: Tensor) -> Tensor:
            array = rows.flatten(1).cpu().numpy()
            indices = np.tile(np.arange(array.shape[1]), (len(array), 1))
            found = function(arr=array, indices=indices, **arguments)
            return torch.as_tensor(found).to(rows).reshape(rows.shape)

        return perturbed


def baseline(name: Any, x: Tensor) -> Any:
    """Return what Quantus calls by the name of a baseline: a number, or one for each example.

    Raises:
        InputError: an unknown name.
    """
    name = plain_numbers(name)
    if isinstance(name, (int, float)) and not isinstance(name, bool):
        return float(name)
    flat = x.detach().flatten(1)
    made: dict[str, Any] = {"black": flat.amin, "white": flat.amax, "mean": flat.mean}
    if name not in made:
        raise InputError(
            f"perturb_baseline must be a number or one of {', '.join(map(repr, made))}, got"
            f" {name!r}"
        )
    found: Tensor = made[name](1)
    return found.reshape(-1, *(1 for _ in x.shape[1:]))


_REFUSED = {
    "default_plot_func": "plot what a metric of torchattr.evaluate returns, such as Curve.plot()",
}
