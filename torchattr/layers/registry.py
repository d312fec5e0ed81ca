"""Rules by operation and name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from importlib.metadata import entry_points
from typing import Any, TypeAlias, TypeVar

from torchattr.core.registry import Registry, suggest
from torchattr.errors import Hint, Listing, RuleError, WayOut
from torchattr.layers.operations.operation import OPERATIONS, OperationKind
from torchattr.layers.rule import LayerRule

ENTRY_POINTS = "torchattr.rules"
DEFAULT = "gradient"

RuleTable: TypeAlias = Mapping[str, LayerRule]
"""A rule for each operation that a method rewrites, by the operation's name."""

_ALL_OPERATIONS = WayOut(
    "all are listed by {setting}", "operation", Listing("torchattr.OPERATIONS")
)
"""Where the operations are listed."""

R = TypeVar("R", bound=type[LayerRule])

_registries: dict[str, Registry[type[LayerRule]]] = {}
"""The rules of each operation; one loader imports the modules of installed packages for all."""

_kind_rules: dict[tuple[OperationKind, str], type[LayerRule]] = {}
"""By kind and name: what each operation of that kind starts with."""


def _rules_of(operation: str) -> Registry[type[LayerRule]]:
    if operation not in OPERATIONS:
        raise RuleError(
            f"no operation is called {operation!r}; {suggest(operation, OPERATIONS)}",
            hint=Hint(ways_out=[_ALL_OPERATIONS]),
        )
    if operation not in _registries:
        _registries[operation] = Registry(f"rule for {operation!r}", error=RuleError)
        for (kind, name), rule in _kind_rules.items():
            if kind == OPERATIONS[operation].kind:
                _registries[operation].add(name, rule)
    return _registries[operation]


def register_rule(operation: str | tuple[str, ...], name: str) -> Callable[[R], R]:
    """Register the decorated :class:`LayerRule` for one or several operations.

    Args:
        operation: a name of :data:`torchattr.OPERATIONS`, or several.
        name: its name in `rules={operation: name}`. The rule called `gradient` is the default of
            an operation: it serves each call for which no other rule is requested.

    Raises:
        RuleError: there is no such operation, or it has a rule of this name.

    >>> import torchattr as ta
    >>> @ta.register_rule("relu", "open")
    ... class Open(ta.LayerRule):
    ...     def backward(self, call, grad):
    ...         return grad
    >>> registered_rules()["relu", "open"] is Open
    True
    """
    operations = (operation,) if isinstance(operation, str) else operation
    registries = list(map(_rules_of, operations))

    def register(rule: R) -> R:
        for rules in registries:
            rules.add(name, rule)
        default_rules.cache_clear()
        return rule

    return register


def register_kind_rule(kind: OperationKind, name: str) -> Callable[[R], R]:
    """Register the decorated rule for all operations of a kind, also for those registered later."""

    def register(rule: R) -> R:
        register_rule(tuple(op.name for op in OPERATIONS.values() if op.kind == kind), name)(rule)
        _kind_rules[kind, name] = rule
        return rule

    return register


def registered_rules() -> dict[tuple[str, str], type[LayerRule]]:
    """Return a snapshot of all rules: `{(operation, name): class}`."""
    _load_installed()
    return {
        (operation, name): rule
        for operation in list(OPERATIONS)
        for name, rule in _rules_of(operation).snapshot().items()
    }


@cache
def default_rules() -> Mapping[str, LayerRule]:
    """Return the memory-lean gradient of each operation that has one."""
    defaults = {operation: default_rule(operation) for operation in OPERATIONS}
    return {operation: rule for operation, rule in defaults.items() if rule is not None}


def default_rule(operation: str) -> LayerRule | None:
    """Return the memory-lean gradient of an operation, if it has one."""
    rule = _rules_of(operation).snapshot().get(DEFAULT)
    return rule() if rule else None


def rule_table(rules: Mapping[str, Any]) -> dict[str, LayerRule]:
    """Turn `{operation: name, rule or None}` into rules; `None` keeps PyTorch's own gradient.

    Raises:
        RuleError: an operation or name is unknown, or a value is not a rule.
    """
    return {
        operation: _rule(operation, rule) for operation, rule in rules.items() if rule is not None
    }


def _rule(operation: str, rule: Any) -> LayerRule:
    _load_installed()  # A module may register the operation, too.
    rules = _rules_of(operation)
    if isinstance(rule, LayerRule):
        return rule
    if isinstance(rule, type) and issubclass(rule, LayerRule):
        return rule()
    if not isinstance(rule, str):
        raise RuleError(
            f"the rule for {operation!r} must be a name or a LayerRule, got {type(rule).__name__}"
        )
    return rules[rule]()


@cache
def _load_installed() -> None:
    """Import the modules in the entry point group, which register their rules."""
    for point in entry_points(group=ENTRY_POINTS):
        point.load()
