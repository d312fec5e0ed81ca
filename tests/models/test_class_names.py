import pytest

from torchattr.core.targets import Classes, TopK
from torchattr.errors import TargetError
from torchattr.models import find_class, is_class_name, with_indices

NAMES = ["tabby", "tiger cat", "crane", "Crane", "Egyptian_cat"]


@pytest.mark.parametrize(
    ("text", "index"),
    [("TABBY", 0), ("tiger_cat ", 1), ("egyptian  cat", 4), ("Crane", 3), ("dog", None)],
)
def test_names_are_found_whatever_their_case_and_spaces(text, index):
    assert find_class(text, NAMES) == index
    assert is_class_name(text, NAMES) == (index is not None)


def test_the_name_of_several_classes_needs_an_index():
    assert is_class_name("CRANE", NAMES)
    with pytest.raises(TargetError, match="the name of 2 classes; choose one by its index: 2, 3"):
        find_class("CRANE", NAMES)


@pytest.mark.parametrize("target", [3, (1, 2), None, TopK(2), Classes(1, 2)])
def test_what_holds_no_name_stays_as_it_is(target):
    assert with_indices(target, None) == target


def test_names_become_indices_wherever_they_stand():
    assert with_indices(["tabby", 3, "tiger cat"], NAMES) == [0, 3, 1]
    assert with_indices(Classes("tiger cat", 0), NAMES) == Classes(1, 0)


def test_without_names_there_is_a_way_out():
    with pytest.raises(TargetError, match=r"not known[.] Allowed are indices, or a LoadedModel"):
        with_indices("tabby", None)
