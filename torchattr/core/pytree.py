"""Tensors in nested containers: tuples, lists, dicts, dataclasses and registered pytrees."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import copy
from typing import Any

import torch
from torch import Tensor

from torchattr.core.torch_private import pytree

tree_leaves = pytree.tree_leaves
"""Return all leaves of nested containers, in their order."""

tree_map_only = pytree.tree_map_only
"""Change the leaves of a type in nested containers."""


def tensors_of(value: Any) -> list[Tensor]:
    """Return the tensors in nested containers, in order.

    >>> import torch
    >>> len(tensors_of({"low": torch.ones(1), "rest": [torch.ones(2), None]}))
    2
    """
    tensors: list[Tensor] = []

    def note(tensor: Tensor) -> Tensor:
        tensors.append(tensor)
        return tensor

    with_tensors(value, note)
    return tensors


def shape_of(tensor: Tensor) -> torch.Size:
    """Return the shape of a tensor; empty for a nested tensor, which has no single shape.

    >>> shape_of(torch.ones(2, 3))
    torch.Size([2, 3])
    """
    return torch.Size() if tensor.is_nested else tensor.shape


def with_tensors(value: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """Return nested containers of the same types with each tensor changed."""
    if _is_plain_dataclass(value):
        changed = copy(value)
        for field in dataclasses.fields(value):
            entry = with_tensors(getattr(value, field.name), change)
            object.__setattr__(changed, field.name, entry)
        return changed
    return pytree.tree_map(
        lambda leaf: _changed_leaf(leaf, change), value, is_leaf=_is_plain_dataclass
    )


def joined(values: Sequence[Any], join: Callable[[list[Tensor]], Tensor]) -> Any:
    """Merge containers of the same structure: join their corresponding tensors.

    >>> import torch
    >>> joined([(torch.ones(1),), (torch.zeros(1),)], torch.cat)
    (tensor([1., 0.]),)
    """
    columns = zip(*map(tensors_of, values), strict=True)
    return with_tensors(values[0], lambda _: join(list(next(columns))))


def _changed_leaf(leaf: Any, change: Callable[[Tensor], Tensor]) -> Any:
    if isinstance(leaf, Tensor):
        return change(leaf)
    return with_tensors(leaf, change) if _is_plain_dataclass(leaf) else leaf


def _is_plain_dataclass(value: Any) -> bool:
    """Whether a value is a dataclass that is not a container of PyTorch's already."""
    return (
        dataclasses.is_dataclass(value)
        and not isinstance(value, (type, Mapping, Tensor))
        and pytree.tree_is_leaf(value)
    )


def skeleton(value: Any) -> Any:
    """Return the structure of nested containers: a number for each tensor, without other leaves.

    Sequences become tuples, mappings and dataclasses dicts.

    >>> import torch
    >>> skeleton({"low": torch.ones(1), "rest": [torch.ones(2), None]})
    {'low': 0, 'rest': (1,)}
    """
    return _skeleton(value, iter(range(len(tensors_of(value)))))


def _skeleton(value: Any, numbers: Iterator[int]) -> Any:
    if isinstance(value, Tensor):
        return next(numbers)
    if _is_plain_dataclass(value):
        value = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        parts = {key: _skeleton(entry, numbers) for key, entry in value.items()}
        return {key: entry for key, entry in parts.items() if entry is not None} or None
    if isinstance(value, (tuple, list)):
        made = tuple(_skeleton(entry, numbers) for entry in value)
        return tuple(entry for entry in made if entry is not None) or None
    return None


def filled(form: Any, results: Sequence[Any]) -> Any:
    """Replace the numbers of a :func:`skeleton` by results.

    >>> filled({"low": 0, "rest": (1,)}, ["a", "b"])
    {'low': 'a', 'rest': ('b',)}
    """
    if isinstance(form, dict):
        return {key: filled(entry, results) for key, entry in form.items()}
    if isinstance(form, tuple):
        return tuple(filled(entry, results) for entry in form)
    return () if form is None else results[form]
