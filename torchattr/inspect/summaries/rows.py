"""The rows of a summary: each module with its children."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from torchattr.core.pytree import tree_leaves
from torchattr.inspect.summaries.cost_counter import CostCounter
from torchattr.layers import OPERATIONS


@dataclass(frozen=True)
class SummaryRow:
    """A module including its children.

    Attributes:
        name: the name that selects it; empty for the model itself.
        type: its class.
        depth: its level in the tree.
        number: its number among the modules of this level, from 1.
        index: its index among the layers without children; `None` if it has children.
        output: the output shape of its last call, a tuple of shapes for several tensors, `None` if
            it did not run.
        calls: number of calls.
        parameters: number of elements of its parameters, shared ones counted once, and of the
            packed weights of quantised modules.
        multiply_adds: over all calls.
        operations: number of calls of each operation.
        followed: number of calls of each operation that gradients pass through.
        remembered_bytes: memory that a gradient saves for backward.
    """

    name: str
    type: str
    depth: int
    number: int
    index: int | None
    output: Any
    calls: int
    parameters: int
    multiply_adds: int
    operations: Mapping[str, int]
    followed: Mapping[str, int]
    remembered_bytes: int

    @property
    def relu_calls(self) -> int:
        """Number of calls that the rules for ReLU rewrite."""
        return self.followed.get("relu", 0)

    @property
    def without_rule(self) -> dict[str, int]:
        """Activations that keep their own gradient unless a rule is requested, by name."""
        return unruled_activations(self.followed)


def unruled_activations(counts: Mapping[str, int]) -> dict[str, int]:
    """Return the counts of the operations that are activations without a rule."""
    return {name: count for name, count in counts.items() if OPERATIONS[name].kind == "activation"}


def summary_rows(
    model: nn.Module, names: Mapping[str, nn.Module], tally: CostCounter
) -> tuple[SummaryRow, ...]:
    """Return a row for each module of the tree, the model itself first."""
    rows, numbers, leaves = [], Counter[int](), 0
    for name, module in {"": model, **names}.items():
        depth = name.count(".") + 1 if name else 0
        numbers[depth] += 1
        leaf = bool(name) and next(module.children(), None) is None
        shapes = tally.shapes.get(name, [])
        rows.append(
            SummaryRow(
                name,
                type(module).__name__,
                depth,
                numbers[depth],
                leaves if leaf else None,
                shapes[-1] if shapes else None,
                len(shapes),
                sum(weight.numel() for weight in weights_of(module)),
                _within(name, tally.multiply_adds),
                operations_within(name, tally.operations),
                operations_within(name, tally.followed),
                _within(name, tally.remembered),
            )
        )
        leaves += leaf
    return tuple(rows)


def _within(name: str, counts: Mapping[str, int]) -> int:
    return sum(count for path, count in counts.items() if _inside(path, name))


def _inside(path: str, name: str) -> bool:
    return not name or path == name or path.startswith(f"{name}.")


def operations_within(name: str, counts: Mapping[str, Mapping[str, int]]) -> dict[str, int]:
    """Return the total counts of each operation in a module and its children."""
    total: Counter[str] = Counter()
    for path, own in counts.items():
        if _inside(path, name):
            total.update({operation: count for operation, count in own.items() if count})
    return dict(sorted(total.items()))


_GIVING = ("weight", "bias", "get_weight", "get_bias")


def packed_weights(module: nn.Module) -> list[Tensor]:
    """Return the packed weights and biases of a module of `torch.ao`, without its children's.

    >>> packed_weights(nn.Linear(2, 3))
    []
    """
    if not type(module).__module__.startswith("torch.ao.nn."):
        return []
    giving: list[Any] = [getattr(module, name, None) for name in _GIVING]
    given = [one() for one in giving if callable(one)]
    tensors = {id(one): one for one in tree_leaves(given) if isinstance(one, Tensor)}
    own = {id(parameter) for parameter in module.parameters()}
    return [tensor for known, tensor in tensors.items() if known not in own]


def weights_of(model: nn.Module) -> list[Tensor]:
    """Return all parameters of a model, each once, and the packed weights of quantised modules."""
    return [*model.parameters(), *(one for part in model.modules() for one in packed_weights(part))]
