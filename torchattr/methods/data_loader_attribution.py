"""Ablation over all batches of a data loader together."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from enum import IntEnum
from itertools import takewhile
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from torchattr.core.arguments import is_iterable
from torchattr.core.inputs import Inputs, as_baselines, as_inputs
from torchattr.core.outputs import select_output
from torchattr.core.stepping import counted, step
from torchattr.core.types import Baselines, Tensors
from torchattr.errors import InputError, InputTypeError, OutputError, ShapeError
from torchattr.layers import Trace
from torchattr.methods._perturbation.checked import checked_count
from torchattr.methods.base import Attribution
from torchattr.methods.feature_ablation import FeatureAblation

Reduce = Callable[[Any, Tensor, tuple[Any, ...]], Any]


class InputRole(IntEnum):
    """What an entry of a loader's batches is for."""

    need_attr = 0
    need_forward = 1
    no_forward = 2


class DataLoaderAttribution(Attribution):
    """The value of a whole data set minus the value with a feature replaced in every example.

    The value is what `reduce` makes of the outputs for all batches, such as an accuracy; a feature
    is an element, or what a mask numbers, in all examples alike. Each pass over the loader
    replaces a few features, and only one batch is in memory at a time.

    It is *not* the mean of attributions of single examples, unless the value is linear.

    Args:
        attr_method: a :class:`FeatureAblation`, whose model and `output` are used.

    Raises:
        InputTypeError: another method.

    >>> import torchattr as ta
    >>> loader = [(torch.ones(2, 3), torch.zeros(2)), (2 * torch.ones(1, 3), torch.zeros(1))]
    >>> method = DataLoaderAttribution(ta.FeatureAblation(lambda x: x.sum(1)))
    >>> method.attribute(loader, input_roles=(0, 2), to_metric=lambda scores: scores.mean())
    (tensor([[1.3333, 1.3333, 1.3333]]),)
    """

    def __init__(self, attr_method: Attribution) -> None:
        if not isinstance(attr_method, FeatureAblation):
            raise InputTypeError(
                "attr_method must be a FeatureAblation, the only method of a whole data set, got"
                f" {type(attr_method).__name__}"
            )
        super().__init__(attr_method.model, output=attr_method.output)
        self.attr_method = attr_method

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.attr_method!r})"

    def attribute(
        self,
        dataloader: Iterable[Any],
        input_roles: Sequence[int] | None = None,
        baselines: Baselines = None,
        feature_mask: Tensors | None = None,
        reduce: Reduce | None = None,
        to_metric: Callable[[Any], Tensor] | None = None,
        perturbations_per_pass: int = 1,
        show_progress: bool = False,
        return_input_shape: bool = True,
    ) -> Any:
        """Return the attributions `(values, ...)`, shaped like an example for each value.

        Args:
            dataloader: yields batches, a tensor or a list or tuple of entries; it is read
                several times.
            input_roles: what each entry is for, see :class:`InputRole`: 0 for one to attribute to,
                1 for a further argument of the model, 2 for one that only `reduce` gets; by default
                all are 0.
            baselines: as for :class:`FeatureAblation`, one row for all examples.
            feature_mask: as for :class:`FeatureAblation`, one row for all examples; features of
                several entries are replaced together.
            reduce: from the state so far, `None` at first, the output for a batch and its
                entries to the next state; by default the outputs are concatenated.
            to_metric: from the last state to a tensor of values; by default the state itself.
            perturbations_per_pass: number of features replaced in one pass over the loader.
            show_progress: show a progress bar on stderr.
            return_input_shape: otherwise return `(values, features)`.

        Raises:
            InputError: an empty loader, or no entry to attribute to.
            ShapeError: roles, baselines or masks that do not fit the entries.
            OutputError: the value is not a tensor.
        """
        checked_count(perturbations_per_pass, "perturbations_per_pass")
        first, is_tuple = _first_batch(dataloader)
        roles = _checked_roles(input_roles, len(first))
        explained = as_inputs(
            tuple(entry for entry, role in zip(first, roles, strict=True) if role == 0),
            differentiable=False,
        )
        features = _Features(explained, baselines, feature_mask)
        passes = _Passes(self, dataloader, roles, features, reduce or _concatenated, to_metric)
        (clean,) = passes.values([None])
        found = []
        total = features.count
        bar = tqdm(total=total, desc="Data Loader Attribution", disable=not show_progress)
        with bar, counted(total) as begin:
            for start in range(0, total, perturbations_per_pass):
                chosen = range(start, min(start + perturbations_per_pass, total))
                begin(chosen.start, chosen.stop)
                found += [clean - value for value in passes.values(list(chosen))]
                bar.update(len(chosen))
        unique = torch.stack(found, dim=1)
        if not return_input_shape:
            return unique
        shaped = features.to_elements(unique)
        return tuple(shaped) if is_tuple else shaped[0]


class _Features:
    """The features of all examples, and what replaces them.

    Args:
        inputs: the entries of a batch that are attributed to.
        baselines: what replaces them.
        feature_mask: the number of each element's feature; `None` counts all elements.
    """

    def __init__(self, inputs: Inputs, baselines: Any, feature_mask: Any) -> None:
        self._baselines = as_baselines(baselines, inputs)
        for position, value in enumerate(self._baselines):
            if isinstance(value, Tensor) and value.dim():
                _one_row(value, inputs.tensors[position], f"baselines[{position}]")
        self._masks = _masks(feature_mask, inputs)
        self.count = max(int(mask.max()) for mask in self._masks if mask.numel()) + 1

    def replaced(self, entries: Sequence[Tensor], feature: int | None) -> list[Tensor]:
        """Return the entries of a batch with a feature replaced; those without it are the same."""
        if feature is None:
            return list(entries)
        return [
            self._replaced(entry, mask == feature, baseline)
            for entry, mask, baseline in zip(entries, self._masks, self._baselines, strict=True)
        ]

    def to_elements(self, unique: Tensor) -> list[Tensor]:
        """Return what features have, `(values, features)`, for each element of an example."""
        return [unique[:, mask[0].to(unique.device)] for mask in self._masks]

    def _replaced(self, entry: Tensor, chosen: Tensor, baseline: Any) -> Tensor:
        if not chosen.any():
            return entry
        kind = entry.dtype
        if not isinstance(baseline, int) or isinstance(baseline, bool):
            kind = torch.result_type(entry, baseline)
        value = torch.as_tensor(baseline, dtype=kind, device=entry.device)
        return torch.where(chosen.to(entry.device), value, entry.to(kind))


class _Passes:
    """Passes over a loader, each with several versions of every batch."""

    def __init__(
        self,
        method: Attribution,
        dataloader: Iterable[Any],
        roles: Sequence[int],
        features: _Features,
        reduce: Reduce,
        to_metric: Callable[[Any], Tensor] | None,
    ) -> None:
        self._method, self._dataloader, self._roles = method, dataloader, roles
        self._features, self._reduce, self._to_metric = features, reduce, to_metric

    def values(self, chosen: Sequence[int | None]) -> list[Tensor]:
        """Return the value of the data set with each of some features replaced, flattened."""
        states: dict[int | None, Any] = dict.fromkeys(chosen)
        for batch in self._dataloader:
            step()
            entries = _entries(batch)[0]
            for feature in chosen:
                changed = self._changed(entries, feature)
                states[feature] = self._reduce(states[feature], self._output(changed), changed)
        return [self._value(state) for state in states.values()]

    def _changed(self, entries: tuple[Any, ...], feature: int | None) -> tuple[Any, ...]:
        pairs = list(zip(entries, self._roles, strict=True))
        explained = [entry for entry, role in pairs if role == InputRole.need_attr]
        replaced = iter(self._features.replaced(explained, feature))
        return tuple(
            next(replaced) if role == InputRole.need_attr else entry for entry, role in pairs
        )

    def _output(self, entries: tuple[Any, ...]) -> Tensor:
        pairs = zip(entries, self._roles, strict=True)
        arguments = [entry for entry, role in pairs if role != InputRole.no_forward]
        # Entries before the first that is no tensor are inputs, which the model may write to.
        inputs = list(takewhile(lambda entry: isinstance(entry, Tensor), arguments))
        trace = Trace(
            self._method.model,
            inputs,
            arguments[len(inputs) :],
            key=lambda output: select_output(output, self._method.output),
            differentiable=False,
        )
        return trace.output.detach()

    def _value(self, state: Any) -> Tensor:
        value = self._to_metric(state) if self._to_metric else state
        if not isinstance(value, Tensor):
            raise OutputError(
                "what reduce and to_metric make of all batches must be a tensor, got"
                f" {type(value).__name__}"
            )
        return value.detach().reshape(-1)


def _first_batch(dataloader: Any) -> tuple[tuple[Any, ...], bool]:
    if not is_iterable(dataloader):
        raise InputTypeError(
            "dataloader must yield batches, as a DataLoader or a list of them does, got"
            f" {type(dataloader).__name__}"
        )
    for batch in dataloader:
        return _entries(batch)
    raise InputError("dataloader yields no batch, so there is nothing to attribute")


def _entries(batch: Any) -> tuple[tuple[Any, ...], bool]:
    several = isinstance(batch, (list, tuple))
    return (tuple(batch) if several else (batch,)), several


def _checked_roles(roles: Sequence[int] | None, count: int) -> list[int]:
    if roles is None:
        return [InputRole.need_attr] * count
    if len(roles) != count:
        raise ShapeError(f"input_roles has {len(roles)} entries for batches of {count}")
    unknown = [role for role in roles if role not in list(InputRole)]
    if unknown or InputRole.need_attr not in roles:
        raise InputError(
            f"input_roles must hold 0, 1 or 2, and 0 at least once, got {list(roles)}; 0 is an"
            " entry to attribute to, 1 a further argument, 2 one for reduce only"
        )
    return list(roles)


def _masks(feature_mask: Any, inputs: Inputs) -> list[Tensor]:
    """Return the number of each element's feature, `(1, ...)` for each input."""
    if feature_mask is None:
        return list(_counted(inputs.tensors))
    masks = list(feature_mask) if isinstance(feature_mask, (tuple, list)) else [feature_mask]
    if len(masks) != len(inputs.tensors):
        raise ShapeError(f"feature_mask has {len(masks)} entries for {len(inputs.tensors)} inputs")
    for position, (mask, tensor) in enumerate(zip(masks, inputs.tensors, strict=True)):
        if not isinstance(mask, Tensor) or mask.is_floating_point() or mask.dtype == torch.bool:
            raise InputTypeError(f"feature_mask[{position}] must be a tensor of integers")
        _one_row(mask, tensor, f"feature_mask[{position}]")
    return [
        mask.expand(1, *tensor.shape[1:]).long()
        for mask, tensor in zip(masks, inputs.tensors, strict=True)
    ]


def _counted(tensors: Sequence[Tensor]) -> Iterator[Tensor]:
    first = 0
    for tensor in tensors:
        count = tensor.shape[1:].numel()
        yield torch.arange(first, first + count).reshape(1, *tensor.shape[1:])
        first += count


def _one_row(value: Tensor, tensor: Tensor, name: str) -> None:
    if value.dim() == tensor.dim() and len(value) != 1:
        raise ShapeError(
            f"{name} has shape {tuple(value.shape)}, but must have a single row, which is used for"
            " every example of the loader"
        )


def _concatenated(state: Any, output: Tensor, entries: Mapping[str, Any] | tuple[Any, ...]) -> Any:
    return output if state is None else torch.cat([state, output])
