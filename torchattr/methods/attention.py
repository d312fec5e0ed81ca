"""The base class of the methods that read attention matrices."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, get_args

from torch import Tensor

from torchattr.core.inputs import Inputs
from torchattr.core.select import find_layers
from torchattr.core.types import Forward, Layers, OutputKey
from torchattr.errors import InputError
from torchattr.layers import AttentionTap, RuleTable
from torchattr.methods._gradient.attention_chain import (
    AttentionChain,
    AttentionLayer,
    Queries,
)
from torchattr.methods._gradient.backward_pass import Pass, PassResult
from torchattr.methods._gradient.grids import LayoutChoice, checked_layout
from torchattr.methods._gradient.memory import Memory
from torchattr.methods.base import GradientAttribution


class AttentionAttribution(GradientAttribution):
    """A method that composes the self-attention of a transformer's layers to a map of its tokens.

    Layer by layer, each token is what it was and what it attends to. A subclass says how much of
    the latter (:meth:`mixing`); the map shows how much of each patch is in the tokens that the
    score is read from. Attention is read wherever PyTorch runs it, fused or not; of fused attention
    the matrix of one layer at a time is computed again from its queries and keys.

    Args:
        layers: the layers whose attention is composed, which are the modules that run it or contain
            those; all by default.
        queries: whose attention is shown: `"class"` of the first token, `"mean"` of all tokens; by
            default that of the tokens that the score depends on behind the last layer, which is the
            class token where there is one, and all tokens where these are averaged.
        layout: the layout of the tokens, as for :class:`GradCAM`; by default it is inferred.

    Raises:
        LayerError: the model runs no attention, or in windows, or between different tokens; the
            tokens form no grid that is known; or it is unknown which of them the score depends on.
    """

    reads_gradients: ClassVar[bool] = False
    """Whether :meth:`mixing` reads the gradients of all matrices."""

    shows_start: ClassVar[bool] = True
    """Whether the map has what the tokens that are read were at the beginning; this is the same for
    all patches that are read."""

    def __init__(
        self,
        model: Forward,
        layers: Layers | None = None,
        *,
        queries: Queries | None = None,
        layout: LayoutChoice = None,
        output: OutputKey = None,
        memory: Memory = "auto",
    ) -> None:
        super().__init__(model, output=output, memory=memory)
        if queries not in (None, *get_args(Queries)):
            raise InputError(f"queries must be 'class', 'mean' or None, got {queries!r}")
        self._layers = layers
        self._modules = () if layers is None else tuple(find_layers(model, layers).values())
        self._queries: Queries | None = queries
        self._layout: LayoutChoice = checked_layout(layout)

    @property
    def combines_at_once(self) -> bool:
        # A layout of the user's may do anything.
        return not callable(self._layout)

    @abstractmethod
    def mixing(self, layer: AttentionLayer) -> Tensor:
        """Return how much of each token a layer mixes into each, `(N, tokens, tokens)`."""

    @property
    def span(self) -> slice:
        """Which of the layers are composed; all by default."""
        return slice(None)

    def tables(self, inputs: Inputs) -> Sequence[RuleTable]:
        """Return the rules of each pass that reads the gradients of all matrices."""
        return [self.table]

    def passes(
        self, inputs: Inputs, arguments: Sequence[Any], *, target: Any = None, **options: Any
    ) -> Sequence[Pass]:
        tap = AttentionTap(self._modules, "all" if self.reads_gradients else "none")
        chosen = [Pass(table, tap, "attention") for table in self.tables(inputs)]
        if self._queries is not None:
            return chosen
        return [*chosen, Pass(self.table, AttentionTap((), "last"), "attention")]

    def combine(self, inputs: Inputs, results: Sequence[PassResult], **options: Any) -> Any:
        of_layers = results if self._queries is not None else results[:-1]
        chain = AttentionChain(of_layers, inputs, self.title, self.span)
        row = start = self._start(chain, results[-1])
        # From the last layer on, a row times a matrix: the product of matrices is never formed.
        for layer in reversed(chain.layers):
            row = (row.unsqueeze(1) @ self.mixing(layer)).squeeze(1)
        return chain.map_of(row if self.shows_start else row - start, self._layout)

    def _start(self, chain: AttentionChain, last: PassResult) -> Tensor:
        if self._queries is None:
            return chain.read_rows(last)
        return chain.rows(self._queries)

    def _settings(self) -> dict[str, Any]:
        own = {"layers": self._layers, "queries": self._queries, "layout": self._layout}
        return {**own, **super()._settings()}
