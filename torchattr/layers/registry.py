"""Rules by operation and name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from difflib import get_close_matches
from functools import cache
from importlib.metadata import entry_points
from typing import Any, TypeAlias, TypeVar

from torchattr.errors import RuleError
from torchattr.layers.operations.operation import OPERATIONS
from torchattr.layers.rule import LayerRule

ENTRY_POINTS = "torchattr.rules"
DEFAULT = "gradient"

RuleTable: TypeAlias = Mapping[str, LayerRule]
"""A rule for each operation that a method rewrites, by the operation's name."""

R = TypeVar("R", bound=type[LayerRule])

_rules: dict[tuple[str, str], type[LayerRule]] = {}


def register_rule(operation: str | tuple[str, ...], name: str) -> Callable[[R], R]:
    """Register the decorated :class:`LayerRule` for one or several operations.

    Args:
        operation: a name of :data:`torchattr.OPERATIONS`, or several.
        name: what `rules={operation: name}` calls it. The rule called `gradient` serves every
            call that no other rule is asked for.

    Raises:
        RuleError: no such operation, or the name is taken there already.

    >>> import torchattr as ta
    >>> @ta.register_rule("relu", "open")
    ... class Open(ta.LayerRule):
    ...     def backward(self, call, grad):
    ...         return grad
    >>> registered_rules()["relu", "open"] is Open
    True
    """

    def register(rule: R) -> R:
        for one in (operation,) if isinstance(operation, str) else operation:
            _check_operation(one)
            if (one, name) in _rules:
                raise RuleError(
                    f"operation {one!r} has a rule called {name!r} already"
                    f" ({_rules[one, name].__qualname__}); choose another name"
                )
            _rules[one, name] = rule
        return rule

    return register


def registered_rules() -> dict[tuple[str, str], type[LayerRule]]:
    """Give a snapshot of all rules: `{(operation, name): class}`."""
    _load_installed()
    return dict(_rules)


def default_rule(operation: str) -> LayerRule | None:
    """Give the memory-lean gradient of an operation, if it has one."""
    rule = _rules.get((operation, DEFAULT))
    return rule() if rule else None


def rule_table(rules: Mapping[str, Any]) -> dict[str, LayerRule]:
    """Turn `{operation: name, rule or None}` into rules; `None` leaves the operation its own.

    Raises:
        RuleError: an unknown operation or name, or something that is no rule.
    """
    return {
        operation: _rule(operation, rule) for operation, rule in rules.items() if rule is not None
    }


def _rule(operation: str, rule: Any) -> LayerRule:
    _check_operation(operation)
    if isinstance(rule, LayerRule):
        return rule
    if isinstance(rule, type) and issubclass(rule, LayerRule):
        return rule()
    if not isinstance(rule, str):
        raise RuleError(
            f"the rule for {operation!r} must be a name or a LayerRule, got {type(rule).__name__}"
        )
    rules = registered_rules()
    if (operation, rule) not in rules:
        names = sorted(name for known, name in rules if known == operation)
        raise RuleError(
            f"operation {operation!r} has no rule called {rule!r};"
            f" it has: {', '.join(names) or 'none'}"
        )
    return rules[operation, rule]()


def _check_operation(operation: str) -> None:
    if operation not in OPERATIONS:
        close = get_close_matches(operation, OPERATIONS, n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"there are: {', '.join(OPERATIONS)}"
        raise RuleError(f"no operation is called {operation!r}; {hint}")


@cache
def _load_installed() -> None:
    """Import the modules that installed packages name; importing them registers their rules."""
    for point in entry_points(group=ENTRY_POINTS):
        point.load()
