"""The part that shows where a score went."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torchattr.layers import Reason
from torchattr.methods import Ledger
from torchattr.web.panels.parts import Bars, Keep, Part, Table
from torchattr.web.panels.scene import Scene

CAUSES: Mapping[Reason, str] = {
    "bias": "bias of {}",
    "constant": "constants in {}",
    "stabiliser": "lost: ε of {}",
    "dead": "lost: outputs of {} without contributions",
    "softmax": "softmax of {}",
    "unknown": "unknown: {}",
}
"""What stayed at an operation, in words for a label."""


@dataclass(frozen=True, eq=False)
class LedgerCard(Part):
    """A :class:`Ledger`: its shares as bars, its largest entries as a table.

    Args:
        ledger: of one example, as relevance methods return it.
        most: number of causes, and of entries.

    >>> from torchattr.methods import Ledger
    >>> LedgerCard(Ledger(1.0, 0.75, ()), "Where the score went").shares()
    [('inputs', 0.75), ('error', 0.25)]
    """

    ledger: Ledger
    title: str = ""
    most: int = 10

    def shares(self) -> list[tuple[str, float]]:
        """Return what reached the inputs, what stayed for the largest causes, and the rest."""
        causes = list(self.ledger.by_cause().items())
        shown, others = causes[: self.most], causes[self.most :]
        rest = [(f"{len(others)} other causes", sum(amount for _, amount in others))]
        return [
            ("inputs", self.ledger.inputs),
            *((CAUSES[reason].format(function), amount) for (reason, function), amount in shown),
            *(rest if others else []),
            ("error", self.ledger.error),
        ]

    def describe(self, scene: Scene, keep: Keep) -> dict[str, Any]:
        labels, values = zip(*self.shares(), strict=True)
        return {
            "kind": "ledger",
            "title": self.title,
            "note": f"The map sums to {self.ledger.inputs:.4g}, {self._share(self.ledger.inputs)}"
            f" of the score {self.ledger.score:.4g}. The rest stayed on the way.",
            "bars": Bars(labels, values).describe(scene, keep),
            "table": self._table().describe(scene, keep),
        }

    def _table(self) -> Table:
        rows = [
            (entry.reason, entry.operation, entry.layer, entry.amount, self._share(entry.amount))
            for entry in self.ledger.largest(self.most)
        ]
        title = "The largest entries" if len(self.ledger.entries) > self.most else "All entries"
        return Table(("reason", "operation", "layer", "amount", "of the score"), rows, title)

    def _share(self, amount: float) -> str:
        score = self.ledger.score
        return f"{100 * amount / score:.1f} %" if score else "–"
