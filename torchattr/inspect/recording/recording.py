"""Outputs of selected layers and operations during one forward, call by call."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from torch import Tensor, nn
from torch.autograd.graph import get_gradient_edge

from torchattr.core.outputs import any_output
from torchattr.core.select import (
    as_selections,
    find_layer,
    layer_names,
    match,
    missing,
    name_matches,
)
from torchattr.core.types import Forward, Layers, Selection
from torchattr.errors import LayerError
from torchattr.inspect.recording.module_stack import ModuleStack
from torchattr.inspect.recording.operation_calls import OperationCall, OperationWatcher
from torchattr.layers import (
    OPERATIONS,
    Captured,
    LayoutTracker,
    RuleTable,
    TapPoint,
    Trace,
    refuse_scripted,
)

CODES: Mapping[str, frozenset[str]] = {
    code: frozenset(
        name for name, operation in OPERATIONS.items() if wanted in (name, operation.kind)
    )
    for code, wanted in (("r", "rectifier"), ("p", "pool"), ("c", "conv"))
}
"""The operations of each code: `r` every ReLU, `p` every pooling, `c` every convolution."""

_NUMBERED = re.compile(r"(.+)#([1-9]\d*)")


class Recording:
    """One forward, with the calls of the selected layers and operations by name.

    Args:
        model: the model.
        inputs: its inputs.
        arguments: its additional positional arguments.
        layers: what to record: everything that :func:`torchattr.core.select.find_layers` takes, the
            codes `r`, `p` and `c`, and the names of operations; a name with `#2` is the second
            call alone.
        tables: the rules of each possible backward.

    Attributes:
        trace: the forward, ready for backward passes.
        calls: all calls by name, in the order in which they ran.

    Raises:
        LayerError: a selection that did not run, with the closest name that did.
        ScriptedModelError: a part of the model hides its operations.
        TrainingModeError: dropout or batch-norm was about to run in training mode.
    """

    def __init__(
        self,
        model: Forward,
        inputs: Sequence[Tensor],
        arguments: Sequence[Any],
        layers: Layers,
        tables: Sequence[RuleTable] = ({},),
    ) -> None:
        refuse_scripted(model)
        self._names = layer_names(model)
        self._selections = as_selections(layers)
        self._modules = [_modules(model, self._names, one) for one in self._selections]
        self._taken: list[tuple[OperationCall, Captured]] = []
        self._ran: dict[str, str] = {}
        self._tracker: LayoutTracker | None = None
        operations = OperationWatcher(
            self._names, ModuleStack(self._names), self._note, self._begin
        )
        self.trace = Trace(
            operations.around(model),
            inputs,
            arguments,
            tables=tables,
            taps=[self._tap(part) for parts in self._modules for part in parts.values()],
            key=any_output,
            tracked=self._begin_reading,
        )
        self._tracker = None
        self.calls: dict[str, list[Captured]] = {}
        for selection, modules in zip(self._selections, self._modules, strict=True):
            self._collect(selection, modules)

    @staticmethod
    def _tap(module: nn.Module) -> TapPoint:
        return TapPoint(module, with_layout=True)

    def _begin_reading(self, tracker: LayoutTracker) -> None:
        self._tracker = tracker

    def _begin(self) -> None:
        self._taken.clear()
        self._ran.clear()

    def _note(self, ran: OperationCall, output: Tensor) -> None:
        self._ran[ran.origin] = ran.operation
        if any(_takes(one, ran, self._names) for one in self._selections):
            edge = get_gradient_edge(output) if output.requires_grad else None
            layouts = (self._tracker.layout(output),) if self._tracker is not None else ()
            call = Captured((output.clone(),), (edge,), layouts=layouts, shapes=(output.shape,))
            self._taken.append((ran, call))

    def _collect(self, selection: Selection, modules: Mapping[str, nn.Module]) -> None:
        found = {name: list(self.trace.calls(self._tap(part))) for name, part in modules.items()}
        for ran, captured in self._taken:
            if _takes(selection, ran, self._names):
                found.setdefault(ran.origin, []).append(captured)
        base, number = split_number(selection)
        if number is not None and base in found:
            found = {f"{base}#{number}": found[base][number - 1 : number]}
        if not any(found.values()):
            raise LayerError(self._refusal(selection, bool(modules), base))
        self.calls.update((name, calls) for name, calls in found.items() if calls)

    def _refusal(self, selection: Selection, exists: bool, base: str | None) -> str:
        if isinstance(selection, str) and selection in CODES:
            ran = ", ".join(sorted(set(self._ran.values()))) or "no known operation"
            return (
                f"the model ran no operation of the code {selection!r}"
                f" ({', '.join(sorted(CODES[selection]))}); it ran: {ran}"
            )
        if exists or base in self._ran:
            return (
                f"the layer {selection!r} did not run in this forward (it may be used in training"
                " only, or run fewer times); choose another layer"
            )
        return missing(selection, dict.fromkeys((*self._names, *self._ran)))


def _modules(
    model: Forward, names: Mapping[str, nn.Module], selection: Selection
) -> dict[str, nn.Module]:
    if isinstance(selection, nn.Module):
        return dict([find_layer(model, selection)])
    if isinstance(selection, str) and selection in CODES:
        return {}
    base, _ = split_number(selection)
    return match(names, selection if base is None else base)


def split_number(selection: Selection) -> tuple[str | None, int | None]:
    """Return the name and the number of `name#2`, and `None` twice for anything else.

    >>> split_number("layer1.0.relu#2")
    ('layer1.0.relu', 2)
    """
    match = _NUMBERED.fullmatch(selection) if isinstance(selection, str) else None
    return (match[1], int(match[2])) if match else (None, None)


def _takes(selection: Selection, ran: OperationCall, names: Iterable[str]) -> bool:
    """Whether an operation is selected, other than as a layer."""
    if isinstance(selection, str) and selection in CODES:
        return ran.operation in CODES[selection]
    if ran.origin in names or not isinstance(selection, (str, re.Pattern)):
        return False
    base, _ = split_number(selection)
    return name_matches(ran.origin, base or selection)
