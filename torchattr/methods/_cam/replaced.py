"""A model in which a layer returns other values than its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor, nn

from torchattr.core.pytree import with_tensors
from torchattr.core.types import Forward
from torchattr.core.undoing import undone
from torchattr.incremental import run_by
from torchattr.layers import ThreadHook, hook_forward


def with_values(model: Forward, module: nn.Module, replaced: Tensor, call: int) -> Forward:
    """Return a model in which one call of a module returns other values.

    Args:
        model: the model.
        module: the module, which returns one tensor.
        replaced: what it returns instead.
        call: which of its calls, by position.
    """

    def run(run_model: Callable[..., Any], args: Sequence[Any]) -> Any:
        passed: list[None] = []

        def hook(module: nn.Module, args: Any, output: Any) -> Any:
            passed.append(None)
            if len(passed) - 1 != call:
                return None
            return with_tensors(output, lambda _: replaced)

        with undone() as undo:
            hook_forward(undo, module, ThreadHook(hook))
            return run_model(*args)

    return run_by(model, run)
