"""Summary of a model: its modules, its cost, and the memory that an attribution needs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from torchattr.core.inputs import as_arguments, as_inputs
from torchattr.core.select import layer_names
from torchattr.core.types import Forward, Tensors
from torchattr.errors import InputError, InputTypeError, ModelError
from torchattr.inspect.summaries.cost_counter import CostCounter
from torchattr.inspect.summaries.rows import (
    SummaryRow,
    operations_within,
    packed_weights,
    summary_rows,
    unruled_activations,
    weights_of,
)
from torchattr.inspect.summaries.typeset import as_html, as_text


def summary(
    model: Forward,
    inputs: Tensors,
    *,
    additional_forward_args: Any = None,
    depth: int | None = None,
) -> Summary:
    """Run the model once and summarise its modules, parameters, multiply-adds and memory.

    Multiply-adds are those of convolutions and matrix products, by the formulas of PyTorch's flop
    counter; normalisation, activations, pooling and quantised operations are not counted. The
    memory of an attribution is counted where it is saved for backward: one bit per element of a
    ReLU, one byte per output of a max-pool, nothing for convolutions. It is *not* the peak memory
    of a process: temporary memory of PyTorch's operations comes on top.

    Args:
        model: a module; on the `meta` device, with inputs there, no memory is allocated.
        inputs: see :class:`Attribution`.
        additional_forward_args: see :class:`Attribution`.
        depth: number of levels of the tree to show; `rows` hold all of it.

    Raises:
        InputTypeError: a function, whose modules are not known.
        ModelError: lazy parameters, or a model on the `meta` device that depends on values.
        TrainingModeError: dropout or batch-norm was about to run in training mode.

    >>> import torch, torchattr as ta
    >>> model = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU())
    >>> found = ta.summary(model, torch.rand(1, 3, 8, 8))
    >>> found.rows[1].name, found.rows[1].output, found.rows[1].parameters
    ('0', (1, 4, 6, 6), 112)
    >>> found.multiply_adds, found.relu_calls, found.remembered_bytes
    (3888, 1, 18)
    """
    owner = getattr(model, "__self__", model)
    if not isinstance(owner, nn.Module):
        raise InputTypeError(
            f"model must be a module to be summarised, got {type(model).__name__}; the modules of a"
            " function are not known"
        )
    if depth is not None and depth < 0:
        raise InputError(f"depth must be 0 or more, got {depth}")
    _refuse_lazy(owner)
    given = as_inputs(inputs, differentiable=False)
    names = layer_names(owner)
    tally = _tally(model, names, given.tensors, as_arguments(additional_forward_args))
    rows = summary_rows(owner, names, tally)
    return Summary(rows, depth, **_totals(owner, names, given.tensors, tally))


@dataclass(frozen=True, repr=False)
class Summary:
    """The modules of a model as a tree, and the totals; `print` shows them as a table.

    Attributes:
        rows: one per module, the model itself first.
        depth: number of levels shown; `None` shows all of them.
        parameters, trainable_parameters: number of elements, shared ones counted once; the packed
            weights of quantised modules are not trainable.
        multiply_adds: of the whole forward.
        input_bytes: of all inputs.
        forward_bytes: the outputs of all layers with parameters of their own, twice: values and
            gradients, as training needs them.
        parameter_bytes: of all parameters.
        remembered_bytes: memory that a gradient of the inputs saves for backward, besides the
            parameters.
        relu_calls: number of calls that the rules for ReLU rewrite: those between the inputs and
            the outputs, not those of constants or detached values.
        without_rule: activations that keep their own gradient unless a rule is requested.
        unseen: autograd functions and hidden rectifiers that no rule reaches.
    """

    rows: tuple[SummaryRow, ...]
    depth: int | None
    parameters: int
    trainable_parameters: int
    multiply_adds: int
    input_bytes: int
    forward_bytes: int
    parameter_bytes: int
    remembered_bytes: int
    relu_calls: int
    without_rule: Mapping[str, int]
    unseen: Mapping[str, int]

    @property
    def fixed_parameters(self) -> int:
        """Number of parameters that are not trainable."""
        return self.parameters - self.trainable_parameters

    @property
    def total_bytes(self) -> int:
        """Inputs, outputs and parameters together."""
        return self.input_bytes + self.forward_bytes + self.parameter_bytes

    @property
    def shown(self) -> list[SummaryRow]:
        """The rows that the text shows."""
        return [row for row in self.rows if self.depth is None or row.depth <= self.depth]

    def as_dict(self) -> dict[str, Any]:
        """Return the totals and the rows that the text shows as plain values, as for JSON."""
        return {
            **_values(self),
            "total_bytes": self.total_bytes,
            "rows": [_values(row) for row in self.shown],
        }

    def __repr__(self) -> str:
        return (
            f"Summary({self.rows[0].type} of {len(self.rows)} modules:"
            f" {self.parameters:,} parameters, {self.multiply_adds:,} multiply-adds)"
        )

    def __str__(self) -> str:
        return as_text(_HEADINGS, self._cells(), self._totals())

    def _repr_html_(self) -> str:
        return as_html(_HEADINGS, self._cells(), self._totals())

    def _cells(self) -> list[Sequence[str]]:
        return [
            (
                f"{'  ' * row.depth}{row.type}: {row.depth}-{row.number}",
                row.name,
                "" if row.index is None else str(row.index),
                _shown_output(row),
                f"{row.parameters:,}",
                f"{row.multiply_adds:,}",
                f"{row.relu_calls:,}",
                _named(row.without_rule),
                f"{row.remembered_bytes:,}",
            )
            for row in self.shown
        ]

    def _totals(self) -> list[tuple[str, str]]:
        hidden = len(self.rows) - len(self.shown)
        deeper = [("Modules below this depth, not shown", f"{hidden:,}")] if hidden else []
        return [
            *deeper,
            ("Parameters", f"{self.parameters:,}"),
            ("  trainable", f"{self.trainable_parameters:,}"),
            ("  not trainable", f"{self.fixed_parameters:,}"),
            ("Multiply-adds", f"{self.multiply_adds:,}"),
            ("Input memory", _megabytes(self.input_bytes)),
            ("Forward and backward memory", _megabytes(self.forward_bytes)),
            ("Parameter memory", _megabytes(self.parameter_bytes)),
            ("Total memory", _megabytes(self.total_bytes)),
            ("ReLU calls that rules rewrite", f"{self.relu_calls:,}"),
            ("Activations without a rule", _named(self.without_rule) or "none"),
            *([("Out of every rule's sight", _named(self.unseen))] if self.unseen else []),
            ("Remembered for an attribution", _megabytes(self.remembered_bytes)),
        ]


def _values(held: Summary | SummaryRow) -> dict[str, Any]:
    found = {one.name: getattr(held, one.name) for one in fields(held)}
    return {name: dict(one) if isinstance(one, Mapping) else one for name, one in found.items()}


_HEADINGS = (
    "Layer",
    "Name",
    "#",
    "Output",
    "Parameters",
    "Multiply-adds",
    "ReLU",
    "No rule",
    "Bytes kept",
)


def _totals(
    model: nn.Module, names: Mapping[str, nn.Module], inputs: Sequence[Tensor], tally: CostCounter
) -> dict[str, Any]:
    weights = weights_of(model)
    trainable = [one for one in model.parameters() if one.requires_grad]
    weighted = [name for name, part in names.items() if _has_weights(part)]
    whole = operations_within("", tally.followed)
    coverage = tally.trace.coverage
    return {
        "parameters": sum(one.numel() for one in weights),
        "trainable_parameters": sum(one.numel() for one in trainable),
        "multiply_adds": tally.multiply_adds.total(),
        "input_bytes": sum(tensor.nbytes for tensor in inputs),
        "forward_bytes": 2 * sum(tally.sizes[name] for name in weighted),
        "parameter_bytes": sum(one.numel() * one.element_size() for one in weights),
        "remembered_bytes": tally.remembered.total(),
        "relu_calls": whole.get("relu", 0),
        "without_rule": unruled_activations(whole),
        "unseen": {**coverage.custom, **coverage.hidden},
    }


def _has_weights(part: nn.Module) -> bool:
    return next(part.parameters(False), None) is not None or bool(packed_weights(part))


def _tally(
    model: Forward, names: Mapping[str, nn.Module], inputs: Sequence[Tensor], arguments: Any
) -> CostCounter:
    try:
        return CostCounter(model, names, inputs, arguments)
    except (RuntimeError, NotImplementedError) as error:
        if not any(tensor.is_meta for tensor in inputs):
            raise
        raise ModelError(
            f"the model cannot be traced by shapes alone: {error}. It depends on values, or parts"
            " of it are not on the meta device; summarise it on a real device"
        ) from error


def _refuse_lazy(model: nn.Module) -> None:
    for name, parameter in model.named_parameters():
        if is_lazy(parameter):
            raise ModelError(
                f"the parameter {name!r} is lazy: the first forward would change the model; run the"
                " model once before"
            )


def _shown_output(row: SummaryRow) -> str:
    if row.output is None:
        return "did not run"
    return f"{row.output}{f' ×{row.calls}' if row.calls > 1 else ''}"


def _named(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in counts.items())


def _megabytes(count: int) -> str:
    return f"{count / 1e6:,.2f} MB"
