"""The self-attention of a model, layer by layer, and maps of what its tokens attend to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from torchattr.core.inputs import Inputs
from torchattr.errors import Hint, InputError, LayerError, WayOut
from torchattr.layers import UNREAD, Attention, UnreadAttention
from torchattr.methods._gradient.backward_pass import PassResult
from torchattr.methods._gradient.grids import Grids, LayoutChoice

Queries = Literal["class", "mean"]


@dataclass(frozen=True)
class AttentionLayer:
    """One call of self-attention over the tokens of each example.

    Attributes:
        attention: its operands.
        batch_size: number of examples.
        gradients: the gradient at its output in each pass that reads it.
        scores: the target's score of each example.
    """

    attention: Attention
    batch_size: int
    gradients: tuple[Tensor, ...] = ()
    scores: Tensor = field(default_factory=lambda: torch.empty(0))

    def matrix(self) -> Tensor:
        """Return `A`, `(N, heads, queries, keys)`."""
        return self._by_head(self.attention.matrix())

    def matrix_gradient(self, of_pass: int = 0) -> Tensor:
        """Return the gradient of one of the passes with respect to `A`, in its shape."""
        return self._by_head(self.attention.matrix_gradient(self.gradients[of_pass]))

    def _by_head(self, matrix: Tensor) -> Tensor:
        first = matrix.movedim(self.attention.tokens.batch or 0, 0)
        return first.reshape(self.batch_size, -1, *first.shape[-2:])


class AttentionChain:
    """The layers of self-attention that a method composes, the first one first.

    Args:
        results: the attention calls, and the gradients at their outputs, of passes that read the
            same calls.
        inputs: the model's inputs.
        method: the method's name in messages.
        span: which of them are composed.

    Attributes:
        layers: the layers.

    Raises:
        LayerError: there is no attention; it is within windows; its queries and keys are not the
            same tokens; or the tokens differ between layers.
        InputError: the span holds no layer.
    """

    def __init__(
        self,
        results: Sequence[PassResult],
        inputs: Inputs,
        method: str,
        span: slice = slice(None),
    ) -> None:
        self._inputs = inputs
        every = self._layers_of(results)
        self.layers = _up_to_self_attention(every)[span]
        if every and not self.layers:
            raise InputError(
                f"{method} leaves out all of the {len(every)} layers of attention; choose a smaller"
                " start_layer, which is counted from 0"
            )
        _demand_composable([layer.attention for layer in self.layers], method)

    def _layers_of(self, results: Sequence[PassResult]) -> list[AttentionLayer]:
        """Return the attention calls that passes read, with the gradients of each pass."""
        first = results[0]
        gradients = zip(*(result.gradients for result in results), strict=True)
        return [
            AttentionLayer(call.attention, self._inputs.batch_size, sum(each, ()), first.scores)
            for call, each in zip(first.calls, gradients, strict=True)
            if call.attention is not None
        ]

    def read_rows(self, last: PassResult) -> Tensor:
        """Return a weight for each token, `(N, tokens)`: equal ones for those that are read.

        Behind the last layer the score depends on the class token alone, say, or on all tokens that
        are averaged: on those whose row of the last matrix has a gradient.

        Args:
            last: the attention calls of the model, with the gradient at the last one's output.

        Raises:
            LayerError: it has no gradient, or other tokens than the layers.
        """
        found = [layer for layer in self._layers_of([last]) if layer.gradients]
        if not found or found[-1].attention.queries != self.layers[-1].attention.queries:
            raise LayerError(
                "it is not known which tokens the score depends on, since the last attention of the"
                " model cannot be read, or is one of other tokens than the chosen layers",
                hint=Hint(
                    ways_out=[
                        WayOut("say whose attention is shown with {setting}", "queries", "mean")
                    ]
                ),
            )
        gradient = found[-1].matrix_gradient()
        read = gradient.abs().amax((1, 3)) > 0
        read = read | read.any(1, keepdim=True).logical_not()
        weights = read.to(gradient.dtype)
        return weights / weights.sum(1, keepdim=True)

    def rows(self, queries: Queries) -> Tensor:
        """Return the weights of the first token alone, or of all tokens, `(N, tokens)`."""
        matrix = self.layers[-1].matrix()
        weights = matrix.new_zeros(matrix.shape[0], matrix.shape[-1])
        if queries == "class":
            return weights.index_fill(1, torch.zeros(1, dtype=torch.long, device=matrix.device), 1)
        return weights + 1 / matrix.shape[-1]

    def map_of(self, row: Tensor, layout: LayoutChoice) -> Tensor:
        """Return a value for each token as a map `(N, 1, h, w)`, without the other tokens.

        Raises:
            LayerError: it is not known which tokens form a grid.
        """
        grids = Grids("attention", self._inputs, layout)
        values = row.unsqueeze(-1).to(self._inputs.tensors[0].dtype)
        return grids.of(values, values, self.layers[-1].attention.tokens.layout)[0]


def _up_to_self_attention(layers: list[AttentionLayer]) -> list[AttentionLayer]:
    """Return the layers up to the last one of self-attention; all if there is none.

    What follows reads the tokens for the score, as pooling by attention does.
    """
    own = [number for number, one in enumerate(layers, 1) if one.attention.tokens.is_self]
    return layers[: own[-1]] if own else layers


def _demand_composable(chain: Sequence[Attention], method: str) -> None:
    """Check that matrices relate the same tokens of each example.

    Raises:
        LayerError: they do not.
    """
    if not chain:
        raise _refusal(method, "the model (or the chosen layers) ran no attention that is known")
    tokens = [one.tokens for one in chain]
    if any(isinstance(one, UnreadAttention) for one in chain):
        raise _refusal(method, UNREAD)
    if any(one.is_windowed for one in tokens):
        because = "it attends within windows, so no matrix relates all tokens of the image"
        raise _refusal(method, because)
    if not all(one.is_self for one in tokens):
        raise _refusal(method, "the queries of an attention call are not the tokens of its keys")
    if any(one.batch is None for one in tokens):
        because = "the first dimension is not the batch of the inputs (windows or frames may be"
        raise _refusal(method, f"{because} folded into it), so no matrix belongs to one example")
    counts = sorted({one.queries for one in chain})
    if len(counts) > 1 or any(one.layout != tokens[0].layout for one in tokens):
        listed = ", ".join(map(str, counts))
        raise _refusal(method, f"the tokens differ between its layers (there are {listed})")


def _refusal(method: str, because: str) -> LayerError:
    return LayerError(
        f"{method} reads self-attention over the tokens of an image, but {because}",
        hint=Hint(
            ways_out=[
                WayOut("choose other layers with {setting}", "layers"),
                WayOut("GradCAM, Saliency and Occlusion need no attention"),
            ]
        ),
    )
