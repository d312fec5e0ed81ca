"""Text from file names and models, made safe for terminals, pages and files."""

from __future__ import annotations

from collections.abc import Iterable


def printable(text: str, keep: str = "") -> str:
    r"""Escape the control, format and undecodable characters of a text.

    A terminal interprets control characters in a file name (colours, titles, line breaks), and a
    byte that is not UTF-8, which Python keeps as a lone surrogate, cannot be encoded again.

    Args:
        text: any text.
        keep: characters that stay as they are, such as line breaks.

    >>> printable("red\x1b[31m.png"), printable("caf\udce9.png"), printable("caf\u00e9.png")
    ('red\\x1b[31m.png', 'caf\\xe9.png', 'café.png')
    """
    return "".join(
        character if character.isprintable() or character in keep else _escaped(character)
        for character in text
    )


def listed(texts: Iterable[str], most: int = 6) -> str:
    """Join texts with commas; if there are more than `most`, show the first and the total number.

    >>> listed(["a", "b", "c", "d"], most=2)
    'a, b, ... (4 in all)'
    """
    texts = list(texts)
    if len(texts) <= most:
        return ", ".join(texts)
    return f"{', '.join(texts[:most])}, ... ({len(texts)} in all)"


def _escaped(character: str) -> str:
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:
        # How `os.fsdecode` holds the byte of a file name that it cannot decode.
        code -= 0xDC00
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else ""
