"""Whether the Hugging Face Hub can be reached, which its client tries for minutes to find out."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import RLock
from typing import Any

from torchattr.models.read_errors import chain, reason

SECONDS = 5.0
"""How long each step of one request to the Hub may take: to connect, and to answer."""

OFFLINE = "offline mode is set (HF_HUB_OFFLINE or TRANSFORMERS_OFFLINE)"
"""Why the Hub is not asked where its user does not want it."""

_CUT_OFF = frozenset(
    (
        "ConnectionError",  # Of Python and of requests.
        "TimeoutError",
        "IncompleteRead",
        "TransportError",  # Of httpx, with all of its timeouts.
        "Timeout",  # Of requests, which has the next one for bodies, too.
        "ChunkedEncodingError",
    )
)
"""Names of the errors of lost connections and of timeouts, whichever library raises them."""

_SWITCHING = RLock()
"""Held while the client is offline: of two threads, the second would restore the first's mode."""


@contextmanager
def cached_if_unreachable() -> Iterator[str | None]:
    """Let the Hub's client use only its cache within the block if the Hub cannot be reached.

    Yields why it cannot be reached, as a sentence without its stop; None if it can.

    Its client retries each of several files for half a minute, also of those in its cache. Its
    documented setting for machines without a network, ``HF_HUB_OFFLINE``, is read when it is
    imported, so it is set there.
    """
    from huggingface_hub import constants

    with _SWITCHING:
        why = OFFLINE if constants.HF_HUB_OFFLINE else unreachable(constants.ENDPOINT)
        if why is not None:
            with _offline(constants):
                yield why
            return
    yield None


def unreachable(address: str, seconds: float = SECONDS) -> str | None:
    """Return why the Hub's client cannot reach a server; None if it can.

    A server that answers with an error is reached.

    Args:
        address: of the server, with its scheme.
        seconds: how long each step of the request may take.
    """
    from huggingface_hub.utils import get_session

    try:
        get_session().head(address, timeout=seconds)
    except Exception as error:  # noqa: BLE001 - clients of all versions, and a user's own one
        return f"{address} cannot be reached: {reason(error)}"
    return None


def is_unreached(error: BaseException) -> bool:
    """Return whether an error of the Hub's client is for want of a connection.

    Its own error of the offline mode is one of these.
    """
    return any(isinstance(one, ConnectionError) for one in chain(error))


def is_cut_off(error: BaseException) -> bool:
    """Return whether a connection that had been made was lost, or too slow.

    The library that the Hub's client sends its requests with depends on its version and may be the
    user's own, so its errors are told by their names.
    """
    kinds = {kind.__name__ for one in chain(error) for kind in type(one).__mro__}
    return not kinds.isdisjoint(_CUT_OFF)


@contextmanager
def _offline(constants: Any) -> Iterator[None]:
    before = constants.HF_HUB_OFFLINE
    try:
        _switch(constants, True)
        yield
    finally:
        _switch(constants, before)


def _switch(constants: Any, offline: bool) -> None:
    from huggingface_hub import utils

    constants.HF_HUB_OFFLINE = offline
    # Before version 1, sessions keep the mode that they were made in. Later ones read it at each
    # request, and closing them would fail those of other threads.
    reset = getattr(utils, "reset_sessions", None)
    if reset is not None:
        reset()
