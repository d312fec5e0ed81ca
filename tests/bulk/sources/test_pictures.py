import pytest

from torchattr.bulk.sources.pictures import sorted_ids
from torchattr.errors import InputError


def test_ids_are_sorted_as_strings() -> None:
    assert sorted_ids(iter(["b/2", "b/10", "a"]), "x") == ["a", "b/10", "b/2"]


def test_an_empty_data_set_is_refused() -> None:
    with pytest.raises(InputError, match="the table t holds no picture"):
        sorted_ids([], "the table t")


def test_an_id_that_occurs_twice_is_named() -> None:
    with pytest.raises(InputError, match="the id 'b' more than once"):
        sorted_ids(["b", "a", "b"], "the table t")
