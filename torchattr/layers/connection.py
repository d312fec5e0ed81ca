"""What the graph connects the scores to, and what disconnected them from the inputs."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from torchattr.core.gradient_mode import gradients
from torchattr.core.torch_private import DisableTorchFunction
from torchattr.core.undoing import undone
from torchattr.layers.guards import enter_mode
from torchattr.layers.layouts.calls import tensors_in
from torchattr.layers.layouts.notes import TensorNotes
from torchattr.layers.operations.names import base_name

Port: TypeAlias = tuple[Any, int]
"""A node of the graph and the number of one of its outputs."""

_FLAT = ("Sign", "Round", "Floor", "Ceil", "Trunc", "Sgn")
"""Functions whose gradient is zero wherever it exists: nothing flows back through them."""

# PyTorch's own nodes are numbered; those of a user's function carry its name, without a number.
_FLAT_NODES = frozenset(f"{name}Backward{number}" for name in _FLAT for number in range(2))
_FLAT_NAMES = frozenset(name.lower() for name in _FLAT) | {"heaviside", "fix"}


def is_flat(node: Any) -> bool:
    """Whether a node belongs to a function whose gradient is zero wherever it exists."""
    return type(node).__name__ in _FLAT_NODES


def ports_below(
    scores: Tensor, *, known: frozenset[Port] = frozenset(), at: Tensor | None = None
) -> frozenset[Port]:
    """Return the outputs of all nodes that scores depend on.

    Args:
        scores: where to begin.
        known: the outputs below the tensor `at`, if already known.
        at: a tensor on the way.
    """
    if scores.grad_fn is None:
        return frozenset()
    first: Port = (scores.grad_fn, scores.output_nr)
    end: Port | None = None if at is None or at.grad_fn is None else (at.grad_fn, at.output_nr)
    waiting, seen, meets = [first], {first}, first == end
    while waiting:
        node, _ = waiting.pop()
        if is_flat(node):
            continue
        for below, number in node.next_functions:
            port = (below, number)
            if port == end:
                meets = True
            elif below is not None and port not in seen:
                seen.add(port)
                waiting.append(port)
    return frozenset(seen) | known if meets else frozenset(seen)


def why_disconnected(
    model: Callable[..., Any],
    inputs: Sequence[Tensor],
    arguments: Sequence[Any],
    score: Callable[[Any], Tensor],
) -> str | None:
    """Return what disconnected the scores from the inputs, found by running another forward.

    Args:
        model: the model.
        inputs: its inputs.
        arguments: its further arguments.
        score: returns the scores of the model's output.

    Returns:
        a clause such as `conv2d ran under torch.no_grad() (at net.py:12)`; an empty one if the
        graph connects the scores to the inputs; `None` if they were computed without the inputs.
    """
    with gradients():
        copies = [_live(tensor) for tensor in inputs]
        finder = _CutFinder(copies)
        with undone() as undo:
            enter_mode(undo, finder)
            scores = score(model(*copies, *arguments))
    return finder.cause(scores)


def _live(tensor: Tensor) -> Tensor:
    copy = tensor.detach().clone()
    # A model may write over its inputs, but not over leaves.
    return copy.requires_grad_().clone() if copy.is_floating_point() else copy


class _CutFinder(TorchFunctionMode):
    """Records for each tensor computed from the inputs what disconnected it; empty if nothing did.

    Args:
        inputs: the model's inputs.
    """

    def __init__(self, inputs: Sequence[Tensor]) -> None:
        super().__init__()
        self._causes: TensorNotes[str] = TensorNotes()
        self._dead: TensorNotes[bool] = TensorNotes()
        self._left: str | None = None
        for tensor in inputs:
            self._causes[tensor] = "" if tensor.requires_grad else f"an input is {tensor.dtype}"

    def __torch_function__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        causes = [
            cause
            for tensor in tensors_in([args, kwargs])
            if (cause := self._cause_at(tensor)) is not None
        ]
        result = func(*args, **kwargs)
        if causes:
            with DisableTorchFunction():
                self._note(func, args, causes, result)
        return result

    def cause(self, scores: Tensor) -> str | None:
        """Return what disconnected the scores."""
        cause = self._cause_at(scores)
        return self._left if cause is None else cause

    def _cause_at(self, tensor: Tensor) -> str | None:
        # A custom autograd function runs under no_grad, and its results enter the graph afterwards.
        revived = tensor.requires_grad and self._dead.get(tensor)
        return "" if revived else self._causes.get(tensor)

    def _note(self, func: Any, args: Sequence[Any], causes: Sequence[str], result: Any) -> None:
        connected = "" in causes
        results = list(tensors_in([args[:1] if result is None else result]))
        if not results and base_name(func) in _LEAVING:
            self._left = self._left or f"{base_name(func)} left PyTorch{_where()}"
        for tensor in results:
            self._dead[tensor] = not tensor.requires_grad
            cut = not tensor.requires_grad or base_name(func) in _FLAT_NAMES
            if connected and not cut:
                self._causes[tensor] = ""
            elif not connected:
                self._causes[tensor] = next(cause for cause in causes if cause)
            elif not self._causes.get(tensor):
                self._causes[tensor] = _described(func, tensor) + _where()


_LEAVING = frozenset({"numpy", "item", "tolist", "array", "float", "int", "bool", "index"})


def _described(func: Any, result: Tensor) -> str:
    name = base_name(func)
    if result.is_quantized or "quantized" in str(func):
        return f"{name} is a quantised operation"
    if torch.is_inference_mode_enabled():
        return f"{name} ran under torch.inference_mode()"
    if not torch.is_grad_enabled():
        return f"{name} ran under torch.no_grad()"
    if name in ("detach", "data"):
        return "a tensor was detached"
    if not (result.is_floating_point() or result.is_complex()):
        kind = "booleans" if result.dtype == torch.bool else "integers"
        return f"{name} gives {kind}, which have no gradient"
    if name in _FLAT_NAMES:
        return f"{name} is flat wherever it has a gradient"
    return f"{name} gave a result without gradient"


_OWN = (str(Path(torch.__file__).parent), str(Path(__file__).parents[1]))


def _where() -> str:
    """Return the current line of the model's own code, as a clause."""
    frame = sys._getframe(1)
    while frame is not None and frame.f_code.co_filename.startswith(_OWN):
        if frame.f_back is None:
            return ""
        frame = frame.f_back
    return f" (at {Path(frame.f_code.co_filename).name}:{frame.f_lineno})"
