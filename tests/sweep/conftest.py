"""One model at a time: all tests of a model follow one another, and then it is dropped."""

from __future__ import annotations

import gc
import warnings
from collections.abc import Iterator

import pytest
from families import MEMBERS
from oracles import Case, made
from refusals import Refusals


@pytest.fixture(scope="module", params=MEMBERS)
def case(request: pytest.FixtureRequest) -> Iterator[Case]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of those who wrote the models
        found = made(request.param, MEMBERS[request.param])
    yield found
    vars(found).clear()
    gc.collect()


@pytest.fixture(scope="session")
def refusals() -> Iterator[Refusals]:
    table = Refusals.read()
    yield table
    table.write_if_asked()
