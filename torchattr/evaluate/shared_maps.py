"""The maps of several methods for several models, all from one forward of each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor

from torchattr.core.arguments import check_model
from torchattr.core.batch_parts import (
    can_be_cut,
    part_of_arguments,
    part_of_methods,
    part_of_target,
)
from torchattr.core.inputs import Inputs, as_arguments
from torchattr.core.stepping import step
from torchattr.core.targets import bundle
from torchattr.core.types import Layers, OutputKey
from torchattr.core.warn import unheard
from torchattr.errors import InputError, InputTypeError, Message, TorchattrError
from torchattr.evaluate.measured_inputs import measured_inputs
from torchattr.evaluate.measured_maps import undefined
from torchattr.evaluate.perturbed_rows import SampleNoise, copies_at_once
from torchattr.evaluate.randomised_model import RandomisedModel
from torchattr.explanation import Explanation, MethodLike, explain
from torchattr.methods import (
    Attribution,
    TargetScores,
    default_layer,
    each_method,
    fitting,
    name_of,
    repeat_options,
    repeat_rows,
    takes,
    value_ranges,
)
from torchattr.show import COLOR, style_of

Methods: TypeAlias = "MethodLike | Sequence[MethodLike] | Mapping[Any, Mapping[str, Any]]"
Maps: TypeAlias = dict[str, Tensor]
Reading = Literal["signed", "magnitude", "evidence"]
"""How the channels of a map are summed: with their signs, by magnitude, or by magnitude where the
sign is no evidence."""


@dataclass(frozen=True)
class Noise:
    """Noise over which maps are averaged.

    Attributes:
        samples: the number of noisy copies of each example.
        level: its standard deviation, as a share of the range of each example's values.
        seed: its seed.
    """

    samples: int
    level: float
    seed: int


@dataclass(frozen=True, eq=False)
class Question:
    """What is explained by which methods, the same for each model that it is asked of.

    Attributes:
        inputs: the pictures, a tensor.
        methods: the methods.
        target: what is explained, fixed for each example.
        layer: the layer for methods that use one.
        rules: rules for methods that have rules.
        arguments: further arguments of the models.
        output: which entry of their output holds the scores.
        scores: all scores of the model that it was asked of first.
        refused: why methods were left out, by name.
        reading: how maps are read.
        at_once: how many pictures fit into memory at once; `None` is all of them.
    """

    inputs: Tensor
    methods: Methods
    target: Any
    layer: Layers | None = None
    rules: Mapping[str, Any] | None = None
    arguments: tuple[Any, ...] = ()
    output: OutputKey = None
    scores: Tensor | None = None
    refused: Mapping[str, Message] = field(default_factory=dict)
    reading: Reading = "signed"
    at_once: int | None = None

    def parts(self) -> Iterator[Question]:
        """Yield the question for as many pictures at a time as fit into memory."""
        size = self.at_once or len(self.inputs)
        for start in range(0, len(self.inputs), size):
            yield self.part(slice(start, start + size))

    def part(self, rows: slice) -> Question:
        """Return the question for some of the pictures."""
        count = len(self.inputs)
        return replace(
            self,
            inputs=self.inputs[rows],
            methods=part_of_methods(self.methods, count, rows),
            target=part_of_target(self.target, rows),
            arguments=part_of_arguments(self.arguments, count, rows),
            scores=None if self.scores is None else self.scores[rows],
            at_once=None,
        )

    def of(self, model: Any, *, quiet: bool = False) -> Explanation:
        """Explain a model.

        Args:
            model: the model.
            quiet: drop warnings, and leave out what cannot be explained: for models that are meant
                to be broken.
        """
        step()
        with unheard() if quiet else nullcontext():
            return explain(
                model,
                self.inputs,
                self.methods,
                self.target,
                layer=self.layer,
                rules=self.rules,
                additional_forward_args=self.arguments,
                output=self.output,
                skip_refused=quiet,
            )

    def maps(self, model: Any, *, quiet: bool = False) -> Maps:
        """Return the map of each example for the target, `(N, h, w)` by method."""
        return {name: maps[:, 0] for name, maps in self.planes(model, quiet=quiet).items()}

    def planes(self, model: Any, *, quiet: bool = False) -> Maps:
        """Return the maps of each target, `(N, targets, h, w)` in double precision, by method."""
        found = self.of(model, quiet=quiet)
        return {name: _planes(name, found[name], self.reading) for name in found}

    def noisy_maps(self, model: Any, noise: Noise, *, quiet: bool = False) -> Iterator[Maps]:
        """Return the maps of each noisy copy of the examples, one after another."""
        given = Inputs((self.inputs,), False)
        drawn = SampleNoise(given, noise.seed)
        spread = noise.level * value_ranges(self.inputs)
        at_once = max(1, min(copies_at_once(given), _MOST_ROWS // len(self.inputs)))
        for start in range(0, noise.samples, at_once):
            copies = min(at_once, noise.samples - start)
            rows = repeat_rows(self.inputs, copies)
            (unit,) = drawn.normal(start, start + copies)
            noisy = self._repeated(rows + unit * repeat_rows(spread, copies), copies)
            maps = noisy.maps(model, quiet=quiet)
            parts = {name: one.chunk(copies) for name, one in maps.items()}
            for k in range(copies):
                yield {name: of[k] for name, of in parts.items()}

    def smooth_maps(self, model: Any, noise: Noise, *, quiet: bool = False) -> Maps:
        """Return the maps averaged over noisy copies of the examples."""
        total: Maps = {}
        for maps in self.noisy_maps(model, noise, quiet=quiet):
            total = {name: total[name] + one if total else one for name, one in maps.items()}
        return {name: one / noise.samples for name, one in total.items()}

    def beside(self, random: RandomisedModel) -> Question:
        """Return the question as it is asked of a randomised copy, with that copy's layers."""
        methods, layer, target = random.beside
        return replace(self, methods=methods, layer=layer, target=target)

    def randomised(self, model: Any, seed: int) -> RandomisedModel:
        """Return a copy of the model to randomise, with what refers to its layers."""
        refers = (self.methods, self.layer, self.target)
        first = next(self.parts())
        return RandomisedModel(model, first.inputs, first.arguments, seed=seed, beside=refers)

    def aimed_at(self, *targets: Any) -> Question:
        """Return the same question for several targets at once."""
        return replace(self, target=bundle(targets))

    def _repeated(self, inputs: Tensor, copies: int) -> Question:
        given = Inputs((self.inputs,), False)
        whole = {"target": self.target, "additional_forward_args": self.arguments}
        repeated = repeat_options(whole, given, copies)
        methods = self.methods
        if isinstance(methods, Mapping):
            methods = {one: repeat_options(of, given, copies) for one, of in methods.items()}
        arguments = as_arguments(repeated["additional_forward_args"])
        return replace(
            self, inputs=inputs, methods=methods, target=repeated["target"], arguments=arguments
        )


_MOST_ROWS = 64
"""Noisy pictures in a forward; more are no faster, and each method keeps its own maps."""


def asked(
    model: Any,
    inputs: Any,
    methods: Methods,
    target: Any,
    *,
    layer: Layers | None = None,
    rules: Mapping[str, Any] | None = None,
    additional_forward_args: Any = None,
    output: OutputKey = None,
    skip_refused: bool = False,
    reading: Reading = "signed",
) -> Question:
    """Return the question with what it leaves open decided for the model.

    The predicted classes and the default layer are those of the model, for each of its copies, too.
    With `skip_refused`, methods that do not fit the model are left out and recorded in `refused`.

    Raises:
        InputTypeError: several inputs, or a model that cannot be called.
        InputError: no pictures, several targets for each picture, or no method fits.
    """
    check_model(model)
    tensor = _one_tensor(inputs)
    arguments = as_arguments(additional_forward_args)
    kept = list(methods) if isinstance(methods, (list, tuple)) else methods
    question = Question(tensor, kept, target, layer, rules, arguments, output, reading=reading)
    if layer is None and any(map(_chooses_layer, each_method(methods))):
        question = _with_default_layer(question, model)
    if skip_refused:
        question = _fitting(question, model)
    question = replace(question, at_once=_fitting_at_once(question, model))
    found = [_scores(part, model) for part in question.parts()]
    for scores in found:
        if scores.several:
            raise InputError(
                f"target must name one value for each picture, got {target!r}; call once for each"
            )
    return replace(
        question,
        target=_joined_target(target, [scores.targets[0] for scores in found]),
        scores=torch.cat([scores.trace.output.detach() for scores in found]),
    )


def joined(parts: Iterable[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """Return what was measured on parts of the pictures as of all, `(N, ...)` by method."""
    found = list(parts)
    return {name: torch.cat([one[name] for one in found]) for name in found[0]}


def _scores(question: Question, model: Any) -> TargetScores:
    given = Inputs((question.inputs,), False)
    return TargetScores(model, given, question.target, question.arguments, question.output)


def _joined_target(target: Any, parts: Sequence[Any]) -> Any:
    """Return what is explained, as it was found for parts of the pictures."""
    if len(parts) == 1:
        return parts[0]
    return torch.cat(list(parts)) if target is None else target


def _fitting_at_once(question: Question, model: Any) -> int | None:
    """Return how many pictures fit into memory at once with the maps of all methods."""
    if len(question.inputs) == 1 or not can_be_cut(question.target, len(question.inputs)):
        return None
    footprint = _scores(_first_picture(question), model).footprint
    # Each map, what it is compared with, and both as ranks, in double precision.
    maps = _DOUBLES * question.inputs[0, 0].numel() * len(each_method(question.methods))
    needed = footprint.bytes_with_graph + 8 * maps
    return fitting(needed, footprint, 1, question.inputs.device)


_DOUBLES = 8


def undefined_for(values: Mapping[str, Tensor], what: str) -> dict[str, Tensor]:
    """Warn once of what is NaN for any method, and return the values.

    Args:
        values: of each method, `(N, ...)`.
        what: what they are.
    """
    missing = {name: one for name, one in values.items() if one.isnan().any()}
    if missing:
        broken = torch.stack([one.isnan() for one in missing.values()]).any(0)
        undefined(next(iter(missing.values())), ~broken, f"{what} of {', '.join(missing)}", WHY)
    return dict(values)


WHY = "a map is constant, NaN or infinite"
"""Why what is measured on two maps is undefined."""


def _planes(name: str, values: Any, reading: Reading) -> Tensor:
    if not isinstance(values, Tensor) or not 3 <= values.dim() <= 5:
        raise InputError(
            f"{name} returns no maps that can be compared; name one layer for it, or leave it out"
        )
    found = values.detach().double()
    if reading == "magnitude" or (reading == "evidence" and _is_sensitivity(name, values)):
        found = found.abs()
    if found.dim() == 5:
        return found.sum(2)
    return found if found.dim() == 4 else found.unsqueeze(2)


def _is_sensitivity(name: str, values: Tensor) -> bool:
    """Whether a map is a gradient of the picture's colours, as which it is drawn.

    Its sign says whether a brighter pixel raises the score, not whether the pixel does.
    """
    return style_of(name, values[:1, :1].cpu()) == COLOR


def _one_tensor(inputs: Any) -> Tensor:
    given = measured_inputs(inputs)
    if given.is_tuple:
        raise InputTypeError("inputs must be one tensor of pictures, got a tuple")
    (tensor,) = given.tensors
    return tensor.detach()


def _chooses_layer(method: MethodLike) -> bool:
    return not isinstance(method, Attribution) and takes(method, "layer")


def _with_default_layer(question: Question, model: Any) -> Question:
    """Decide on the last spatial layer once; without one, methods that need it say so."""
    first = _first_picture(question)
    given = Inputs((first.inputs,), False)
    try:
        name, _ = default_layer(model, given, first.arguments, first.output, first.target)
    except TorchattrError:
        return question
    return replace(question, layer=name)


def _fitting(question: Question, model: Any) -> Question:
    """Leave out methods that the model refuses, which the first picture shows."""
    first = _first_picture(question)
    refused: dict[str, Message] = {}
    fitting: dict[Any, Mapping[str, Any]] = {}
    methods = question.methods
    for method in each_method(methods):
        options = methods.get(method, {}) if isinstance(methods, Mapping) else {}
        try:
            with unheard():
                replace(first, methods={method: options}).planes(model)
            fitting[method] = options
        except TorchattrError as error:
            refused[name_of(method)] = error.message
    if not fitting:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in refused.items())
        raise InputError(f"no method fits this model: {reasons}")
    return replace(question, methods=fitting, refused=refused)


def _first_picture(question: Question) -> Question:
    return question.part(slice(0, 1))
