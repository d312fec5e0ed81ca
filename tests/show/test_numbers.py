"""Numbers in captions."""

from __future__ import annotations

import numpy as np

from torchattr.show import short_number, value_range


def test_numbers_are_short() -> None:
    assert [short_number(n) for n in (12.345, -0.00001, 0)] == ["12.3", "−1e−05", "0"]


def test_a_range_has_a_lower_end_where_values_have_a_sign() -> None:
    values = np.array([[-0.25, 0.0], [1.5, 3.0]])
    assert value_range(values, signed=True) == "−0.25 to 3"
    assert value_range(values, signed=False) == "max 3"
