"""The run of a reference, and the rules that compare another run with it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor

from torchattr.core.types import Forward, OutputKey
from torchattr.layers.capture import TapPoint
from torchattr.layers.composite import CheckedTable
from torchattr.layers.guards import RandomState
from torchattr.layers.linearity import demand_same_maps
from torchattr.layers.reference import Recorder, Reference, Tolerance
from torchattr.layers.registry import RuleTable, registered_rules
from torchattr.layers.rule import LayerRule
from torchattr.layers.trace import Trace

RESCALE = "rescale"


class ReferenceRun:
    """One forward on the reference, which any number of others may be compared with.

    Args:
        model: the module or function to run.
        inputs: the reference of each attributed input.
        arguments: the further positional arguments.
        taps: tap points whose values are recorded.
        key: which entry of the model's output holds the scores.
        tolerance: which differences count as none.

    Attributes:
        trace: the forward.
        tolerance: which differences count as none.
    """

    def __init__(
        self,
        model: Forward,
        inputs: Sequence[Tensor],
        arguments: Sequence[Any] = (),
        *,
        taps: Sequence[TapPoint] = (),
        key: OutputKey = None,
        tolerance: Tolerance | None = None,
    ) -> None:
        self.tolerance = tolerance or Tolerance()
        self._draws = RandomState(inputs)
        rules = registered_rules()
        self._rules: dict[str, Callable[[Reference], LayerRule]] = {
            name: rule for (name, kind), rule in rules.items() if kind == RESCALE
        }
        options = {"taps": taps, "key": key}
        self.trace, self._reference = self._traced(model, inputs, arguments, options)
        if not self._reference.is_intact:
            self._draws.restore()
            self.trace, self._reference = self._traced(
                model, inputs, arguments, options, copies=True
            )

    def _traced(
        self,
        model: Forward,
        inputs: Sequence[Tensor],
        arguments: Sequence[Any],
        options: dict[str, Any],
        *,
        copies: bool = False,
    ) -> tuple[Trace, Reference]:
        reference = Reference(self.tolerance, copies=copies)
        recorder = Recorder(reference)
        recording: RuleTable = dict.fromkeys(self._rules, recorder)
        trace = Trace(model, inputs, arguments, tables=[recording], **options)
        recorder.finish()
        calls = [call for tap in options["taps"] for call in trace.calls(tap)]
        reference.outputs = [trace.output, *(value for call in calls for value in call.values)]
        return trace, reference

    def table(self) -> RuleTable:
        """Return the rules for one other run, which draws the same random numbers."""
        self._reference.restart()
        self._draws.restore()
        rules = {name: rule(self._reference) for name, rule in self._rules.items()}
        return RescaleTable(rules, self._reference)


class RescaleTable(CheckedTable):
    """The rules for one run that is compared with that of a reference.

    Args:
        rules: the rule of each operation.
        reference: the run of the reference.
    """

    def __init__(self, rules: dict[str, Any], reference: Reference) -> None:
        super().__init__(rules)
        self._reference = reference

    def check(self, outputs: Sequence[Tensor]) -> None:
        demand_same_maps(outputs, self._reference.outputs, self)
