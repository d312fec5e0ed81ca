"""A forward on PyTorch's own graph, whose gradients can be differentiated again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor
from torch.autograd.graph import GradientEdge

from torchattr.core.types import Forward, OutputKey
from torchattr.core.undoing import Undo
from torchattr.layers.graph_trace import ForwardCall, GraphTrace, Tap
from torchattr.layers.guards import modules_of, refuse_scripted
from torchattr.layers.native import require_plain_modules


class PlainTrace(GraphTrace):
    """Runs the model as it is, and leaves its graph as it is: there are no rules.

    Args:
        model: the module or function to run.
        inputs: its attributed inputs.
        arguments: its further positional arguments, which are not attributed.
        taps: modules whose inputs or outputs are recorded.
        key: which entry of the model's output holds the scores.

    Raises:
        ScriptedModelError: a part of the model hides its operations.
        NotNative: a module is in training mode, or may be.
    """

    def __init__(
        self,
        model: Forward,
        inputs: Sequence[Tensor],
        arguments: Sequence[Any] = (),
        *,
        taps: Sequence[Tap] = (),
        key: OutputKey = None,
    ) -> None:
        modules = modules_of(model)
        refuse_scripted(model, modules)
        require_plain_modules(model, modules)
        super().__init__(taps)
        self.output = self._run(ForwardCall(model, inputs, arguments, key), follow=True)

    def _watch_forward(self, model: Forward, undo: Undo) -> None:
        """Leave the model alone."""

    def _apply_rules(
        self,
        undo: Undo,
        table: int,
        wanted: Sequence[GradientEdge],
        *,
        of_output: bool,
        keep: bool,
    ) -> None:
        """There are none."""
