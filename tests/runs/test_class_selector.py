import pytest
import torch

from torchattr.errors import TargetError
from torchattr.runs.class_selector import chosen, default_targets, parse_targets

NAMES = ["tabby", "tiger cat", "crane", "crane", "Egyptian_cat"]
CHANCES = torch.tensor([0.1, 0.9, 0.2, 0.6, 0.3])


def indices(*texts, names=NAMES, chances=CHANCES):
    return chosen(parse_targets(texts, names), chances)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("3", [3]),
        ("TABBY", [0]),
        ("tiger_cat", [1]),
        ("egyptian cat", [4]),
        ("top2", [1, 3]),
        ("Top1", [1]),
        ("present", [1, 3]),
    ],
)
def test_forms_of_a_target(text, expected):
    assert indices(text) == expected


def test_several_targets_keep_their_order_and_count_once():
    assert indices("0", "top2", "tiger cat", "4") == [0, 1, 3, 4]


def test_values_that_are_no_probabilities_have_no_present_classes():
    with pytest.raises(TargetError, match="'present' needs probabilities"):
        chosen(parse_targets(["present"], NAMES), CHANCES, bounded=False)
    assert chosen(parse_targets(["top1"], NAMES), CHANCES, bounded=False) == [1]


def test_present_is_at_least_the_best():
    assert indices("present", chances=torch.tensor([0.1, 0.4, 0.2])) == [1]


def test_defaults_follow_the_meaning_of_the_scores():
    assert chosen(default_targets("sigmoid"), CHANCES) == [1, 3]
    assert chosen(default_targets("softmax"), CHANCES) == [1, 3, 4]
    assert chosen(default_targets("softmax"), CHANCES[:2]) == [1, 0]
    assert chosen(default_targets("softmax"), torch.tensor([0.0, 0.9, 0.1])) == [1, 2]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("9", r"target 9 is out of range for a model with 5 classes; allowed are 0 to 4"),
        ("-1", r"target -1 is out of range.*allowed are 0 to 4$"),
        ("top9", r"'top9' asks for 9 of 5 classes; allowed are top1 to top5"),
        ("top0", r"'top0' asks for 0"),
        ("taby", r"unknown class 'taby'; did you mean 'tabby'\?"),
        ("cat", r"did you mean .*'tiger cat'"),
        ("zzzz", r"the classes are tabby, tiger cat"),
        ("crane", r"the name of 2 classes; choose one by its index: 2, 3"),
    ],
)
def test_wrong_targets_are_named(text, said):
    with pytest.raises(TargetError, match=said):
        indices(text)


def test_a_name_needs_class_names():
    with pytest.raises(TargetError, match="class names of this model are not known"):
        indices("tabby", names=None)
