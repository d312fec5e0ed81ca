"""The options of a method by name, and the method made with them for a loaded model."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, final

import torch
from PIL import Image
from torch import Tensor

from torchattr.core.registry import OPTIONS_CUTOFF, closest, suggest
from torchattr.core.squares import square_features
from torchattr.core.types import Activation, Layers, OutputKey
from torchattr.errors import Hint, InputError, Listing, WayOut
from torchattr.methods import Attribution, build, find_method, registered_methods, takes
from torchattr.models import LoadedModel
from torchattr.runs.forms import Field, Form, refuse_unknown

CELLS = 14
_TITLES = 8
_OWNERS = 2
_SIDE = 64

_ALL_OPTIONS = WayOut(
    "those of each are listed by {setting}", "options", Listing("help() of the method's class")
)

Options = dict[str, Any]


@final
@dataclass(frozen=True)
class MethodForm:
    """A registered method with two forms: for its constructor and for `attribute`.

    Attributes:
        name: the name it is registered under.
        method: its class.

    >>> form = MethodForm.of("rise")
    >>> form.read({"n_masks": 40})
    ({}, {'n_masks': 40})
    """

    name: str
    method: type[Attribution]

    @classmethod
    def of(cls, name: str) -> MethodForm:
        """Return the forms of a method.

        Raises:
            RegistryError: an unknown method.
        """
        return cls(name, find_method(name))

    @cached_property
    def made(self) -> Form:
        return Form.of(self.method, self.method)

    @cached_property
    def called(self) -> Form:
        return Form.of(self.method, self.method.attribute)

    @property
    def fields(self) -> tuple[Field, ...]:
        return (*self.made.fields, *self.called.fields)

    @property
    def missing(self) -> tuple[str, ...]:
        """The required arguments that no field can supply."""
        return (*self.made.missing, *self.called.missing)

    def read(self, values: Mapping[str, Any]) -> tuple[Options, Options]:
        """Return the validated arguments for the constructor and for `attribute`.

        Raises:
            InputError, InputTypeError: an unknown name, or an invalid value.
        """
        refuse_unknown(values, (self.made, self.called))
        return self.made.read(values), self.called.read(values)

    def bounded(self, loaded: LoadedModel, made: Mapping[str, Any]) -> Options:
        """Return arguments of the constructor with the bounds of the model's pictures.

        They are added where the method takes some and the arguments hold none.
        """
        if takes(self.method, "low") and made.get("low") is made.get("high") is None:
            return {**made, **input_bounds(loaded)}
        return dict(made)

    def build(
        self,
        loaded: LoadedModel,
        made: Mapping[str, Any],
        *,
        layer: Layers | None = None,
        rules: Mapping[str, str] | None = None,
        output: OutputKey = None,
    ) -> Attribution:
        """Return the method for a model, with arguments of its constructor.

        Args:
            loaded: the model; bounds of the inputs are those of its pictures.
            made: the arguments, as :meth:`read` returns them.
            layer: the layer, unless the arguments name one.
            rules: as for :func:`torchattr.explain`, unless the arguments name some.
            output: the entry of the model's output that holds the scores.
        """
        options = {
            name: value
            for name, value in self.bounded(loaded, made).items()
            if value is not None or name not in ("layer", "rules")
        }
        return build(
            self.method,
            loaded.model,
            layer=layer,
            rules=rules,
            output=output,
            options=options,
        )

    def call_options(self, called: Mapping[str, Any], inputs: Tensor, own: Activation) -> Options:
        """Return the options of `attribute` for pictures; some have better values than its own.

        Ablating single pixels would take far too many forwards, so squares are ablated; a window
        has all channels; and the activation that turns scores into probabilities is the model's.

        Args:
            called: those that were given, as :meth:`read` returns them.
            inputs: the pictures.
            own: the activation of the model.
        """
        names = [field.name for field in self.called.fields]
        options = dict(called)
        if "feature_mask" in names:
            options["feature_mask"] = options.get("feature_mask") or CELLS
        options = square_features(options, inputs)
        if "activation" in names and options.get("activation") is None:
            options["activation"] = own
        return options


def options_by_method(texts: Sequence[str], names: Sequence[str]) -> dict[str, Options]:
    """Return the options of each method from texts: `n_steps=20`, or `rise.n_masks=40`.

    An option without a method is that of all methods that have it.

    Args:
        texts: the options.
        names: the names of the methods.

    Raises:
        InputError: a text of another form, an option that no method has, or an invalid value.
        RegistryError: an option of an unknown method.

    >>> options_by_method(["n_steps=20", "rise.n_masks=40"], ["rise", "integrated_gradients"])
    {'rise': {'n_masks': 40}, 'integrated_gradients': {'n_steps': 20}}
    """
    forms = [MethodForm.of(name) for name in names]
    options: dict[str, Options] = {name: {} for name in names}
    for text in texts:
        key, equals, value = text.partition("=")
        method, dot, name = key.strip().rpartition(".")
        if not (equals and name):
            raise InputError(
                f"an option must be NAME=VALUE or METHOD.NAME=VALUE, such as n_steps=20, got"
                f" {text!r}"
            )
        if dot and method not in names:
            find_method(method)  # Says so of one that does not exist.
            raise InputError(
                f"the option {text!r} is for {method}, which is not among the methods;"
                f" {suggest(method, names)}"
            )
        chosen = [form for form in forms if method in ("", form.name)]
        for form, field in _taking(name, chosen, text):
            options[form.name][name] = field.parse(value.strip())
    return options


def _taking(name: str, forms: Iterable[MethodForm], text: str) -> list[tuple[MethodForm, Field]]:
    """Return the methods that have an option, with the field of it.

    Raises:
        InputError: none has it.
    """
    forms = list(forms)
    fields = [(form, field) for form in forms for field in form.fields]
    taking = [(form, field) for form, field in fields if field.name == name]
    if not taking:
        known = dict.fromkeys(field.name for _, field in fields)
        raise InputError(
            f"no option {name!r} of {_titles(form.name for form in forms)}, got {text!r};"
            f" {_owners(name, known) or suggest(name, known, cutoff=OPTIONS_CUTOFF)}",
            hint=Hint(ways_out=[_ALL_OPTIONS]),
        )
    return taking


def _owners(name: str, known: Iterable[str]) -> str:
    """Return which other methods have an option of that name, if no known one is close to it."""
    if closest(name, known, cutoff=OPTIONS_CUTOFF):
        return ""
    others = map(MethodForm.of, registered_methods())
    owners = [one.name for one in others if any(field.name == name for field in one.fields)]
    if not owners:
        return ""
    named, more = owners[:_OWNERS], len(owners) - _OWNERS
    listed = f"{', '.join(named)} and {more} more" if more > 0 else " and ".join(named)
    return f"{listed} {'has' if len(owners) == 1 else 'have'} it"


def _titles(names: Iterable[str]) -> str:
    """Return the names of the methods, or how many they are."""
    known = list(dict.fromkeys(names))
    if len(known) > _TITLES:
        return f"any of {len(known)} methods"
    return ", ".join(known) or "these methods"


def input_bounds(loaded: LoadedModel) -> dict[str, Tensor]:
    """Return the lowest and highest value of each channel, those of a black and a white picture.

    >>> from torchattr.models import load_model
    >>> input_bounds(load_model("demo"))["low"].shape
    torch.Size([1, 3, 1, 1])
    """
    black, white = (
        loaded.preprocess(Image.new("RGB", (_SIDE, _SIDE), color)).tensor.amax((1, 2), True)[None]
        for color in ("black", "white")
    )
    return {"low": torch.minimum(black, white), "high": torch.maximum(black, white)}
