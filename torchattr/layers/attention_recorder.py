"""Records the attention calls of a model's own forward."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.graph import get_gradient_edge
from torch.overrides import TorchFunctionMode

from torchattr.core.functorch import is_transformed
from torchattr.core.torch_private import DisableTorchFunction, opened
from torchattr.core.types import Forward
from torchattr.core.undoing import Undo, undoing
from torchattr.layers.attention import (
    Attention,
    ExplicitAttention,
    FusedAttention,
    KeptTensor,
    Tokens,
    UnreadAttention,
)
from torchattr.layers.capture import Captured
from torchattr.layers.guards import enter_mode, hook_forward, named_modules_of
from torchattr.layers.hooks import ThreadHook
from torchattr.layers.layouts.axes import BATCH, OTHER, Axes, axis
from torchattr.layers.layouts.notes import TensorNotes
from torchattr.layers.layouts.tracker import LayoutTracker, is_dense
from torchattr.layers.operations.names import base_name
from torchattr.layers.operations.parsers import parse_requested


@dataclass(frozen=True)
class AttentionTap:
    """The attention calls of a model, as the place where a method reads.

    Attributes:
        modules: the modules whose calls count, with those of their children; all if there are none.
        gradients: of which calls the gradients at the output are read: of all, of the last one of
            self-attention, or of none.
    """

    modules: tuple[nn.Module, ...] = ()
    gradients: Literal["all", "last", "none"] = "all"

    of_input: ClassVar[bool] = True
    """Gradients are followed from the inputs on."""

    def counts(self, within: Sequence[nn.Module]) -> bool:
        """Whether a call counts that ran within these modules."""
        return not self.modules or any(module in self.modules for module in within)


class AttentionRecorder(TorchFunctionMode):
    """Records each attention call while a forward runs in this thread.

    These are calls of `F.scaled_dot_product_attention`, also inside `nn.MultiheadAttention`, and
    products of a softmax over the last dimension with values. What they had is kept, not copied.

    Args:
        tracker: tracks the dimensions of the inputs.
        batch: number of examples.
    """

    def __init__(self, tracker: LayoutTracker, batch: int) -> None:
        super().__init__()
        self._tracker = tracker
        self._batch = batch
        self._recorded: list[Captured] = []
        self._running: list[nn.Module] = []
        self._weights: TensorNotes[Captured] = TensorNotes()

    def record(self, undo: Undo, model: Forward) -> None:
        """Intercept the calls of this thread, and follow which modules run, until undone."""
        for module in dict.fromkeys(module for _, module in named_modules_of(model)):
            hook_forward(undo, module, ThreadHook(self._enters), before=True)
            hook_forward(undo, module, ThreadHook(self._leaves))
        enter_mode(undo, self)

    def calls(self, tap: AttentionTap) -> list[Captured]:
        """Return the calls that a tap point counts, in execution order."""
        found = [call for call in self._recorded if tap.counts(call.within)]
        own = [call for call in found if call.is_self_attention]
        read = {"all": found, "last": own[-1:], "none": []}[tap.gradients]
        kept = set(map(id, read))
        return [call if id(call) in kept else call.without_gradient() for call in found]

    def __torch_function__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if func is F.multi_head_attention_forward:
            return self._run_opened(args, kwargs)
        result = func(*args, **kwargs)
        name = base_name(func)
        if name in _FOLLOWED and isinstance(result, Tensor) and not is_transformed():
            with DisableTorchFunction():
                self._follow(name, func, args, kwargs, result)
        return result

    def _run_opened(self, args: Sequence[Any], kwargs: Any) -> Any:
        """Run `F.multi_head_attention_forward` so that its inner calls are seen."""

        def run(undo: Undo) -> Any:
            enter_mode(undo, self)
            return opened(F.multi_head_attention_forward)(*args, **kwargs)

        result = undoing(run)
        with DisableTorchFunction():
            # As a whole, more is known of its result than of what its views make.
            self._tracker.note(F.multi_head_attention_forward, args, kwargs, result)
        return result

    def _follow(self, name: str, func: Any, args: Any, kwargs: Any, result: Tensor) -> None:
        if name in _SOFTMAX:
            if _is_over_last(args, kwargs):
                self._note_softmax(result)
        elif name in _CARRIES:
            known = self._weights.get(args[0]) if args and isinstance(args[0], Tensor) else None
            if known is not None:
                self._weights[result] = known
        elif name == "scaled_dot_product_attention":
            self._note_fused(func, args, kwargs, result)
        else:
            self._note_product(name, args, kwargs, result)

    def _note_softmax(self, weights: Tensor) -> None:
        """Note weights that a product may follow; square ones are attention even without it."""
        unread = UnreadAttention(self._tokens_of(weights), weights.shape[-2])
        captured = Captured((), (), attention=unread, within=tuple(self._running))
        self._weights[weights] = captured
        if weights.shape[-1] == weights.shape[-2] > 1 and weights.dim() > 2:
            self._recorded.append(captured)

    def _note_fused(self, func: Any, args: Any, kwargs: Any, output: Tensor) -> None:
        parsed = parse_requested(func, args, kwargs, ("attention",))
        if parsed is None or not all(map(is_dense, parsed[1])):
            return
        call, (query, key, value, *computed) = parsed
        mask = computed[0] if computed else call.arguments["attn_mask"]
        kept = {**call.arguments, "attn_mask": None if mask is None else KeptTensor(mask)}
        rows, columns = self._tracker.axes(query), self._tracker.axes(key)
        tokens = self._tokens(rows, columns, query.shape[:-1], key.shape[-2])
        q, k, v = map(KeptTensor, (query, key, value))
        self._note(FusedAttention(tokens, q, k, v, kept), output)

    def _note_product(self, name: str, args: Any, kwargs: Any, output: Tensor) -> None:
        equation, operands = _operands(name, args, kwargs)
        if len(operands) != 2 or not all(isinstance(one, Tensor) for one in operands):
            return
        weights, value = operands
        softmax = self._weights.get(weights)
        if softmax is None or not (is_dense(value) and value.dim() > 1):
            return
        self._recorded = [call for call in self._recorded if call is not softmax]
        tokens = self._tokens_of(weights)
        kept = ExplicitAttention(tokens, KeptTensor(weights), KeptTensor(value), equation)
        self._note(kept, output)

    def _note(self, attention: Attention, output: Tensor) -> None:
        edge = get_gradient_edge(output) if output.requires_grad else None
        value, within = (output.detach(),), tuple(self._running)
        self._recorded.append(
            Captured(value, (edge,), shapes=(output.shape,), attention=attention, within=within)
        )

    def _tokens_of(self, weights: Tensor) -> Tokens:
        """Describe a matrix that the model has computed."""
        axes = self._tracker.axes(weights)
        if axes is None:
            return self._tokens(None, None, weights.shape[:-1], weights.shape[-1])
        rows, columns = (*axes[:-1], axis(OTHER, 1)), (*axes[:-2], axes[-1], axis(OTHER, 1))
        return self._tokens(rows, columns, weights.shape[:-1], weights.shape[-1])

    def _tokens(
        self, rows: Axes | None, columns: Axes | None, shape: Sequence[int], keys: int
    ) -> Tokens:
        """Describe a matrix by the axes of its queries and keys.

        Args:
            rows: the axes of the queries, `(..., queries, C)`.
            columns: the axes of the keys, `(..., keys, C)`.
            shape: the shape of the queries without their channels.
            keys: number of keys.
        """
        equal = shape[-1] == keys
        first = 0 if len(shape) > 1 and shape[0] == self._batch else None
        if rows is None or columns is None:
            alike = equal and rows is columns  # Of constants, such as learned queries, only one is.
            return Tokens("it is unknown how its tokens depend on the inputs", first, False, alike)
        lead, row = rows[:-2], rows[-2]
        layout = self._tracker.layout_of((axis(BATCH, self._batch), row, axis(OTHER, 2)))
        labels = [label for one in lead for label in one.labels]
        if BATCH in labels:
            first = next((dim for dim, one in enumerate(lead) if one.labels[:1] == (BATCH,)), None)
        inside = [label for label in labels if label not in (BATCH, OTHER)]
        return Tokens(layout, first, bool(inside), equal and row == columns[-2])

    def _enters(self, module: nn.Module, *call: Any) -> None:
        self._running.append(module)

    def _leaves(self, module: nn.Module, *call: Any) -> None:
        # Modules above it were left by an error that the model has caught.
        while self._running and self._running.pop() is not module:
            pass


def _is_over_last(args: Sequence[Any], kwargs: Any) -> bool:
    """Whether a softmax normalises the last dimension."""
    given = kwargs.get("input", args[0] if args else None)
    dim = kwargs.get("dim", args[1] if len(args) > 1 else None)
    return isinstance(given, Tensor) and given.dim() > 1 and dim in (-1, given.dim() - 1)


def _operands(name: str, args: Sequence[Any], kwargs: Any) -> tuple[str, Sequence[Any]]:
    """Return the equation of an `einsum`, if it is one, and the factors of a product."""
    given = [*args, *kwargs.values()]
    if name != "einsum":
        return "", given[::-1] if name == "rmatmul" else given
    if not given or not isinstance(given[0], str):
        return "", ()
    equation = given[0].replace(" ", "")
    factors = given[1] if len(given) == 2 and isinstance(given[1], (list, tuple)) else given[1:]
    left, arrow, result = equation.partition("->")
    terms = left.split(",")
    # The last letter of the weights must be what is summed over.
    if not arrow or "." in equation or len(terms) != 2 or terms[0][-1:] in (*result, ""):
        return "", ()
    return (equation, factors) if terms[0][-1] in terms[1] else ("", ())


_SOFTMAX = frozenset(("softmax", "special_softmax"))
_CARRIES = frozenset(
    (
        *("dropout", "feature_dropout", "alpha_dropout", "to", "type", "type_as", "float", "half"),
        *("double", "bfloat16", "view", "reshape", "flatten", "unflatten", "contiguous", "clone"),
        *("expand", "unsqueeze", "squeeze"),
    )
)
"""Functions that return the weights again; those that change what the last two dimensions are end
in a product of other shapes, which fails the comparison of queries and keys."""
_PRODUCTS = frozenset(("matmul", "rmatmul", "bmm", "einsum"))
_FOLLOWED = _SOFTMAX | _CARRIES | _PRODUCTS | {"scaled_dot_product_attention"}
