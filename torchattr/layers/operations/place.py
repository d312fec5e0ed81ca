"""What a rule may know of its call's neighbours, once the forward is over."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor


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
        passes_norm: while a backward passes from the norm to this call, that it does.
        output: the rectified output, while a backward passes from the rectifier to this call: the
            signal returns only where it is positive.
        keeps: whether another backward will follow, for which constants are worth keeping.
    """

    dependent: Sequence[bool] = ()
    norm: Any = None
    nonnegative: bool = False
    gates: Place | None = None
    completes: Place | None = None
    passes_norm: bool = False
    output: Tensor | None = None
    keeps: Callable[[int], bool] = field(default=lambda size: False, repr=False)
    kept: dict[Any, Sequence[Tensor]] = field(default_factory=dict, repr=False)

    def is_dependent(self, position: int) -> bool:
        """Whether the signal goes on below an input."""
        return not self.dependent or self.dependent[position]

    def remembered(self, compute: Callable[[], Sequence[Tensor]]) -> Sequence[Tensor]:
        """Return constants of the call, computed once if further backwards follow."""
        # A signal that begins at a layer does not come from the norm or rectifier above.
        way = self.passes_norm, self.output is not None
        if way in self.kept:
            return self.kept[way]
        constants = compute()
        if self.keeps(sum(tensor.numel() * tensor.element_size() for tensor in constants)):
            self.kept[way] = constants
        return constants

    def leave(self) -> None:
        """End the passage of a backward."""
        self.passes_norm, self.output = False, None
