"""Files that cannot be read are refused in a sentence, whatever the reader makes of them."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType

from torchattr.errors import TorchattrError


class Refusing:
    """Turns every fault of a reader into an error that names the file.

    Readers of binary files fail in as many ways as there are damages: with errors of indices,
    texts, types, numbers and memory. This holds for files only; no code of ours runs inside.

    error: makes an error of the reason.

    >>> with Refusing(lambda reason: TorchattrError(f"a.bin is damaged: {reason}")):
    ...     [][3]
    Traceback (most recent call last):
        ...
    torchattr.errors.TorchattrError: a.bin is damaged: list index out of range
    """

    def __init__(self, error: Callable[[str], TorchattrError]) -> None:
        self.error = error

    def __enter__(self) -> None:
        """Nothing is held."""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if isinstance(error, Exception) and not isinstance(error, TorchattrError):
            raise self.error(reason(error)) from error


def reason(error: BaseException) -> str:
    """Return the first line of what went wrong first."""
    while (earlier := error.__cause__ or error.__context__) is not None:
        error = earlier
    said = (str(error).splitlines() or [""])[0] or type(error).__name__
    # Torch points at a log here, which says nothing more that a reader could mend.
    return "its parts do not fit together" if "warnings above" in said else said
