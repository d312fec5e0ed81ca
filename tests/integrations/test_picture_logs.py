"""Which call is taken for which logger; the calls themselves are made in `test_lightning`."""

import pytest

from torchattr.integrations.picture_logs import LOGS, log_of


@pytest.mark.parametrize("name", sorted(LOGS))
def test_a_logger_is_known_by_its_class_or_one_that_it_is_derived_from(name):
    kind = type(name, (), {})
    assert log_of(kind()) is LOGS[name]
    assert log_of(type("Own", (kind,), {})()) is LOGS[name]


def test_another_logger_is_not_known():
    assert log_of(object()) is None
