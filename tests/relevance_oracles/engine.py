"""Relevance as the engine propagates it, for comparison with the oracles."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from torchattr.layers import (
    Captured,
    Composite,
    LayerRule,
    LedgerBook,
    LedgerEntry,
    Trace,
    rule_table,
)


def composite_of(rules: Mapping[str, Any], **places: Any) -> Composite:
    """Return a composite; rules are objects or names."""
    return Composite(rule_table(rules), **places)


def traced(function: Callable[..., Any], x: Tensor, composite: Composite, **options: Any) -> Trace:
    """Run a forward whose backward is that of the composite; the output is taken as it is."""
    return Trace(function, (x,), tables=[composite], key=lambda output: output, **options)


def signal_of(trace: Trace, grad: Tensor) -> Tensor:
    """Return what comes back at the input, given a gradient of the output."""
    scores = (trace.output * grad).flatten(1).sum(1)
    (found,) = trace.gradients(scores, trace.input_edges)
    assert found is not None
    return found


def relevance_in(trace: Trace, x: Tensor, found: Tensor) -> Tensor:
    """Return the relevance of the input, given what came back."""
    (factor,) = trace.factors(Captured((x,), tuple(trace.input_edges)), 0).values
    return factor * found


def relevance_of(
    function: Callable[..., Any], x: Tensor, grad: Tensor, rules: Mapping[str, Any], **places: Any
) -> Tensor:
    """Return the relevance of the input, where that of the output is `y * grad`."""
    composite = composite_of(rules, **places)
    trace = traced(function, x, composite)
    return relevance_in(trace, x, signal_of(trace, grad))


def ledger_of(
    function: Callable[..., Any], x: Tensor, grad: Tensor, rules: Mapping[str, Any], **places: Any
) -> tuple[Tensor, Tensor, list[LedgerEntry]]:
    """Return the relevance of output and input, and the entries of the ledger."""
    composite, book = composite_of(rules, **places), LedgerBook(whole=True)
    trace = traced(function, x, composite, book=book)
    found = signal_of(trace, grad)
    return (
        (trace.output.detach() * grad).sum(),
        relevance_in(trace, x, found).sum(),
        [entry for entry in book.entries if entry.amount],
    )


def output_of(function: Callable[..., Any], x: Tensor) -> Tensor:
    with torch.no_grad():
        output: Tensor = function(x.clone())
    return output


__all__ = [
    "LayerRule",
    "composite_of",
    "ledger_of",
    "output_of",
    "relevance_in",
    "relevance_of",
    "signal_of",
    "traced",
]
