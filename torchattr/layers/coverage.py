"""Coverage: which operations a forward ran, and which of them rules rewrote."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from typing import Any, TypeAlias
from weakref import ReferenceType, ref

import torch
import torch.nn.functional as F
from torch import Tensor

from torchattr.core.torch_private import BackwardHookFunction
from torchattr.core.warn import warn
from torchattr.errors import CoverageWarning, Hint, Message, NoRuleMatched, WayOut
from torchattr.layers.autograd import Enter, Restated, runs_rules
from torchattr.layers.composite import CheckedTable, Composite
from torchattr.layers.graph import nodes_of
from torchattr.layers.ledger import LENIENT, Probe
from torchattr.layers.operations.operation import OPERATIONS, Call, spelled
from torchattr.layers.registry import RuleTable, registered_rules

_Counted: TypeAlias = tuple[ReferenceType[Call], str, Callable[..., Any], bool]
"""A call, its operation, the function that the model called, and whether rules serve it."""

GATES = ("rectifier", "activation")
"""The kinds of operation that pass or block a signal."""


@dataclass
class Coverage:
    """Counts the calls of one forward between its inputs and its output.

    Attributes:
        calls: number of calls of each operation between the inputs and the output.
        own: number of these calls that no rule can serve (a convolution whose weights depend on the
            input, say), so that they keep PyTorch's own gradient.
        spellings: number of calls of each operation under each of its spellings.
        hidden: rectifiers in scripted or foreign compiled code, which no rule can reach.
        custom: custom autograd functions, whose backward is kept.
        inside: number of calls of each operation where the forward computes a gradient itself, or
            inside a transform of `torch.func`, so that they keep PyTorch's own gradient.
        lean_because: why the forward ran under the rule mode, in the least memory; empty if its
            rules hang on PyTorch's own graph.

    >>> import torch, torchattr as ta
    >>> model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.ReLU(), torch.nn.Linear(4, 2))
    >>> dict(ta.explain(model, torch.ones(1, 3), ["saliency"]).coverage.calls)
    {'linear': 2, 'relu': 1}
    """

    calls: Counter[str] = field(default_factory=Counter)
    own: Counter[str] = field(default_factory=Counter)
    spellings: Counter[tuple[str, str]] = field(default_factory=Counter)
    hidden: Counter[str] = field(default_factory=Counter)
    custom: Counter[str] = field(default_factory=Counter)
    inside: Counter[str] = field(default_factory=Counter)
    lean_because: str = ""

    _counted: list[_Counted] = field(default_factory=list, repr=False, compare=False)

    def __repr__(self) -> str:
        groups = {
            "own gradient": self.own,
            "hidden": self.hidden,
            "custom": self.custom,
            "inside": self.inside,
        }
        shown = [_listed(self.calls) or "no operation"]
        shown += [f"{name}: {_listed(counts)}" for name, counts in groups.items() if counts]
        return f"Coverage({'; '.join(shown)})"

    def count(self, call: Call, *, served: bool) -> None:
        """Count one call, once the forward is over (:meth:`total`)."""
        self._counted.append((ref(call), call.operation.name, call.function, served))

    def total(self, nodes: Collection[Any] | None = None) -> None:
        """Count the calls of the finished forward.

        Args:
            nodes: the nodes that gradients reach, if there are any. Calls that rules can serve
                but that gradients do not reach are left out: an auxiliary head, for example, may
                run rectifiers that do not affect the target.
        """
        reached = None if nodes is None else _reached(nodes)
        kinds: Counter[tuple[str, Callable[..., Any], bool]] = Counter()
        for held, name, function, served in self._counted:
            if reached is None or not served or reached.holds(held()):
                kinds[name, function, served] += 1
        self._counted.clear()
        for (name, function, served), count in kinds.items():
            self.calls[name] += count
            self.spellings[name, spelled(function)] += count
            if not served:
                self.own[name] += count

    def inspect(self, nodes: Iterable[Any]) -> None:
        """Count hidden rectifiers and custom functions among the nodes of a graph."""
        for node in nodes:
            if runs_rules(node) or _OWN in node.metadata:
                continue
            if _is_hidden_rectifier(node):
                self.hidden[node.name()] += 1
            elif _is_custom(node):
                self.custom[_custom_name(node)] += 1

    def rewritten(self, table: RuleTable) -> dict[str, int]:
        """Return the number of calls that `table` rewrote, by operation."""
        return {name: self.calls[name] - self.own[name] for name in table if self.calls[name]}

    def left(self, table: RuleTable) -> dict[str, int]:
        """Return the activations that ran without a rule of `table`, by operation."""
        return {
            name: count
            for name, count in sorted(self.calls.items())
            if OPERATIONS[name].kind in GATES and name not in table
        }

    def describe(self, table: RuleTable) -> str:
        """Return a one-line summary: `57 relu calls, 57 rewritten`.

        >>> Coverage(calls=Counter(relu=3)).describe({})
        '3 relu calls keep their own gradient'
        """
        done = self.rewritten(table)
        parts = [
            f"{_calls(self.calls[name], name)}, {count} rewritten" for name, count in done.items()
        ]
        parts += [_keeps(count, name) for name, count in self.left(table).items()]
        parts += [_keeps(count, f"custom {name}") for name, count in sorted(self.custom.items())]
        return "; ".join(parts) or "no activation ran"

    def as_dict(self, table: RuleTable) -> dict[str, Any]:
        """Return the counts as plain data for a manifest."""
        return {
            "calls": dict(sorted(self.calls.items())),
            "rewritten": self.rewritten(table),
            "own_gradient": {**self.left(table), **dict(self.custom)},
        }

    def demand(self, table: RuleTable, method: str, *, strict: bool) -> None:
        """Raise or warn if a rule-based method's result is not what its name promises.

        Raises:
            NoRuleMatched: nothing was rewritten, or a rectifier could not be intercepted; a
                :class:`CoverageWarning` instead if not `strict`.
        """
        if not table or isinstance(table, CheckedTable):
            return
        fault = self._fault(table, method)
        if fault and strict:
            raise NoRuleMatched(fault)
        note = fault or self._note(table, method)
        if note:
            warn(note, CoverageWarning)

    def _fault(self, table: RuleTable, method: str) -> Message | None:
        inside = [_calls(self.inside[name], name) for name in table if self.inside[name]]
        if inside:
            return Message(
                f"{method} cannot rewrite {', '.join(inside)}, since the forward takes a gradient"
                " itself (torch.autograd.grad, backward or a transform of torch.func), and a rule"
                " has no derivative of its own",
                Hint(ways_out=[WayOut("use a method without rules, such as Saliency"), LENIENT]),
            )
        if self.hidden:
            return Message(
                f"{method} missed {sum(self.hidden.values())} rectifiers that ran out of sight"
                f" ({', '.join(self.hidden)}), in scripted or foreign code; its result would mix"
                " two rules",
                Hint(ways_out=[WayOut("run the Python original of that part"), LENIENT]),
            )
        # Of a network that is linear without any of a composite's operations, as pooling is, the
        # relevance is input times gradient; others are refused by what they do to relevance.
        is_served = isinstance(table, Composite) or sum(self.rewritten(table).values()) > 0
        return None if is_served else self._missing(table, method)

    def _missing(self, table: RuleTable, method: str) -> Message:
        """Return the message that nothing was rewritten, with the activations that did run."""
        ran = [_calls(count, name) for name, count in self.left(table).items()]
        ran += [_calls(count, f"custom {name}") for name, count in sorted(self.custom.items())]
        others = f"but {', '.join(ran)}" if ran else "nor any other activation"
        ways_out = [*_ways_in(self.left(table), table), *self._custom_ways_in(), LENIENT]
        return Message(
            f"{method} rewrote nothing: the model ran no {' or '.join(table)} between the input"
            f" and the output, {others}. The result would be the plain gradient",
            Hint(ways_out=ways_out),
        )

    def _custom_ways_in(self) -> list[WayOut]:
        if "CheckpointFunction" in self.custom:
            return [WayOut("checkpoint with use_reentrant=False, so that the rules see inside")]
        return [WayOut("a rule cannot change a custom autograd function")] if self.custom else []

    def _note(self, table: RuleTable, method: str) -> Message | None:
        if isinstance(table, Composite):
            return None  # It has a rule for each activation; what it cannot see is refused later.
        gates = any(OPERATIONS[name].kind in GATES for name in table)
        if not gates or not (self.left(table) or self.custom):
            return None
        ways_out = _ways_in(self.left(table), table)
        return Message(f"{method}: {self.describe(table)}", Hint(ways_out=ways_out))


def _ways_in(operations: Iterable[str], table: RuleTable) -> list[WayOut]:
    known = registered_rules()
    used = [name for (operation, name), rule in known.items() if type(table.get(operation)) is rule]
    chosen = {
        operation: next((name for name in (*used, "guided") if (operation, name) in known), None)
        for operation in operations
    }
    rules = {operation: name for operation, name in chosen.items() if name}
    advice = WayOut("to treat them like a ReLU, pass {setting}", "rules", rules)
    return [advice] if rules else []


def _calls(count: int, name: str) -> str:
    return f"{count} {name} call{'s' if count != 1 else ''}"


def _keeps(count: int, name: str) -> str:
    return f"{_calls(count, name)} {'keeps its' if count == 1 else 'keep their'} own gradient"


@dataclass(frozen=True)
class _Reached:
    """The calls that gradients reach, by their `id`.

    In-place calls on a view are hidden inside a node that keeps them alive: `hides`.
    """

    calls: frozenset[int]
    hides: bool

    def holds(self, call: Call | None) -> bool:
        return call is not None and (self.hides or id(call) in self.calls)


def _reached(nodes: Collection[Any]) -> _Reached:
    calls = [node.state.call.original for node in nodes if runs_rules(node)]
    others = (node for node in nodes if not runs_rules(node))
    return _Reached(
        frozenset(map(id, calls)), any(node.name().endswith("CopySlices") for node in others)
    )


def _is_hidden_rectifier(node: Any) -> bool:
    name = node.name().split("::")[-1].rstrip("0123456789")
    if name in ("ReluBackward", "DifferentiableGraphBackward", "CompiledFunctionBackward"):
        return True
    bound = _HIDDEN_BOUNDS.get(name)
    # Reading a bound that is a tensor would unpack it.
    if bound is None or hasattr(node, f"_raw{bound}"):
        return False
    return bool(getattr(node, bound, None) == 0)


_HIDDEN_BOUNDS = {
    "HardtanhBackward": "_saved_min_val",
    "ThresholdBackward": "_saved_threshold",
    "ClampMinBackward": "_saved_min",
    "ClampBackward": "_saved_min",
}

COMPOSITES = (F.lp_pool1d, F.lp_pool2d, F.lp_pool3d)
"""PyTorch functions that are not activations, but are composed of rectifiers among others."""

_OWN = "torchattr: part of a composite"


def own_gradient(output: Any, input: Tensor) -> None:
    """Keep the nodes between a composite's input and output from counting as hidden."""
    if isinstance(output, Tensor) and output.grad_fn is not None:
        for node in nodes_of(output, until=input.grad_fn):
            node.metadata[_OWN] = True


# Our own, and the identity that carries a module's backward hooks.
_KNOWN = tuple(
    function._backward_cls for function in (Enter, Restated, Probe, BackwardHookFunction)
)


_CPP = "torch::autograd::CppNode<"
"""Starts the name of a node of a custom function that is written in C++."""


def _is_custom(node: Any) -> bool:
    if isinstance(node, torch.autograd.function.BackwardCFunction):
        return not isinstance(node, _KNOWN)
    return bool(node.name().startswith(_CPP))


def _custom_name(node: Any) -> str:
    """Return the name of a custom function, without that of its node.

    >>> class Node:
    ...     def name(self):
    ...         return "torch::autograd::CppNode<vision::ops::(anonymous namespace)::ROIAlign>"
    >>> _custom_name(Node())
    'ROIAlign'
    """
    name: str = node.name()
    if name.startswith(_CPP):
        return name.removeprefix(_CPP).removesuffix(">").rpartition("::")[2]
    return type(node).__name__.removesuffix("Backward")


def _listed(counts: Counter[str]) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(counts.items()))
