"""Untrusted text cannot control the terminal."""

import pytest

from torchattr.core.printable import printable


@pytest.mark.parametrize("text", ["a b", "été", "漢字 …", ""])
def test_what_can_be_printed_stays(text: str) -> None:
    assert printable(text) == text


@pytest.mark.parametrize("text", ["\x1b[31mred", "a\rb", "a\u202eb", "\udcff"])
def test_what_commands_the_terminal_does_not(text: str) -> None:
    assert printable(text).isprintable()


def test_some_signs_may_be_kept() -> None:
    assert printable("a\nb", keep="\n") == "a\nb"
    assert "\n" not in printable("a\nb")
