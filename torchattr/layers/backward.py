"""State of a forward's backward passes: the rule table in force, and the gradients it may reuse."""

from __future__ import annotations

from enum import IntEnum

from torchattr.layers.operations.operation import GradientReaders


class InnerGradients(IntEnum):
    """Which gradients a forward takes itself, before any backward of ours.

    `CONSTANT` ones are not differentiated in their turn: rules hold beside them. `ANY` needs
    PyTorch's own operations throughout, since a rule has no derivative.
    """

    NONE = 0
    CONSTANT = 1
    ANY = 2


class GradientInside(BaseException):
    """The forward takes a gradient that it was not prepared for, and must run once more.

    No `Exception`, so that a model that catches its own errors does not catch this one.
    """


class BackwardState:
    """State that the calls of one forward share; set before each backward.

    Attributes:
        table: the position of the rule table in force. Before the first backward of ours, the last:
            the table for gradients that the forward itself takes.
        inner: which gradients the forward takes itself, as far as known.
        prepared: which of them it runs for.
        readers_known: whether gradients flow only as the graph of the output says.
        read: the `id` of the readers of each gradient that is a result of this backward.
    """

    def __init__(self, prepared: InnerGradients = InnerGradients.NONE) -> None:
        self.table = -1
        self.inner = self.prepared = prepared
        self.readers_known = False
        self.read: frozenset[int] = frozenset()

    def require(self, inner: InnerGradients) -> None:
        """Stop the forward if it is not prepared for such a gradient.

        Raises:
            GradientInside: it must run once more.
        """
        self.inner = max(self.inner, inner)
        if self.inner > self.prepared:
            raise GradientInside


class CallReaders(GradientReaders):
    """The readers of the gradient that comes back to one call.

    Args:
        state: that of the forward that made the call.

    Attributes:
        only_itself: whether the graph holds no other reader, and the gradient is a rule's result.
    """

    __slots__ = ("_state", "only_itself")

    def __init__(self, state: BackwardState) -> None:
        self._state = state
        self.only_itself = False

    @property
    def is_sole(self) -> bool:
        state = self._state
        return self.only_itself and state.readers_known and id(self) not in state.read
