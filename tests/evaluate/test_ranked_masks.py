"""Steps along an order of features."""

from __future__ import annotations

import pytest

from torchattr.evaluate.ranked_masks import as_fractions


def test_steps_are_counts_or_fractions() -> None:
    assert as_fractions(0.3, 10).tolist() == pytest.approx([0, 0.3, 0.6, 0.9, 1])
    assert as_fractions(0.1, 100).tolist() == pytest.approx([k / 10 for k in range(11)])
    assert as_fractions(0.01, 4).tolist() == as_fractions(50, 4).tolist() == [0, 0.25, 0.5, 0.75, 1]
    assert as_fractions(1, 4).tolist() == [0, 1]
