"""Undo steps run when the block ends, however it ends."""

from __future__ import annotations

import warnings

import pytest

from torchattr.core.undoing import own_filters, undoing, undone


@pytest.mark.parametrize("error", [None, ValueError, KeyboardInterrupt])
def test_the_last_step_is_undone_first(error: type[BaseException] | None) -> None:
    order: list[int] = []

    def work() -> None:
        with undone() as undo:
            for number in (1, 2):
                undo.later(lambda number=number: order.append(number))
            if error is not None:
                raise error

    if error is None:
        work()
    else:
        with pytest.raises(error):
            work()
    assert order == [2, 1]


def test_the_result_of_the_work_is_returned_after_undoing() -> None:
    order: list[str] = []
    assert undoing(lambda undo: (undo.later(lambda: order.append("undone")), 3)[1]) == 3
    assert order == ["undone"]


def test_filters_of_warnings_are_put_back() -> None:
    before = list(warnings.filters)
    with own_filters():
        warnings.simplefilter("ignore")
        assert list(warnings.filters) != before
    assert list(warnings.filters) == before
