"""The scores and layers' values of copies, against the model itself."""

from __future__ import annotations

import torch
from helpers import assert_same, noise, refused, seeded
from measured import SmallNet
from torch import Tensor, nn

from torchattr.core.inputs import as_inputs
from torchattr.errors import LayerError, OutputError
from torchattr.evaluate.model_values import ModelValues

X = noise(2, 2, 6, 8)
COPIES = noise(6, 2, 6, 8, seed=2)


def test_values_are_those_of_the_model() -> None:
    net = seeded(SmallNet).double()
    values = ModelValues(net, as_inputs(X), (), None, ["0", "2"])
    scores, found = values.of([COPIES], 3)
    with torch.no_grad():
        assert_same(scores.flatten(0, 1), net(COPIES), 1e-12)
        first, pooled = net[0](COPIES), net[2](net[1](net[0](COPIES)))
        expected = torch.cat([first.flatten(1), pooled.flatten(1)], 1)
    assert found is not None
    assert_same(found.flatten(0, 1), expected, 1e-12)
    assert ModelValues(net, as_inputs(X), (), None, None).of([X], 1)[1] is None


def test_calls_of_a_layer_all_count() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(3, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.layer(self.layer(x))

    net = seeded(Twice).double()
    x = noise(2, 3)
    _, found = ModelValues(net, as_inputs(x), (), None, "layer").of([x], 1)
    assert found is not None
    with torch.no_grad():
        expected = torch.cat([net.layer(x), net(x)], 1)
    assert_same(found[0], expected, 1e-12)


def test_what_has_no_row_for_each_example_is_refused() -> None:
    given = as_inputs(X)
    with refused(OutputError, "one row of scores", "()"):
        ModelValues(lambda x: x.sum(), given, (), None, None).of([X], 1)
    with refused(OutputError, "(2, 2, 6, 8)"):
        ModelValues(lambda x: x, given, (), None, None).of([X], 1)

    class Unused(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer, self.batch = nn.Linear(2, 2), nn.Identity()

        def forward(self, x: Tensor) -> Tensor:
            self.batch(x.sum(0))
            return x.flatten(1)

    net = Unused().double()
    with refused(LayerError, "'layer'", "did not run"):
        ModelValues(net, given, (), None, "layer").of([X], 1)
    copies = torch.cat([X, X, X])
    with refused(LayerError, "'batch'", "one row is needed"):
        ModelValues(net, given, (), None, "batch").of([copies], 3)
