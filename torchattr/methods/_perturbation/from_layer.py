"""A model as a function of the values of one of its layers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor

from torchattr.core.inputs import Inputs
from torchattr.core.outputs import any_output
from torchattr.core.pytree import tensors_of, with_tensors
from torchattr.core.types import Forward
from torchattr.core.undoing import undone
from torchattr.incremental import run_by
from torchattr.layers import (
    Captured,
    TapPoint,
    ThreadHook,
    Trace,
    hook_forward,
    on_input,
    on_output,
)
from torchattr.methods._gradient.target_reader import last_call


class FromLayer:
    """Runs a model with the values of a layer replaced.

    Args:
        model: the module or function to run.
        tap: the layer, and whether its input is replaced instead of its output.
        inputs: the model's inputs.
        arguments: its further positional arguments.

    Attributes:
        values: the layer's own values for these inputs.

    Raises:
        LayerError: the layer did not run.
    """

    def __init__(
        self, model: Forward, tap: TapPoint, inputs: Inputs, arguments: Sequence[Any]
    ) -> None:
        self._model, self._tap = model, tap
        trace = Trace(
            model, inputs.tensors, arguments, taps=[tap], key=any_output, differentiable=False
        )
        self._captured: Captured = last_call(trace, tap)
        self._calls = len(trace.calls(tap))
        self.values = self._captured.values
        self.arguments = (*inputs.tensors, *arguments)

    @property
    def calls(self) -> int:
        """Number of times that the layer ran; its last values are replaced."""
        return self._calls

    def restore(self, results: Sequence[Any]) -> Any:
        """Return results in the containers of the layer's own values."""
        return self._captured.restore(results)

    @property
    def forward(self) -> Forward:
        """The model as a function of the layer's values, and of its own arguments after them."""
        return run_by(self._model, self._run)

    def _run(self, run_model: Callable[..., Any], args: Sequence[Any]) -> Any:
        replacing, own = args[: len(self.values)], args[len(self.values) :]
        hook = ThreadHook(self._hook(replacing))
        with undone() as undo:
            hook_forward(undo, self._tap.module, hook, before=self._tap.of_input)
            return run_model(*own)

    def _hook(self, replacing: Sequence[Tensor]) -> Callable[..., Any]:
        left = self._calls

        def last_replaced(value: Any) -> Any:
            nonlocal left
            left -= 1
            return value if left else _replaced(value, replacing)

        return (on_input if self._tap.of_input else on_output)(last_replaced)


def _replaced(value: Any, replacing: Sequence[Tensor]) -> Any:
    """Return nested containers with their tensors replaced, in order."""
    if len(tensors_of(value)) != len(replacing):
        raise ValueError("the layer has another number of tensors than for the clean inputs")
    left = iter(replacing)
    return with_tensors(value, lambda _: next(left))
