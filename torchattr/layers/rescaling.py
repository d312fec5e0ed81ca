"""The run of a reference, and the rules that compare another run with it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import Tensor

from torchattr.core.types import Forward, OutputKey
from torchattr.layers.capture import TapPoint
from torchattr.layers.composite import CheckedTable
from torchattr.layers.guards import RandomState
from torchattr.layers.linearity import demand_same_maps
from torchattr.layers.mode import only_refused
from torchattr.layers.operations.parsers import parse_call, parse_requested
from torchattr.layers.reference import Recorder, Reference, Tolerance
from torchattr.layers.registry import RuleTable, registered_rules
from torchattr.layers.row_by_row import demand_row_by_row, treats_rows_alone
from torchattr.layers.rule import LayerRule
from torchattr.layers.trace import Trace

RESCALE = "rescale"


class ComparedInputs:
    """Tells what a run of the reference keeps of a call: the inputs of one that a rule compares."""

    def __init__(self) -> None:
        self._names = {name for name, kind in registered_rules() if kind == RESCALE}

    def __call__(
        self, function: Any, args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> Sequence[Tensor]:
        parsed = parse_call(function, args, kwargs)
        if parsed is None or only_refused(parsed[0]):
            parsed = parse_requested(function, args, kwargs, self._names)
        if parsed is None or parsed[0].operation.name not in self._names:
            return ()
        return parsed[1]


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
        self._taps = taps
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
        recording: RuleTable = dict.fromkeys(self._rules, Recorder(reference))
        trace = Trace(model, inputs, arguments, tables=[recording], **options)
        return trace, reference

    @property
    def _outputs(self) -> list[Tensor]:
        """The results of the run, whose graph that of another is compared with."""
        calls = [call for tap in self._taps for call in self.trace.calls(tap)]
        return [self.trace.output, *(value for call in calls for value in call.values)]

    def may_be_copied(self) -> bool:
        """Whether copies of the rows may be compared with another run.

        They may not where random numbers were drawn, perhaps for each row; the state of these is as
        it was before the run then.
        """
        if self._draws.has_changed():
            self._draws.restore()
            return False
        return treats_rows_alone(self._outputs)

    def table(self, copies: int = 1) -> RuleTable:
        """Return the rules for one other run, which draws the same random numbers.

        Args:
            copies: how many copies of the reference's rows that run is compared with.
        """
        self._reference.restart(copies)
        self._draws.restore()
        rules = {name: rule(self._reference) for name, rule in self._rules.items()}
        return RescaleTable(rules, self._outputs, copies)


class RescaleTable(CheckedTable):
    """The rules for one run that is compared with that of a reference.

    Args:
        rules: the rule of each operation.
        outputs: the results of the reference's run.
        copies: how many copies of the reference's rows the run is compared with.
    """

    def __init__(self, rules: dict[str, Any], outputs: Sequence[Tensor], copies: int = 1) -> None:
        super().__init__(rules)
        self._outputs, self._copies = outputs, copies

    def check(self, outputs: Sequence[Tensor]) -> None:
        if self._copies == 1:
            demand_same_maps(outputs, self._outputs, self)
        else:
            demand_row_by_row(outputs, self._outputs, self, self._copies)
