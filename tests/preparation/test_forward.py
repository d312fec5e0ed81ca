"""The forward of a prepared model: folding, memory order and precision, fixed when made."""

from __future__ import annotations

import pytest
import torch
from foldable import Net, network
from helpers import assert_same, noise

from torchattr.preparation.choosing import Configuration
from torchattr.preparation.forward import PreparedForward
from torchattr.preparation.pairs import Pair

X = noise(2, 3, 14, 14)
PAIRS = (Pair("conv1", "bn1"), Pair("conv2", "bn2"))


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("pairs", [(), PAIRS[:1], PAIRS])
def test_it_computes_what_the_model_computes(pairs: tuple[Pair, ...], channels_last: bool) -> None:
    model = network(Net)
    forward = PreparedForward(model, pairs, configuration=Configuration(channels_last))
    assert len(forward.folds) == len(pairs)
    assert_same(forward(X), model(X), 1e-10)
    assert_same(forward.unfolded()(X), model(X), 1e-10)
    assert forward.unfolded().folds == []


def test_folded_weights_lie_in_the_chosen_memory_order() -> None:
    forward = PreparedForward(network(Net), PAIRS[1:], configuration=Configuration(True))
    (fold,) = forward.folds
    assert fold.weights()[0].is_contiguous(memory_format=torch.channels_last)


def test_a_lower_precision_returns_the_dtype_of_the_input() -> None:
    model = network(Net).float()
    output = PreparedForward(model, PAIRS, precision="bfloat16")(X.float())
    assert output.dtype == torch.float32
    assert not torch.equal(output, model(X.float()))
    assert_same(output, model(X.float()), 0.1)


def test_its_state_changes_with_the_weights() -> None:
    model = network(Net)
    forward = PreparedForward(model, PAIRS)
    before = forward.state()
    assert forward.state() == before
    with torch.no_grad():
        model.bn1.weight.mul_(2)
    assert forward.state() != before
