"""Several methods, targets and layers from one forward."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeAlias, overload

import torch
from torch import Tensor

from torchattr.core.arguments import checked_flags
from torchattr.core.inputs import Inputs, as_arguments, as_inputs
from torchattr.core.pytree import with_tensors
from torchattr.core.registry import OPTIONS_CUTOFF, suggest
from torchattr.core.stepping import counted
from torchattr.core.targets import Classes, Target, TopK, class_columns
from torchattr.core.types import Forward, Layers, OutputKey, Tensors, TensorsT
from torchattr.errors import InputError, Message
from torchattr.layers import Coverage
from torchattr.methods import (
    Attribution,
    GradientAttribution,
    Memory,
    MethodCall,
    SolveResult,
    build,
    checked_memory,
    class_of,
    default_layer,
    each_method,
    names_of,
    solve,
    takes,
)
from torchattr.models import LoadedModel, with_indices

if TYPE_CHECKING:
    from torchattr.results import Appearance

MethodLike: TypeAlias = "str | type[Attribution] | Attribution"
LikeInputs: TypeAlias = Literal[
    "saliency",
    "input_x_gradient",
    "integrated_gradients",
    "gradient_shap",
    "deep_lift",
    "deep_lift_shap",
    "guided_backprop",
    "deconvolution",
    "feature_ablation",
    "rise",
]
"""Methods whose result is a tensor for a tensor, and a tuple for a tuple."""

NamedTargets: TypeAlias = "str | Sequence[str]"
"""A class by its name, or one for each example."""

METHODS = ("saliency", "deconvolution", "guided_backprop", "grad_cam", "guided_grad_cam")
"""The methods that :func:`explain` runs by default."""


@dataclass(frozen=True)
class Explanation(Generic[TensorsT]):
    """The attributions of several methods, for several targets of each example.

    `explanation["grad_cam"]` is a tensor `(N, T, 1, h, w)`: examples, targets, and then the
    dimensions of the method's result. A method on several layers has a dict by layer.

    Attributes:
        attributions: the result of each method, by name.
        targets: the class of each target, `(N, T)`, or `None` if targets are not classes.
        scores: the model's score of each target, `(N, T)`.
        output: all scores of the model.
        inputs: the inputs that were explained.
        coverage: the operations that ran, and which of them rules rewrote.
        notes: for each rule-based method, what it rewrote, as a sentence.
        refused: why methods could not be run, by name, if refusals are skipped.
        class_names: one name for each output, if the model is known with them.
        appearance: how the inputs and scores of a :class:`torchattr.models.LoadedModel` are shown.

    >>> import torch, torchattr as ta
    >>> model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.ReLU(), torch.nn.Linear(4, 2))
    >>> ta.explain(model, torch.ones(5, 3), ["saliency", "guided_backprop"], targets=ta.TopK(2))
    Explanation(saliency (5, 2, 3), guided_backprop (5, 2, 3); 1 relu call, 1 rewritten)
    """

    attributions: Mapping[str, Any]
    targets: Tensor | None
    scores: Tensor
    output: Tensor
    inputs: Inputs
    coverage: Coverage
    notes: Mapping[str, str]
    refused: Mapping[str, Message] = field(default_factory=dict)
    class_names: Sequence[str] | None = None
    appearance: Appearance | None = None

    @overload
    def __getitem__(self, method: LikeInputs) -> TensorsT: ...

    @overload
    def __getitem__(self, method: str) -> Any: ...

    def __getitem__(self, method: str) -> Any:
        if method not in self.attributions:
            raise KeyError(f"{method!r} was not explained; there are: {', '.join(self)}")
        return self.attributions[method]

    def __iter__(self) -> Iterator[str]:
        return iter(self.attributions)

    def __len__(self) -> int:
        return len(self.attributions)

    def __repr__(self) -> str:
        shapes = ", ".join(f"{name} {_shape(value)}" for name, value in self.attributions.items())
        notes = "; ".join(dict.fromkeys(self.notes.values()))
        return f"Explanation({shapes}; {notes or 'no rules'})"

    def _repr_html_(self) -> str:
        from torchattr.results import shown

        return shown(self)

    def show(self, **options: Any) -> None:
        """Show the panel of each example: in a notebook, or in the system's picture viewer.

        See :func:`torchattr.results.show_explanation` for the options.
        """
        from torchattr.results import show_explanation

        show_explanation(self, **options)

    def to_html(self, **options: Any) -> str:
        """Return a self-contained HTML page of the panels, which works offline.

        See :func:`torchattr.results.explanation_page` for the options.
        """
        from torchattr.results import explanation_page

        return explanation_page(self, **options)

    def plot(self, method: str | None = None, **options: Any) -> Any:
        """Draw one map on Matplotlib axes, or all of them on an array of axes.

        `ex.plot("grad_cam", target=0, ax=ax)` draws on the axes `ax` and returns them. See
        :func:`torchattr.results.plot_explanation` for the options.
        """
        from torchattr.results import plot_explanation

        return plot_explanation(self, method, **options)

    def save(self, out: str | Path, **options: Any) -> list[Path]:
        """Write a panel, the raw arrays and a manifest for each example into a folder.

        See :func:`torchattr.results.save_explanation` for the options.
        """
        from torchattr.results import save_explanation

        return save_explanation(self, out, **options)


@checked_flags
def explain(
    model: Forward,
    inputs: TensorsT,
    methods: MethodLike | Sequence[MethodLike] | Mapping[Any, Mapping[str, Any]] = METHODS,
    targets: Target | NamedTargets = None,
    *,
    target: Target | NamedTargets = None,
    layer: Layers | None = None,
    rules: Mapping[str, Any] | None = None,
    additional_forward_args: Any = None,
    output: OutputKey = None,
    skip_refused: bool = False,
    memory: Memory = "auto",
) -> Explanation[TensorsT]:
    """Run several methods for several targets, all gradient methods from one forward.

    Args:
        model: see :class:`Attribution`; of a :class:`torchattr.models.LoadedModel`, the class names
            are shown.
        inputs: see :class:`Attribution`.
        methods: names (:func:`torchattr.methods.registered_methods` has them all), classes or
            objects; or a dict from these to the options of their `attribute`. Of several objects of
            one method, the results are called by what differs: `"lrp (composite='zero')"`.
        targets: :class:`TopK`, :class:`Classes`, or any target of :class:`Attribution`; `None`
            explains the predicted class of each example. Where the model knows the names of its
            classes, a name stands for its index: `"Egyptian cat"`, a list with one for each
            example, `Classes("cat", "rocket")`.
        target: another name of `targets`, as the methods call it.
        layer: for the methods that use a layer; `None` uses the last spatial one.
        rules: additional rules for the rule-based methods, such as `{"gelu": "guided"}`; the
            gradient of the others stays the gradient.
        additional_forward_args: see :class:`Attribution`.
        output: see :class:`Attribution`.
        skip_refused: skip methods whose rules match nothing, or whose target does not depend on
            what they attribute to, and record the reasons in `refused`.
        memory: how much the one forward may remember, see :class:`GradientAttribution`;
            `coverage.lean_because` says which way was taken.

    Raises:
        NoRuleMatched: a rule-based method found nothing to rewrite, and is not skipped.
        RegistryError: an unknown method name.
        TargetError: a name that no class of the model has; the message names the closest ones.
        InputError: no method, the same one twice, an option that a method has not, or both `target`
            and `targets`.

    >>> import torch, torchattr as ta
    >>> model = torch.nn.Sequential(
    ...     torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(144, 5)
    ... )
    >>> ex = ta.explain(model, torch.rand(2, 3, 8, 8), targets=ta.TopK(3), layer="1")
    >>> ex["grad_cam"].shape, ex["saliency"].shape
    (torch.Size([2, 3, 1, 6, 6]), torch.Size([2, 3, 3, 8, 8]))
    """
    asked = _options_by_method(methods)
    targets = _wanted(model, targets, target)
    given = as_inputs(inputs, differentiable=any(map(_differentiates_inputs, asked)))
    arguments = as_arguments(additional_forward_args)
    if layer is None and sum(map(_chooses_layer, asked)) > 1:
        # Located once for all methods.
        layer, _ = default_layer(model, given, arguments, output, targets)
    requests = _requests(asked, model, layer=layer, rules=rules, output=output)
    calls = {
        name: MethodCall(request.method, request.options)
        for name, request in requests.items()
        if isinstance(request.method, GradientAttribution)
        and request.method.shares_forward(**request.options)
    }
    alone = [name for name in requests if name not in calls]
    # Those that share a forward count as one; without any, that forward only reads the scores.
    with counted(bool(calls) + len(alone)) as begin:
        begin(0, bool(calls))
        solved = solve(
            *(model, given, targets, arguments, list(calls.values())),
            key=output,
            skip_refused=skip_refused,
            memory=checked_memory(memory),
        )
        results = dict(zip(calls, solved.results, strict=True))
        for number, name in enumerate(alone, bool(calls)):
            begin(number, number + 1)
            results[name] = requests[name].attribute(inputs, targets, additional_forward_args)
    refused = {name: solved.refused[k] for k, name in enumerate(calls) if k in solved.refused}
    several = isinstance(targets, (TopK, Classes))
    coverage = solved.trace.coverage
    return Explanation(
        {
            name: results[name] if several else with_tensors(results[name], _one_target)
            for name in requests
            if name not in refused
        },
        class_columns(solved.targets, given.batch_size),
        _scores(solved),
        solved.output,
        given,
        coverage,
        _notes(coverage, {name: call for name, call in calls.items() if name not in refused}),
        refused,
        **_shown_with(model),
    )


def _shown_with(model: Forward) -> dict[str, Any]:
    """Return the fields of an explanation that say how a loaded model's results are shown."""
    if not isinstance(model, LoadedModel):
        return {}
    from torchattr.results import Appearance

    return {"class_names": model.class_names, "appearance": Appearance.of(model)}


def _wanted(model: Forward, targets: Any, target: Any) -> Any:
    """Return what is explained, whichever argument it was, with indices for names of classes.

    Raises:
        InputError: it was given by both arguments.
        TargetError: a name that no class of the model has.
    """
    if targets is not None and target is not None:
        raise InputError("target and targets are names of one argument; pass one of them")
    names = model.class_names if isinstance(model, LoadedModel) else None
    return with_indices(targets if target is None else target, names)


def _options_by_method(
    methods: MethodLike | Sequence[MethodLike] | Mapping[Any, Mapping[str, Any]],
) -> Mapping[MethodLike, Mapping[str, Any]]:
    """Return the options of each method's `attribute`.

    Raises:
        InputError: there are no methods.
    """
    named = each_method(methods)
    if not named:
        raise InputError(f"methods is empty; name some, such as {', '.join(METHODS)}")
    options: Mapping[Any, Mapping[str, Any]] = methods if isinstance(methods, Mapping) else {}
    return {method: options.get(method, {}) for method in named}


def _differentiates_inputs(method: MethodLike) -> bool:
    cls = class_of(method)
    return issubclass(cls, GradientAttribution) and cls.differentiates_inputs


def _chooses_layer(method: MethodLike) -> bool:
    return not isinstance(method, Attribution) and takes(method, "layer")


@dataclass(frozen=True)
class _Request:
    """A method made for the model, and the options of its `attribute`."""

    method: Attribution
    options: Mapping[str, Any]

    def attribute(self, inputs: Tensors, targets: Any, additional_forward_args: Any) -> Any:
        return self.method.attribute(
            inputs,
            target=targets,
            additional_forward_args=additional_forward_args,
            **self.options,
        )


def _requests(
    asked: Mapping[MethodLike, Mapping[str, Any]], model: Forward, **made_with: Any
) -> dict[str, _Request]:
    built = [build(method, model, **made_with) for method in asked]
    names = names_of(list(asked), built, list(asked.values()))
    for name, method, options in zip(names, built, asked.values(), strict=True):
        _check_options(name, method, options)
    return dict(zip(names, map(_Request, built, asked.values()), strict=True))


def _check_options(name: str, method: Attribution, options: Mapping[str, Any]) -> None:
    """Check that the options of a method are arguments of its `attribute`.

    Raises:
        InputError: one is not, or is given by `explain` itself, or returns more than attributions.
    """
    taken = inspect.signature(method.attribute).parameters
    variadic = any(one.kind is inspect.Parameter.VAR_KEYWORD for one in taken.values())
    own = [one for one in taken if one not in _SHARED and not one.startswith("return_")]
    for option in options:
        title = type(method).__name__
        if option.startswith("return_") and option in taken:
            raise InputError(
                f"methods has {option} for {name}, but explain returns attributions only; call"
                f" {title}(model).attribute(..., {option}={options[option]!r})"
            )
        if option not in own and (option in _SHARED or not variadic):
            close = suggest(option, own, cutoff=OPTIONS_CUTOFF)
            raise InputError(
                f"methods has {option!r} for {name}, which is no option of its attribute;"
                f" {_right_place(option, title, method) or close}"
            )


def _right_place(option: str, title: str, method: Attribution) -> str:
    if option in _SHARED:
        return "it is given to explain once, for all methods"
    if takes(type(method), option):
        return f"it is an argument of the object: {title}(model, {option}=...)"
    return ""


_SHARED = ("inputs", "target", "additional_forward_args")
"""The arguments of each `attribute` that are those of :func:`explain`."""


def _notes(coverage: Coverage, calls: Mapping[str, MethodCall]) -> dict[str, str]:
    tables = {name: call.method.table for name, call in calls.items()}
    return {name: coverage.describe(table) for name, table in tables.items() if table}


def _scores(solved: SolveResult) -> Tensor:
    return torch.stack(solved.scores, 1)


def _one_target(result: Tensor) -> Tensor:
    """Add the dimension of the targets for a single one."""
    return result.unsqueeze(1)


def _shape(value: Any) -> str:
    if isinstance(value, Tensor):
        return str(tuple(value.shape))
    items = list(value.values() if isinstance(value, dict) else value)
    shapes = [_shape(item) for item in items[:_MOST_SHOWN]]
    return f"[{', '.join(shapes + ['...'] * (len(items) > _MOST_SHOWN))}]"


_MOST_SHOWN = 3
