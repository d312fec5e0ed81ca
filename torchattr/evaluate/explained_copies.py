"""Explanations of perturbed copies of a batch: of one method or several, which share forwards."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, TypeAlias

import torch
from torch import Tensor

from torchattr.core.inputs import Inputs, as_arguments, as_inputs, as_tensors
from torchattr.errors import InputError, InputTypeError, ShapeError
from torchattr.evaluate.perturbed_rows import copies_at_once
from torchattr.methods import (
    Attribution,
    GradientAttribution,
    MethodCall,
    TargetScores,
    fitting,
    fixed_options,
    repeat_options,
    solve,
)

ExplainFunction: TypeAlias = "Attribution | Callable[..., Any]"
"""A method, its `attribute` (also as a `functools.partial`), or a function of the inputs."""

SHARED = ("target", "additional_forward_args")
"""The options that methods must have in common to share a forward."""


@dataclass(frozen=True)
class Explainer:
    """One explanation, ready for copies of a batch.

    Attributes:
        function: explains inputs.
        options: its options, with a target that does not depend on the perturbation.
        method: the method whose `attribute` it is, if any.
    """

    function: Callable[..., Any]
    options: Mapping[str, Any] = field(default_factory=dict)
    method: Attribution | None = None

    @classmethod
    def of(cls, explanation: Any, options: Mapping[str, Any]) -> Explainer:
        """Return the explainer of what users pass.

        Raises:
            InputTypeError: nothing that explains.
        """
        if isinstance(explanation, Attribution):
            explanation = explanation.attribute
        if isinstance(explanation, partial) and not explanation.args:
            return cls.of(explanation.func, {**options, **explanation.keywords})
        if not callable(explanation):
            raise InputTypeError(
                "explanation must be a method or a function of inputs, got"
                f" {type(explanation).__name__}"
            )
        owner = getattr(explanation, "__self__", None)
        return cls(explanation, options, owner if isinstance(owner, Attribution) else None)

    @property
    def sharing(self) -> Any:
        """What explainers must have in common to share a forward; `None` if this one cannot."""
        method, options = self.method, self.own
        if not isinstance(method, GradientAttribution) or self.function != method.attribute:
            return None
        returns_more = any(name.startswith("return_") for name in options)
        shared = [id(self.options.get(name)) for name in SHARED]
        if returns_more or not method.shares_forward(**options):
            return None
        return (id(method.model), method.output, method.memory, *shared)

    @property
    def own(self) -> dict[str, Any]:
        """The options that are not shared."""
        return {name: value for name, value in self.options.items() if name not in SHARED}

    def rows(self, inputs: Inputs, perturbed: Sequence[Tensor], copies: int) -> Tensor:
        """Return the explanations of copies of a batch, `(copies, N, elements)`."""
        options = repeat_options(self.options, inputs, copies)
        explained = self.function(inputs.restore(perturbed), **options)
        return rows_of(explained, copies, inputs.batch_size)


class Explanations:
    """Explanations by name, all of the same copies, in as few forwards as possible.

    Args:
        explanation: one, or a mapping of several by name.
        inputs: the batch.
        options: arguments of the explanations.
        at_once: maximum number of copies at once; `None` uses as many as memory allows.

    Attributes:
        several: whether they are a mapping.
        at_once: the number of copies at once.
        methods: the methods among them.
        options: arguments that all share, with a fixed target if one of them is a method.

    Raises:
        InputTypeError: nothing that explains.
        InputError: an empty mapping.
    """

    def __init__(
        self, explanation: Any, inputs: Inputs, options: Mapping[str, Any], at_once: int | None
    ) -> None:
        self.several = isinstance(explanation, Mapping)
        named = dict(explanation) if self.several else {"": explanation}
        if not named:
            raise InputError("explanation is empty; pass a method, or several by name")
        self._inputs = inputs
        fixing = _Fixing(inputs, at_once)
        self._named = {
            name: fixing.fixed(Explainer.of(one, options)) for name, one in named.items()
        }
        self.at_once = fixing.at_once
        self.methods = [one.method for one in self._named.values() if one.method is not None]
        self._groups = _grouped(self._named)

    def clean(self) -> dict[str, Tensor]:
        """Return the explanations of the batch itself by name, `(N, elements)`."""
        return {name: rows[0] for name, rows in self.of(self._inputs.tensors, 1).items()}

    def of(self, perturbed: Sequence[Tensor], copies: int) -> dict[str, Tensor]:
        """Return the explanations of copies by name, `(copies, N, elements)`.

        Raises:
            ShapeError: one does not have one row for each example.
            InputError: one holds NaN or infinite values.
        """
        found: dict[str, Tensor] = {}
        for group in self._groups:
            found |= _together(group, self._inputs, perturbed, copies)
        for name, one in self._named.items():
            if name not in found:
                found[name] = one.rows(self._inputs, perturbed, copies)
        return {name: found[name] for name in self._named}


class _Fixing:
    """Fixes targets to those of the unchanged batch, once for all methods of a model.

    Args:
        inputs: the batch.
        at_once: maximum number of copies at once, if given.

    Attributes:
        at_once: the number of copies at once that fits all methods so far.
    """

    def __init__(self, inputs: Inputs, at_once: int | None) -> None:
        self._inputs, self._given = inputs, at_once
        self.at_once = at_once or copies_at_once(inputs)
        self._known: dict[Any, Any] = {}

    def fixed(self, one: Explainer) -> Explainer:
        """Return an explainer with a fixed target, if it is a method that has one."""
        method = one.method
        if method is None:
            return one
        takes_target = "target" in inspect.signature(method.attribute).parameters
        shared = [id(one.options.get(name)) for name in SHARED]
        key = (id(method.model), method.output, id(method.missing_target), takes_target, *shared)
        if key not in self._known:
            options, at_once = fixed_options(method, self._inputs, one.options, self.at_once)
            self._known[key] = options.get("target")
            self.at_once = min(at_once, self._fitting(method, options))
        target = self._known[key]
        return one if target is None else replace(one, options={**one.options, "target": target})

    def _fitting(self, method: Attribution, options: Mapping[str, Any]) -> int:
        """Return the number of copies that fit into memory by what a forward needs."""
        if self._given is not None or options.get("target") is None:
            return self.at_once
        arguments = as_arguments(options.get("additional_forward_args"))
        scores = TargetScores(
            method.model, self._inputs, options["target"], arguments, method.output
        )
        footprint, device = scores.footprint, self._inputs.tensors[0].device
        return fitting(footprint.bytes_with_graph, footprint, self._inputs.batch_size, device)


@dataclass(frozen=True)
class _Member:
    """A method of a group that shares a forward."""

    name: str
    method: GradientAttribution
    explainer: Explainer


def _grouped(named: Mapping[str, Explainer]) -> list[list[_Member]]:
    """Return the groups of explanations that share a forward, of two or more."""
    groups: dict[Any, list[_Member]] = {}
    for name, one in named.items():
        key, method = one.sharing, one.method
        if key is not None and isinstance(method, GradientAttribution):
            groups.setdefault(key, []).append(_Member(name, method, one))
    return [members for members in groups.values() if len(members) > 1]


def _together(
    group: Sequence[_Member], inputs: Inputs, perturbed: Sequence[Tensor], copies: int
) -> dict[str, Tensor]:
    """Return the explanations of methods by name, from one forward."""
    method, options = group[0].method, group[0].explainer.options
    shared = {name: options.get(name) for name in SHARED}
    shared = repeat_options(shared, inputs, copies)
    differentiable = any(member.method.differentiates_inputs for member in group)
    solved = solve(
        method.model,
        as_inputs(inputs.restore(perturbed), differentiable=differentiable),
        shared["target"],
        as_arguments(shared["additional_forward_args"]),
        [
            MethodCall(member.method, repeat_options(member.explainer.own, inputs, copies))
            for member in group
        ],
        key=method.output,
        memory=method.memory,
    )
    return {
        member.name: rows_of(result, copies, inputs.batch_size)
        for member, result in zip(group, solved.results, strict=True)
    }


def rows_of(explained: Any, copies: int, batch_size: int) -> Tensor:
    """Return an explanation of any form as one row for each example, `(copies, N, elements)`.

    Raises:
        ShapeError: it does not have one row for each example.
        InputError: it holds NaN or infinite values.
    """
    count = copies * batch_size
    tensors = as_tensors(explained, "what the explanation returned")
    for tensor in tensors:
        if tensor.dim() == 0 or len(tensor) != count:
            raise ShapeError(
                f"the explanation returned the shape {tuple(tensor.shape)} for {count} examples;"
                " it must return one row for each"
            )
    rows = torch.cat([tensor.detach().reshape(count, -1) for tensor in tensors], dim=1)
    finite = torch.isfinite(rows).all(1)
    if not finite.all():
        example = int((~finite).nonzero()[0]) % batch_size
        raise InputError(
            f"the explanation holds NaN or infinite values for example {example} or a perturbed"
            " copy of it, which cannot be compared; leave that example out, or choose another"
            " method"
        )
    return rows.unflatten(0, (copies, batch_size))
