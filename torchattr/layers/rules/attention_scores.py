"""What attention computes on its way: its logits, and gradients of operands that it repeats."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from torchattr.layers.operations.operation import Call, in_dtype, wide


@dataclass(frozen=True)
class Operands:
    """The operands of one call of attention, in at least single precision.

    Attributes:
        query: what it is called.
        key: with the heads of the queries, as `value`.
        value: what it is called.
        mask: what is added to the logits, if that is an input of the call.
        call: the call.
    """

    query: Tensor
    key: Tensor
    value: Tensor
    mask: Tensor | None
    call: Call

    @classmethod
    def of(cls, call: Call, inputs: Sequence[Tensor]) -> Operands:
        """Return the operands, given the inputs of a call."""
        query, key, value, *mask = map(wide, inputs)
        key, value = (_for_queries(one, query) for one in (key, value))
        return cls(query, key, value, mask[0] if mask else None, call)

    @property
    def scale(self) -> float:
        """What the products of queries and keys are multiplied by."""
        own: float | None = self.call.scale
        return self.query.shape[-1] ** -0.5 if own is None else own

    @property
    def logits(self) -> Tensor:
        """What the softmax over the keys is taken of, `(..., queries, keys)`."""
        logits = self.query @ self.key.transpose(-1, -2) * self.scale
        if self.call.is_causal:
            ones = torch.ones(logits.shape[-2:], dtype=torch.bool, device=logits.device)
            logits = logits.masked_fill(~ones.tril(), -torch.inf)
        mask = self.call.attn_mask if self.mask is None else self.mask
        if mask is None:
            return logits
        return logits.masked_fill(~mask, -torch.inf) if mask.dtype == torch.bool else logits + mask


def signals_of(call: Call, *signals: Tensor) -> tuple[Tensor, ...]:
    """Return signals of the operands in the form of a call's inputs, some of them repeated."""
    pairs = zip(signals, call.shapes, strict=False)
    return tuple(in_dtype(_shaped(one, shape), call.dtype) for one, shape in pairs)


def _for_queries(values: Tensor, query: Tensor) -> Tensor:
    """Repeat the heads of keys or values that several heads of queries share."""
    if values.dim() < 3 or values.shape[-3] in (1, query.shape[-3]):
        return values
    return values.repeat_interleave(query.shape[-3] // values.shape[-3], -3)


def _shaped(values: Tensor, shape: torch.Size) -> Tensor:
    """Sum over what was repeated or expanded."""
    if len(shape) > 2 and values.shape[-3] > shape[-3] > 1:
        values = values.unflatten(-3, (shape[-3], -1)).sum(-3)
    return values.sum_to_size(shape)
