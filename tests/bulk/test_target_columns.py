import pytest
import torch

import torchattr as ta
from torchattr.bulk.target_columns import TargetColumns
from torchattr.core.targets import Classes, TopK
from torchattr.errors import TargetError

SCORES = torch.tensor([[0.1, 0.9, 0.5], [0.8, 0.1, 0.3]])
NAMES = ["cat", "dog", "cow"]


def fail() -> torch.Tensor:
    raise AssertionError("the scores are not needed")


def test_the_best_alone_need_no_forward_of_their_own() -> None:
    assert TargetColumns.of(["top2"], NAMES).target([0, 1], fail) == TopK(2)


def test_columns_of_all_kinds_stand_side_by_side() -> None:
    columns = TargetColumns.of(["dog", "top2", "label", 0], NAMES)
    found = columns.target([2, 1], lambda: SCORES)
    assert isinstance(found, Classes)
    plain = [one.tolist() if isinstance(one, torch.Tensor) else one for one in found.indices]
    assert plain == [1, [1, 0], [2, 2], [2, 1], 0]
    assert columns.names == ["dog", "top 1", "top 2", "label", "cat"]
    assert columns.needs_labels


def test_fixed_classes_need_no_scores() -> None:
    assert TargetColumns.of(["cow", 0], NAMES).target([0], fail).indices == (2, 0)


def test_functions_of_the_output_are_columns() -> None:
    columns = TargetColumns.of([ta.Difference(1, 0)], None)
    assert columns.has_functions
    assert columns.names == [repr(ta.Difference(1, 0))]


def test_targets_of_different_numbers_are_refused() -> None:
    with pytest.raises(TargetError, match="the same for all"):
        TargetColumns.of(["present"], NAMES)
    with pytest.raises(TargetError, match="the same for all"):
        TargetColumns.of(["top0"], NAMES)


def test_unknown_and_missing_targets_are_refused() -> None:
    with pytest.raises(TargetError, match="unknown class 'horse'"):
        TargetColumns.of(["horse"], NAMES)
    with pytest.raises(TargetError, match="targets is empty"):
        TargetColumns.of([], NAMES)
