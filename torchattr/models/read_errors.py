"""Turn whatever a file reader raises into an error that names the file."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import TracebackType

from torchattr.errors import TorchattrError


class ReadErrors:
    """Turns every exception of a file reader into an error that names the file.

    Readers of damaged binary files raise IndexError, UnicodeDecodeError, TypeError, MemoryError and
    more. Use it around reading only, never around code of this package.

    error: makes the error from the reason.

    >>> with ReadErrors(lambda reason: TorchattrError(f"a.bin is damaged: {reason}")):
    ...     [][3]
    Traceback (most recent call last):
        ...
    torchattr.errors.TorchattrError: a.bin is damaged: list index out of range
    """

    def __init__(self, error: Callable[[str], TorchattrError]) -> None:
        self.error = error

    def __enter__(self) -> None:
        """Hold nothing."""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if isinstance(error, Exception) and not isinstance(error, TorchattrError):
            raise self.error(reason(error)) from error


def chain(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and those that led to it, the last of which is the root cause."""
    found: BaseException | None = error
    while found is not None:
        yield found
        found = found.__cause__ or (None if found.__suppress_context__ else found.__context__)


def reason(error: BaseException) -> str:
    """Return the first line of the root cause of an error."""
    *_, root = chain(error)
    text = (str(root).splitlines() or [""])[0] or type(root).__name__
    if isinstance(root, KeyError) and root.args:
        return f"there is no entry {text}"
    # PyTorch refers to a log here, which does not help a user.
    return "its entries are inconsistent" if "warnings above" in text else text
