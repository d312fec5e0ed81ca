import numpy as np
import pytest

from torchattr.bulk.sources.labels import class_number, class_numbers
from torchattr.errors import InputError


@pytest.mark.parametrize(
    ("given", "numbers", "names"),
    [
        (["dog", "cat", "dog"], [1, 0, 1], ["cat", "dog"]),
        (["3", " 10"], [3, 10], None),
        (["3", "cat"], [0, 1], ["3", "cat"]),
        ([2.0, float("nan")], [2, None], None),
        ([np.int64(4), None, -1, ""], [4, None, None, None], None),
        ([True, False], [1, 0], None),
        ([], [], None),
    ],
)
def test_labels_become_indices_of_classes(given, numbers, names):
    assert class_numbers(given, None, "x") == (numbers, names)


def test_given_names_fix_the_indices():
    assert class_numbers(["dog", 0], ["wolf", "dog"], "x") == ([1, 0], ["wolf", "dog"])


def test_a_name_that_looks_like_a_number_is_a_name():
    assert class_number("1", {"1": 7, "0": 3}, "x") == 7


@pytest.mark.parametrize("label", ["cow", 2, 0.5])
def test_a_label_that_names_no_class_is_refused(label):
    with pytest.raises(InputError, match=r"the table has the label .* name of the 2 classes"):
        class_numbers([label], ["cat", "dog"], "the table")


def test_a_number_is_needed_where_classes_have_no_names():
    with pytest.raises(InputError, match=r"the label 'cow', which is not a number"):
        class_number("cow", {}, "a.jpg")
