from __future__ import annotations

import torch
from asked import X, Y
from helpers import assert_same

from torchattr import evaluate, quantus

ROWS = torch.from_numpy(X).reshape(4, 1, -1)


def test_each_element_counts_on_its_own() -> None:
    found = torch.tensor(quantus.Sparseness()(None, X, Y, X), dtype=torch.float64)
    assert_same(found, evaluate.gini_index(ROWS), 1e-9)
    found = torch.tensor(quantus.Complexity()(None, X, Y, X), dtype=torch.float64)
    assert_same(found, evaluate.entropy(ROWS), 1e-9)
    counts = quantus.EffectiveComplexity(eps=0.3)(None, X, Y, X)
    largest = X.reshape(4, -1).max(1)
    assert counts == [int((one / top > 0.3).sum()) for one, top in zip(X, largest, strict=True)]
