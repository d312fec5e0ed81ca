import pytest

from torchattr.errors import InputError
from torchattr.runs import distinct_names


def test_equal_names_are_numbered_in_order():
    assert distinct_names(["a", "b", "a", "a"]) == ["a", "b", "a-2", "a-3"]


def test_case_does_not_make_a_difference():
    assert distinct_names(["Cat", "cat"]) == ["Cat", "cat-2"]


def test_a_number_never_meets_a_name_that_is_there():
    names = distinct_names(["a", "a", "a-2"])
    assert names == ["a", "a-3", "a-2"]
    assert len({name.casefold() for name in names}) == 3


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "a\\b"])
def test_a_name_is_a_plain_file_name(name):
    with pytest.raises(InputError, match="names must be file names"):
        distinct_names([name])
