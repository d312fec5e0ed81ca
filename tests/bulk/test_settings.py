from dataclasses import replace

import pytest

from torchattr.bulk.settings import BulkSettings
from torchattr.errors import InputError, InputTypeError
from torchattr.runs import ExplainSettings

TWO = ExplainSettings(("saliency", "rise"))


def test_methods_that_draw_run_apart() -> None:
    settings = BulkSettings(TWO)
    assert (settings.shared, settings.drawing) == (["saliency"], ["rise"])


def test_no_method_is_refused() -> None:
    with pytest.raises(InputError, match="methods is empty"):
        BulkSettings(ExplainSettings())


def test_a_seed_of_a_method_is_refused() -> None:
    with pytest.raises(InputError, match="pass seed to the run"):
        BulkSettings(TWO, {"rise": {"seed": 3}})
    with pytest.raises(InputError, match="pass seed to the run"):
        BulkSettings(replace(TWO, options=("rise.seed=3",)))


@pytest.mark.parametrize("option", ["shard_size", "batch_size"])
def test_numbers_are_checked(option: str) -> None:
    with pytest.raises(InputError, match=f"{option} must be at least 1"):
        BulkSettings(TWO, **{option: 0})
    with pytest.raises(InputTypeError, match=option):
        BulkSettings(TWO, **{option: 1.5})
