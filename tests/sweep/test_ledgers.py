"""Every family of timm and torchvision: the ledger of relevance sums to the score, or a refusal."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import torchattr as ta

pytest.importorskip("timm")

from by_hand import Case
from families import MEMBERS
from refusals import Refusals, Refused
from test_sweep import case, refusals  # noqa: F401 - fixtures

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore::Warning")]

METHODS: dict[str, Callable[..., Any]] = {
    # Which is what LibraGrad runs.
    "lrp zero": lambda model, **options: ta.LRP(model, "zero", **options),
    "lrp epsilon_plus": lambda model, **options: ta.LRP(model, "epsilon_plus", **options),
    "attn_lrp": ta.AttnLRP,
}
IN_SINGLE_PRECISION = {"timm/efficientvit_mit": 1e-6}
"""Models with a part that runs in float32 whatever the inputs are."""


@pytest.fixture(params=METHODS)
def method(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_the_ledger_sums_to_the_score(case: Case, refusals: Refusals, method: str) -> None:  # noqa: F811
    """What the inputs, biases, constants, stabilisers and softmaxes have is the score, to rounding.

    Relative to the score itself: none of these models' is so small that its shares would cancel.
    """
    member = case.member
    explained = METHODS[method](case.model, output=member.output)
    given = tuple(one[:1] for one in case.inputs)
    try:
        with refusals.expected(case.name, method):
            maps, (ledger,) = explained.attribute(
                given if len(given) > 1 else given[0], member.target, return_ledger=True
            )
    except Refused:
        return
    found = maps if isinstance(maps, tuple) else (maps,)
    bound = max(member.rounding, IN_SINGLE_PRECISION.get(case.name, 0))
    score = case.score(case.model(*given))[0].item()
    assert ledger.score == pytest.approx(score, rel=bound)
    assert any(bool(one.any()) for one in found), "nothing reached the inputs"
    magnitude = sum(one.abs().sum().item() for one in found)
    assert abs(ledger.inputs - sum(one.sum().item() for one in found)) <= bound * magnitude
    assert ledger.inputs != 0
    assert "unknown" not in ledger.by_reason()
    assert abs(ledger.error) <= bound * abs(ledger.score), ledger.table()


def test_tables_name_models_of_the_sweep() -> None:
    assert set(IN_SINGLE_PRECISION) <= set(MEMBERS)
