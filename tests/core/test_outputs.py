"""Which tensor of a model's output holds the scores."""

from __future__ import annotations

from collections import OrderedDict, namedtuple
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor

from torchattr.core.outputs import select_output
from torchattr.errors import OutputError

SCORES, OTHER = torch.zeros(2, 3), torch.ones(2, 3)


@dataclass
class Answer:
    logits: Tensor
    hidden: Any = None


Pair = namedtuple("Pair", ["logits", "hidden"])


@pytest.mark.parametrize(
    ("output", "key"),
    [
        (SCORES, None),
        ((SCORES,), None),
        ({"out": SCORES, "note": "text"}, None),
        (Answer(SCORES), None),
        (Answer(SCORES, OTHER), "logits"),
        (Pair(SCORES, OTHER), "logits"),
        (Pair(SCORES, OTHER), 0),
        ((OTHER, SCORES), 1),
        ([OTHER, SCORES], -1),
        (OrderedDict(aux=OTHER, out=SCORES), "out"),
        (OrderedDict(aux=OTHER, out=SCORES), 1),
        ({"deep": (OTHER, SCORES)}, lambda output: output["deep"][1]),
    ],
)
def test_takes(output: Any, key: Any) -> None:
    assert select_output(output, key) is SCORES


@pytest.mark.parametrize(
    ("output", "key", "message"),
    [
        ({"out": SCORES, "aux": OTHER}, None, r"entries 'out', 'aux'.*output='out'"),
        ((SCORES, OTHER), None, r"tuple with entries 0, 1"),
        ({"out": SCORES}, "scores", r"output='scores' names no entry.*'out'"),
        ((SCORES,), 3, r"output=3 names no entry"),
        ("text", None, r"is str, not a tensor"),
        ([{"boxes": OTHER, "scores": SCORES}], None, r"list with entries 0.*No entry of it is"),
        ([{"scores": SCORES}], 0, r"output entry 0 is dict with entries 'scores'.*No entry of it"),
        ({"loss": torch.tensor(1.0), "ids": OTHER.long(), "x": SCORES}, None, r"output='x'$"),
        ({"hidden": OTHER, "logits": SCORES}, None, r"output='logits'$"),
        ({"hidden": OTHER, "logits": SCORES}, "score", r"no entry.*output='logits'$"),
        (SCORES, "logits", r"names no entry.*a tensor of shape \(2, 3\)\). Leave it out"),
        (SCORES, 0, r"output=0 names no entry"),
        ({"note": "text"}, "note", r"entry 'note' is str"),
        (SCORES, lambda output: 3, r"is int, not a tensor"),
    ],
)
def test_refuses(output: Any, key: Any, message: str) -> None:
    with pytest.raises(OutputError, match=message):
        select_output(output, key)
