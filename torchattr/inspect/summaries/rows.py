"""The rows of a summary: each module with its parts."""

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
    """A module and its parts together.

    Attributes:
        name: what selects it; empty for the model itself.
        type: its class.
        depth: how many modules it lies in.
        number: which module of this depth it is, from 1.
        index: what selects it among the layers without parts of their own; `None` if it has parts.
        output: the shape that its last call gave, a tuple of shapes for several tensors, `None` if
            it did not run.
        calls: how often it ran.
        parameters: the elements of its parameters, each counted once, and of the weights that
            quantised modules keep packed.
        multiply_adds: over all calls.
        operations: how often each operation ran.
        followed: how often each ran between the inputs and the outputs, where gradients go.
        remembered_bytes: what a gradient keeps of it.
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
        """How many calls the rules for ReLU rewrite."""
        return self.followed.get("relu", 0)

    @property
    def without_rule(self) -> dict[str, int]:
        """The activations that keep their own gradient unless a rule is asked for, by name."""
        return unruled_activations(self.followed)


def unruled_activations(counts: Mapping[str, int]) -> dict[str, int]:
    """Return the counts of the operations that are activations without a rule."""
    return {name: count for name, count in counts.items() if OPERATIONS[name].kind == "activation"}


def summary_rows(
    model: nn.Module, names: Mapping[str, nn.Module], tally: CostCounter
) -> tuple[SummaryRow, ...]:
    """Give a row for each module of the tree, the model itself first."""
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
    """Add up the counts of each operation in a module and its parts."""
    total: Counter[str] = Counter()
    for path, own in counts.items():
        if _inside(path, name):
            total.update({operation: count for operation, count in own.items() if count})
    return dict(sorted(total.items()))


_GIVING = ("weight", "bias", "get_weight", "get_bias")


def packed_weights(module: nn.Module) -> list[Tensor]:
    """Return the weights and biases that a module of `torch.ao` gives by a method, without parts.

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
    """Return all parameters of a model, each once, and what its quantised parts keep packed."""
    return [*model.parameters(), *(one for part in model.modules() for one in packed_weights(part))]
