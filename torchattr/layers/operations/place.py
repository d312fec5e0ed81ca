"""What a rule may know of its call's neighbours, once the forward is over."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

from torch import Tensor

Value: TypeAlias = Callable[[], Tensor]
"""A value that is computed where it is needed."""


@dataclass(frozen=True)
class Arrival:
    """How the signal of one backward came to a call.

    Attributes:
        passes_norm: whether it passed the norm that belongs to the call.
        rectified: whether it passed the rectifier above: it returns only where the output is
            positive.
        output: the rectified output, if a call above knew it; where the signal is zero, it may be.
        passage: what a rule computed for the ledger that its backward needs, too.
    """

    passes_norm: bool = False
    rectified: bool = False
    output: Value | None = None
    passage: Any = None


_UNKNOWN = Arrival()


@dataclass(eq=False)
class Place:
    """The neighbours of a call in the graph of a finished forward, under one rule table.

    The defaults are what is always true, so a rule that finds no place works without one.

    Attributes:
        dependent: for each input, whether the signal goes on below it; empty if unknown, which
            counts as yes.
        norm: the call of a batch-norm that alone reads the output: both are one linear operation,
            whose output is the norm's.
        nonnegative: whether the input has no negative element.
        gates: the place of the operation whose output this call alone reads, if it is a rectifier.
        completes: the place of the operation whose output this call alone reads, if it is merged.
        sources: for each input, the place of the call whose output it is, if that call or one below
            it needs the value in its backward; empty if none does.
        arrivals: how the signal of the current backward came to the calls of this forward.
        keeps: whether another backward will follow, for which constants are worth keeping.
    """

    dependent: Sequence[bool] = ()
    norm: Any = None
    nonnegative: bool = False
    gates: Place | None = None
    completes: Place | None = None
    sources: Sequence[Place | None] = ()
    arrivals: dict[Place, Arrival] = field(default_factory=dict, repr=False)
    keeps: Callable[[int], bool] = field(default=lambda size: False, repr=False)
    kept: dict[Any, Sequence[Tensor]] = field(default_factory=dict, repr=False)

    def is_dependent(self, position: int) -> bool:
        """Whether the signal goes on below an input."""
        return not self.dependent or self.dependent[position]

    @property
    def arrival(self) -> Arrival:
        """How the signal of the current backward came to the call."""
        return self.arrivals.get(self, _UNKNOWN)

    def arrive(self, **known: Any) -> None:
        """Note how the signal of the current backward will come to the call."""
        self.arrivals[self] = replace(self.arrival, **known)

    def hand_down(self, *values: Value) -> None:
        """Tell the calls below the values of the inputs, where those need them."""
        for source, value in zip(self.sources, values, strict=False):
            if source is not None:
                source.arrive(output=value)

    def remembered(self, compute: Callable[[], Sequence[Tensor]], held: Tensor) -> Sequence[Tensor]:
        """Return constants of the call, computed once if further backwards follow.

        Args:
            compute: returns them.
            held: a tensor that is in memory anyway, should it be among them.
        """
        # A signal that begins at a layer does not come from the norm or rectifier above, and an
        # output from above may be known only in part.
        arrival = self.arrival
        way = arrival.passes_norm, arrival.rectified, arrival.output is not None
        if way in self.kept:
            return self.kept[way]
        constants = compute()
        added = {id(tensor): tensor for tensor in constants if tensor is not held}.values()
        if self.keeps(sum(tensor.numel() * tensor.element_size() for tensor in added)):
            self.kept[way] = constants
        return constants

    def leave(self) -> None:
        """End the passage of a backward."""
        self.arrivals.pop(self, None)
