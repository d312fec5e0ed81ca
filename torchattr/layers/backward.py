"""State of the current backward pass: the rule table in force, and which gradients it may reuse."""

from __future__ import annotations

from enum import IntEnum

from torchattr.layers.ledger import LedgerBook
from torchattr.layers.operations.operation import GradientReaders
from torchattr.layers.operations.place import Arrival, Place

MOST_KEPT = 2**29
"""Bytes of constants that the rules of one forward keep at most, for backwards after the first."""


class InnerGradients(IntEnum):
    """Which gradients a forward computes itself, before any backward of ours.

    `CONSTANT` ones are not differentiated again: rules can stay in force. `ANY` needs PyTorch's own
    operations throughout, since a rule has no derivative.
    """

    NONE = 0
    CONSTANT = 1
    ANY = 2


class GradientInside(BaseException):
    """The forward computes a gradient that it was not prepared for, and must run again.

    Not an `Exception`, so that a model that catches its own errors does not catch this one.
    """


class BackwardState:
    """State that the calls of one forward share; set before each backward.

    Attributes:
        table: the position of the rule table in force. Before the first backward of ours, that is
            the last: the table for gradients that the forward computes itself.
        inner: which gradients the forward computes itself, as far as known.
        prepared: which of them this forward is prepared for.
        written: the operations after which the model writes over tensors that their rules save, so
            that these are copied; `None` if the rules save none of the model's own.
        readers_known: whether gradients flow only along the graph of the output.
        read: the `id` of the readers of each gradient that is a result of this backward.
        keep: whether another backward will follow this one.
        arrivals: how its signal came to the calls whose rules ask.
        book: notes where relevance stays, if that is wanted.
    """

    def __init__(
        self,
        prepared: InnerGradients = InnerGradients.NONE,
        written: frozenset[str] | None = None,
    ) -> None:
        self.table = -1
        self.written = written
        self.inner = self.prepared = prepared
        self.readers_known = False
        self.read: frozenset[int] = frozenset()
        self.keep = False
        self.arrivals: dict[Place, Arrival] = {}
        self.book: LedgerBook | None = None
        self._room = MOST_KEPT

    def may_keep(self, size: int) -> bool:
        """Whether a rule may keep so many bytes of constants for further backwards; counts them."""
        if not self.keep or size > self._room:
            return False
        self._room -= size
        return True

    def require(self, inner: InnerGradients) -> None:
        """Stop the forward if it is not prepared for such a gradient.

        Raises:
            GradientInside: it must run again.
        """
        self.inner = max(self.inner, inner)
        if self.inner > self.prepared:
            raise GradientInside


class CallReaders(GradientReaders):
    """The readers of a gradient that a rule newly allocated, and that one call reads in the graph.

    Args:
        state: the state of the call's forward.
    """

    __slots__ = ("_state",)

    def __init__(self, state: BackwardState) -> None:
        self._state = state

    @property
    def is_sole(self) -> bool:
        return self._state.readers_known and id(self) not in self._state.read
