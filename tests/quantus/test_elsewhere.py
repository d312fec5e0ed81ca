from __future__ import annotations

import pytest

from torchattr import quantus
from torchattr.quantus.elsewhere import ELSEWHERE, sentence


@pytest.mark.parametrize("name", ELSEWHERE)
def test_names_that_are_not_here_say_why(name: str) -> None:
    assert name not in dir(quantus)
    with pytest.raises(AttributeError, match=f"{name} is not in torchattr.quantus: "):
        getattr(quantus, name)


def test_misspelled_names_are_answered() -> None:
    with pytest.raises(AttributeError, match="did you mean Selectivity"):
        quantus.Selectivty  # noqa: B018
    assert "dir(torchattr.quantus)" in sentence("Zzz", ["AUC"])
    assert not hasattr(quantus, "__wrapped__")
