"""Attention matrices, from what one attention call had, and the gradients with respect to them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from torchattr.core.torch_private import DisableTorchFunction
from torchattr.errors import LayerError
from torchattr.layers.layouts.layout import Layout


@dataclass(frozen=True)
class Tokens:
    """What the dimensions of an attention matrix run over.

    Attributes:
        layout: the layout of the queries as `(N, tokens, C)`, or why it is unknown.
        batch: the dimension of the matrix that begins with the examples; all others before the
            queries and keys are heads. `None` if it is not known that there is one.
        is_windowed: whether each matrix belongs to a part of the image only.
        is_self: whether queries and keys are the same tokens, as far as known.
    """

    layout: Layout | str
    batch: int | None
    is_windowed: bool
    is_self: bool


class Attention(ABC):
    """The operands of one attention call `O = A V`; the matrix `A` is computed when it is read.

    Attributes:
        tokens: what the dimensions of its matrix run over.
    """

    tokens: Tokens

    @property
    @abstractmethod
    def queries(self) -> int:
        """Number of queries: of rows of the matrix."""

    @abstractmethod
    def matrix(self) -> Tensor:
        """Return `A`, `(..., queries, keys)`, in at least single precision.

        Raises:
            LayerError: the model has since written over what it is computed from.
        """

    @abstractmethod
    def matrix_gradient(self, gradient: Tensor) -> Tensor:
        """Return the gradient with respect to `A`, given that of the output: `dA = dO Vᵀ`."""


@dataclass(frozen=True)
class FusedAttention(Attention):
    """Operands of `F.scaled_dot_product_attention`, which never holds the whole of `A`.

    Attributes:
        tokens: what the dimensions of its matrix run over.
        query: what it is called.
        key: what it is called.
        value: what it is called.
        options: its mask, scale and other arguments, by name.
    """

    tokens: Tokens
    query: KeptTensor
    key: KeptTensor
    value: KeptTensor
    options: Mapping[str, Any]

    @property
    def queries(self) -> int:
        return self.query.shape[-2]

    def matrix(self) -> Tensor:
        query, key = self.query.read(), self._for_heads(self.key.read())
        scale = self.options.get("scale")
        scale = query.shape[-1] ** -0.5 if scale is None else scale
        return _normalised(_masked(query @ key.transpose(-2, -1) * scale, self.options))

    def matrix_gradient(self, gradient: Tensor) -> Tensor:
        return _wide(gradient) @ self._for_heads(self.value.read()).transpose(-2, -1)

    def _for_heads(self, shared: Tensor) -> Tensor:
        """Repeat keys or values for the heads that share them."""
        if not self.options.get("enable_gqa"):
            return shared
        return shared.repeat_interleave(self.query.shape[-3] // shared.shape[-3], -3)


@dataclass(frozen=True)
class ExplicitAttention(Attention):
    """Operands of a product of a softmax with values; the model itself has computed `A`.

    Attributes:
        tokens: what the dimensions of its matrix run over.
        weights: the matrix.
        value: the values.
        equation: that of `einsum`, if the product is one.
    """

    tokens: Tokens
    weights: KeptTensor
    value: KeptTensor
    equation: str = ""

    @property
    def queries(self) -> int:
        return self.weights.shape[-2]

    def matrix(self) -> Tensor:
        return self.weights.read()

    def matrix_gradient(self, gradient: Tensor) -> Tensor:
        value = self.value.read()
        if not self.equation:
            return _wide(gradient) @ value.transpose(-2, -1)
        operands, result = self.equation.split("->")
        weights, values = operands.split(",")
        return torch.einsum(f"{result},{values}->{weights}", _wide(gradient), value)


@dataclass(frozen=True)
class UnreadAttention(Attention):
    """A softmax between equally many queries and keys that no product with values follows.

    The model changes it first: it mixes the heads, adds another matrix, or scales it.

    Attributes:
        tokens: what the dimensions of its matrix run over.
        count: number of queries.
    """

    tokens: Tokens
    count: int

    @property
    def queries(self) -> int:
        return self.count

    def matrix(self) -> Tensor:
        raise LayerError(f"{UNREAD}, so its attention matrix is not known")

    def matrix_gradient(self, gradient: Tensor) -> Tensor:
        return self.matrix()


UNREAD = "the model changes the weights of an attention before it multiplies them with values"


class KeptTensor:
    """A tensor of the model's, shared with its graph, not copied.

    Args:
        tensor: the tensor.
    """

    def __init__(self, tensor: Tensor) -> None:
        with DisableTorchFunction():
            self._tensor = tensor.detach()
        self._version = _version(self._tensor)

    @property
    def shape(self) -> torch.Size:
        return self._tensor.shape

    def read(self) -> Tensor:
        """Return the tensor, in at least single precision.

        Raises:
            LayerError: the model has written over it.
        """
        if _version(self._tensor) != self._version:
            raise LayerError(
                "the model writes over the queries, keys, values or weights of an attention call"
                " after it, so the attention matrix cannot be read; choose a method that needs"
                " none, such as Saliency"
            )
        return _wide(self._tensor)


def _version(tensor: Tensor) -> int:
    return 0 if tensor.is_inference() else tensor._version


def _wide(tensor: Tensor) -> Tensor:
    return tensor.float() if tensor.dtype in (torch.float16, torch.bfloat16) else tensor


def _masked(scores: Tensor, options: Mapping[str, Any]) -> Tensor:
    if options.get("is_causal"):
        ones = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device)
        scores = scores.masked_fill(ones.tril().logical_not(), -torch.inf)
    kept = options.get("attn_mask")
    if kept is None:
        return scores
    mask = kept.read()
    if mask.dtype is torch.bool:
        return scores.masked_fill(mask.logical_not(), -torch.inf)
    return scores + mask


def _normalised(scores: Tensor) -> Tensor:
    """Return the softmax over the keys; a query without any key attends to nothing."""
    alone = (scores == -torch.inf).all(-1, keepdim=True)
    return scores.softmax(-1).masked_fill(alone, 0)
