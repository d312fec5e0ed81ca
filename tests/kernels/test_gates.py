"""What each gate reads and where it clamps."""

from __future__ import annotations

import pytest
import torch
from helpers import noise

from torchattr.kernels.gates import Gate, Gating, clamps, reads_mask

GRAD = noise(2, 3, 4, 5).contiguous(memory_format=torch.channels_last)
MASK = torch.zeros(15, dtype=torch.uint8)


@pytest.mark.parametrize(
    ("gate", "reads", "is_clamped"),
    [("gradient", True, False), ("guided", True, True), ("deconvolution", False, True)],
)
def test_gates(gate: Gate, reads: bool, is_clamped: bool) -> None:
    assert reads_mask(gate) is reads
    assert clamps(gate) is is_clamped
    gating = Gating.of(GRAD, MASK, (0, 1, 2, 3), gate)
    assert gating.clamps is is_clamped
    assert (gating.mask is MASK) is reads
    # Without a mask the gradient's own order needs no copy.
    assert gating.order == ((0, 1, 2, 3) if reads else (0, 2, 3, 1))


def test_without_a_mask_there_is_only_the_sign() -> None:
    assert Gating.of(GRAD, None, (0, 1, 2, 3), "guided") == Gating(None, (0, 2, 3, 1), clamps=True)
