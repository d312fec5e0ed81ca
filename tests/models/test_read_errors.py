"""Whatever a reader raises becomes one error that names the file; interrupts and ours pass."""

from __future__ import annotations

import json

import pytest

from torchattr.errors import ModelError, WeightsError
from torchattr.models.read_errors import ReadErrors, reason


def refused(why: str) -> WeightsError:
    return WeightsError(f"a.bin is damaged: {why}")


@pytest.mark.parametrize("error", [IndexError("x"), UnicodeError("x"), MemoryError("x")])
def test_any_exception_of_a_reader_names_the_file(error: Exception) -> None:
    with pytest.raises(WeightsError, match=r"a\.bin is damaged: x"), ReadErrors(refused):
        raise error


@pytest.mark.parametrize("error", [KeyboardInterrupt(), ModelError("ours")])
def test_interrupts_and_errors_of_this_package_pass(error: BaseException) -> None:
    with pytest.raises(type(error)) as caught, ReadErrors(refused):
        raise error
    assert caught.value is error


def test_the_reason_is_the_first_line_of_the_root_cause() -> None:
    error = RuntimeError("later")
    error.__cause__ = ValueError("first\nsecond")
    assert reason(error) == "first"
    assert reason(KeyError()) == "KeyError"
    assert reason(KeyError("size")) == "there is no entry 'size'"


def test_what_a_reader_hides_is_no_reason() -> None:
    """JSON reads an empty text to a `StopIteration`, and says so to nobody."""
    with pytest.raises(ValueError, match="Expecting value") as caught:
        json.loads("")
    assert reason(caught.value).startswith("Expecting value")
