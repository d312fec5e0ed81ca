"""The ledger of one explanation: where the score went."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from torchattr.layers import LedgerEntry, Reason

K = TypeVar("K")


@dataclass(frozen=True)
class Ledger:
    """Where the score of one example went.

    `score = inputs + Σ entries + error`: the share of the inputs is the sum of the attribution, and
    each entry is what stayed at one call. Nothing is adjusted to make the sum come out, so that
    `error` shows what the rules did not account for; for networks of known operations it is the
    rounding error.

    Attributes:
        score: what is explained.
        inputs: the sum of the attribution.
        entries: what stayed on the way, from the score down.

    >>> import torch, torchattr as ta
    >>> model = torch.nn.Linear(3, 2)
    >>> torch.nn.init.constant_(model.bias, 0.5).shape
    torch.Size([2])
    >>> (ledger,) = ta.LibraGrad(model).ledgers(torch.ones(1, 3), target=1)
    >>> round(ledger.by_reason()["bias"], 6), abs(ledger.error) < 1e-6
    (0.5, True)
    """

    score: float
    inputs: float
    entries: tuple[LedgerEntry, ...]

    @property
    def error(self) -> float:
        """What is missing."""
        return self.score - self.inputs - sum(entry.amount for entry in self.entries)

    def by_reason(self) -> dict[str, float]:
        """Return the share of the inputs, of each reason to stay, and the error."""
        return {
            "inputs": self.inputs,
            **self._summed(lambda entry: entry.reason),
            "error": self.error,
        }

    def by_layer(self) -> dict[str, float]:
        """Return what stayed at each layer, largest first; operations outside of all have none."""
        return self._sorted(lambda entry: entry.layer)

    def by_operation(self) -> dict[str, float]:
        """Return what stayed at each function, largest first."""
        return self._sorted(lambda entry: entry.operation)

    def by_cause(self) -> dict[tuple[Reason, str], float]:
        """Return what stayed for each reason and at each function, largest first."""
        return self._sorted(lambda entry: (entry.reason, entry.operation))

    def table(self, most: int = 12) -> str:
        """Return the shares as text: by reason, then the largest entries.

        Args:
            most: the number of entries.
        """
        rows = [("score", "", self.score), *((k, "", v) for k, v in self.by_reason().items())]
        rows += [(e.reason, _place(e), e.amount) for e in self.largest(most)]
        return "\n".join(
            f"{what:<11}{amount:>+14.6g}  {where}".rstrip() for what, where, amount in rows
        )

    def largest(self, most: int = 12) -> list[LedgerEntry]:
        """Return the entries of the largest amounts."""
        return sorted(self.entries, key=lambda entry: -abs(entry.amount))[:most]

    def __repr__(self) -> str:
        shares = ", ".join(f"{name} {share:.4g}" for name, share in self.by_reason().items())
        return f"Ledger(score {self.score:.4g}: {shares})"

    def _sorted(self, key: Callable[[LedgerEntry], K]) -> dict[K, float]:
        return dict(sorted(self._summed(key).items(), key=lambda item: -abs(item[1])))

    def _summed(self, key: Callable[[LedgerEntry], K]) -> dict[K, float]:
        sums: defaultdict[K, float] = defaultdict(float)
        for entry in self.entries:
            sums[key(entry)] += entry.amount
        return dict(sums)


def _place(entry: LedgerEntry) -> str:
    return f"{entry.operation} in {entry.layer}" if entry.layer else entry.operation
