"""Whether the Hugging Face Hub can be reached, which its client tries for minutes to find out."""

from __future__ import annotations

import ssl
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.error import HTTPError, URLError

SECONDS = 5.0
"""How long the Hub is waited for, once."""


@contextmanager
def cached_if_unreachable() -> Iterator[str | None]:
    """Let the Hub's client use only its cache within the block if the Hub cannot be reached.

    Yields why it cannot be reached, as a sentence without its stop; None if it can.

    Its client retries each of several files for half a minute. Its documented setting for machines
    without a network, ``HF_HUB_OFFLINE``, is read when it is imported, so it is set there.
    """
    from huggingface_hub import constants

    why = None if constants.HF_HUB_OFFLINE else unreachable(constants.ENDPOINT)
    before = constants.HF_HUB_OFFLINE
    try:
        constants.HF_HUB_OFFLINE = before or why is not None
        yield "HF_HUB_OFFLINE is set" if before else why
    finally:
        constants.HF_HUB_OFFLINE = before


def unreachable(address: str, seconds: float = SECONDS) -> str | None:
    """Return why a server cannot be reached, directly or by the system's proxy; None if it can.

    A server that answers with an error is reached, and so is one whose certificate is not known
    here: its client may know others.

    >>> unreachable("http://127.0.0.1:9")
    'http://127.0.0.1:9 cannot be reached: Connection refused'
    """
    try:
        urllib.request.urlopen(_head(address), timeout=seconds).close()
    except HTTPError as answer:
        answer.close()
        return None
    except OSError as error:
        cause = error.reason if isinstance(error, URLError) else error
        if isinstance(cause, ssl.SSLError):
            return None
        text = getattr(cause, "strerror", None) or str(cause)
        return f"{address} cannot be reached: {text}"
    return None


def _head(address: str) -> urllib.request.Request:
    return urllib.request.Request(address, method="HEAD")
