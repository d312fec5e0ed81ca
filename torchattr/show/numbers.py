"""Numbers in captions."""

from __future__ import annotations

import numpy as np

from torchattr.core.arguments import checked_flags


def short_number(value: float) -> str:
    """Return a number for a caption, with three digits.

    >>> short_number(-0.123456)
    '−0.123'
    """
    return f"{value:.3g}".replace("-", "−")


@checked_flags
def value_range(values: np.ndarray, signed: bool) -> str:
    """Return the range of values for a caption; only the largest one if they have no sign.

    >>> value_range(np.array([-0.5, 2.0]), signed=True), value_range(np.array([0.0, 2.0]), False)
    ('−0.5 to 2', 'max 2')
    """
    high = short_number(float(values.max()))
    return f"{short_number(float(values.min()))} to {high}" if signed else f"max {high}"
