"""Operation counts: the kind of a convolution, its multiply-adds, and bytes."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from torchattr.incremental.op_counts import kind_of, of_bytes, of_convolution
from torchattr.kernels import Convolution


@pytest.mark.parametrize(
    ("conv", "kind"),
    [
        (Convolution(torch.zeros(32, 16, 3, 3), None), "3x3"),
        (Convolution(torch.zeros(32, 16, 1, 1), None), "1x1"),
        (Convolution(torch.zeros(32, 3, 3, 3), None), "other"),
        (Convolution(torch.zeros(32, 16, 3, 3), None, (2, 2)), "other"),
        (Convolution(torch.zeros(32, 16, 5, 5), None), "other"),
        (Convolution(torch.zeros(32, 1, 3, 3), None, groups=32), "depthwise"),
    ],
)
def test_counts_multiply_adds_by_kind(conv: Convolution, kind: Any) -> None:
    assert kind_of(conv) == kind
    assert of_convolution(conv, 10) == {kind: 10 * conv.weight.numel()}


def test_counts_add_up_by_kind() -> None:
    conv = Convolution(torch.zeros(2, 3, 1, 1), None)
    total = of_convolution(conv, 5) + of_bytes(7) + of_convolution(conv, 1)
    assert total == {"1x1": 36, "bytes": 7}
