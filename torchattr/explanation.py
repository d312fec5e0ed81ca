"""Several methods, targets and layers from one forward."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from torchattr.core.inputs import Inputs, as_arguments, as_inputs
from torchattr.core.targets import Classes, TopK
from torchattr.core.types import Forward, Layers, OutputKey, Tensors
from torchattr.errors import InputError, Message
from torchattr.layers import Coverage
from torchattr.methods import (
    Attribution,
    GradientAttribution,
    MethodCall,
    SolveResult,
    build,
    default_layer,
    name_of,
    solve,
    takes,
)

METHODS = ("saliency", "deconvolution", "guided_backprop", "grad_cam", "guided_grad_cam")
"""The methods that :func:`explain` runs unless told otherwise."""


@dataclass(frozen=True)
class Explanation:
    """What several methods found, for several targets of each example.

    `explanation["grad_cam"]` is a tensor `(N, T, 1, h, w)`: examples, targets, and then what the
    method gives. A method that looks at several layers has a dict by layer.

    Attributes:
        attributions: the result of each method, by name.
        targets: the class of each target, `(N, T)`, or `None` where targets are no classes.
        scores: the model's score of each target, `(N, T)`.
        output: all the model's scores.
        inputs: what was explained.
        coverage: what ran, and what the rules rewrote.
        notes: for each rule-based method, what it rewrote, as a sentence.
        refused: the reason of each method that could not be run, if refusals are skipped.

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
        return f"Explanation({shapes}; {'; '.join(self.notes.values()) or 'no rules'})"

    def _repr_html_(self) -> str:
        from torchattr.results import shown

        return shown(self)

    def save(self, out: str | Path, **options: Any) -> list[Path]:
        """Write a panel, the raw arrays and a manifest for each example into a folder.

        See :func:`torchattr.results.save_explanation` for the options.
        """
        from torchattr.results import save_explanation

        return save_explanation(self, out, **options)


def explain(
    model: Forward,
    inputs: Tensors,
    methods: Sequence[Any] | Mapping[str, Mapping[str, Any]] = METHODS,
    targets: Any = None,
    *,
    layer: Layers | None = None,
    rules: Mapping[str, Any] | None = None,
    additional_forward_args: Any = None,
    output: OutputKey = None,
    skip_refused: bool = False,
) -> Explanation:
    """Run several methods for several targets: one forward for all that follow gradients.

    Args:
        model: see :class:`Attribution`.
        inputs: likewise.
        methods: names (see `torchattr methods`), classes or objects; or a dict from names to the
            options of their `attribute`.
        targets: :class:`TopK`, :class:`Classes`, or any target of :class:`Attribution`; `None`
            explains the predicted class of each example.
        layer: for the methods that look at a layer; `None` takes the last spatial one.
        rules: further rules for the methods that have rules, such as `{"gelu": "guided"}`; the
            gradient of the others stays the gradient.
        additional_forward_args: see :class:`Attribution`.
        output: likewise.
        skip_refused: note the methods whose rules matched nothing in `refused`, and go on.

    Raises:
        NoRuleMatched: a rule-based method found nothing to rewrite, and is not to be skipped.

    >>> import torch, torchattr as ta
    >>> model = torch.nn.Sequential(
    ...     torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(144, 5)
    ... )
    >>> ex = ta.explain(model, torch.rand(2, 3, 8, 8), targets=ta.TopK(3), layer="1")
    >>> ex["grad_cam"].shape, ex["saliency"].shape
    (torch.Size([2, 3, 1, 6, 6]), torch.Size([2, 3, 3, 8, 8]))
    """
    methods = [methods] if isinstance(methods, (str, type, Attribution)) else methods
    if not methods:
        raise InputError(f"methods is empty; name some, such as {', '.join(METHODS)}")
    given = as_inputs(inputs, differentiable=False)
    arguments = as_arguments(additional_forward_args)
    if layer is None and sum(_looks_at_a_layer(method) for method in methods) > 1:
        # Found once for all of them.
        layer, _ = default_layer(model, given, arguments, output, targets)
    requests = _requests(methods, model, layer=layer, rules=rules, output=output)
    given = as_inputs(inputs, differentiable=any(r.of_inputs for r in requests.values()))
    jobs = {
        name: MethodCall(r.method, r.options) for name, r in requests.items() if r.follows_gradients
    }
    solution = solve(
        model,
        given,
        targets,
        arguments,
        list(jobs.values()),
        key=output,
        skip_refused=skip_refused,
    )
    found = dict(zip(jobs, solution.results, strict=True))
    for name, request in requests.items():
        if name not in jobs:
            found[name] = request.attribute(inputs, targets, additional_forward_args)
    refused = {name: solution.refused[k] for k, name in enumerate(jobs) if k in solution.refused}
    several = isinstance(targets, (TopK, Classes))
    coverage = solution.trace.coverage
    return Explanation(
        {
            name: found[name] if several else _with_target_dimension(found[name])
            for name in requests
            if name not in refused
        },
        _classes(solution.targets, given.batch_size),
        _scores(solution),
        solution.output,
        given,
        coverage,
        {
            name: coverage.describe(job.method.table)
            for name, job in jobs.items()
            if job.method.table and name not in refused
        },
        refused,
    )


def _looks_at_a_layer(method: Any) -> bool:
    return not isinstance(method, Attribution) and takes(method, "layer")


@dataclass(frozen=True)
class _Request:
    """A method made for the model, and the options of its `attribute`."""

    method: Any
    options: Mapping[str, Any]

    @property
    def follows_gradients(self) -> bool:
        return isinstance(self.method, GradientAttribution)

    @property
    def of_inputs(self) -> bool:
        return self.follows_gradients and self.method.differentiates_inputs

    def attribute(self, inputs: Tensors, targets: Any, additional_forward_args: Any) -> Any:
        return self.method.attribute(
            inputs,
            target=targets,
            additional_forward_args=additional_forward_args,
            **self.options,
        )


def _requests(
    methods: Sequence[Any] | Mapping[str, Mapping[str, Any]], model: Forward, **made_with: Any
) -> dict[str, _Request]:
    options = methods if isinstance(methods, Mapping) else {}
    requests = {}
    for method in methods:
        name = method if isinstance(method, str) else name_of(method)
        requests[name] = _Request(build(method, model, **made_with), options.get(method, {}))
    return requests


def _classes(targets: Sequence[Any], batch_size: int) -> Tensor | None:
    """Give the class index of each target of each example, where targets are class indices."""
    columns = []
    for target in targets:
        if isinstance(target, int):
            target = [target] * batch_size
        if isinstance(target, list) and all(isinstance(entry, int) for entry in target):
            target = torch.tensor(target, dtype=torch.long)
        if not isinstance(target, Tensor):
            return None
        columns.append(target.cpu().reshape(-1).expand(batch_size))
    return torch.stack(columns, 1)


def _scores(solution: SolveResult) -> Tensor:
    return torch.stack([scores.detach() for scores in solution.scores], 1)


def _with_target_dimension(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.unsqueeze(1)
    if isinstance(value, dict):
        return {key: _with_target_dimension(one) for key, one in value.items()}
    return tuple(_with_target_dimension(one) for one in value)


def _shape(value: Any) -> str:
    if isinstance(value, Tensor):
        return str(tuple(value.shape))
    items = value.values() if isinstance(value, dict) else value
    return f"[{', '.join(_shape(item) for item in items)}]"
