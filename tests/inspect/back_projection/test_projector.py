from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from helpers import noise, refused, seeded
from torch import Tensor, nn

import torchattr as ta
from torchattr.errors import LayerError


class Counting(nn.Module):
    """Counts its forwards."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0
        self.net = nn.Sequential(nn.Conv2d(3, 7, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(7, 5, 3))

    def forward(self, x: Tensor) -> Tensor:
        self.count += 1
        return self.net(x)


X = noise(2, 3, 12, 12, dtype=torch.float32)
Y = noise(2, 3, 8, 8, dtype=torch.float32)


def test_one_forward_serves_all_maps_starts_and_rules() -> None:
    model = seeded(Counting)
    projector = ta.BackProjector(model, X, "net.3", ("deconvolution", "guided", "gradient"))
    assert projector.shape == (2, 5, 3, 3)
    for rule in ("deconvolution", "guided", "gradient"):
        for start in ("max", "map", (1, 1)):
            kept = projector.project(start=start, rule=rule)
            again = ta.back_project(seeded(Counting), X, "net.3", start=start, rule=rule)
            assert torch.equal(kept.pictures, again.pictures)
            assert (kept.rule, kept.start, kept.layer) == (rule, start, "net.3")
    assert model.count == 1


def test_the_first_rule_is_the_default_and_others_are_refused() -> None:
    projector = ta.BackProjector(seeded(Counting), X, "net.3", ("guided",))
    assert projector.project(0).rule == "guided"
    with refused(ta.InputError, "'guided'", "'gradient'"):
        projector.project(0, rule="gradient")


def test_a_stream_gives_the_pieces_one_by_one() -> None:
    model = seeded(Counting)
    projector = ta.BackProjector(model, X, "net.3", chunk=2)
    pieces = list(projector.stream())
    assert [piece.channels[0].tolist() for piece in pieces] == [[0, 1], [2, 3], [4]]
    assert [piece.pictures.shape for piece in pieces[::2]] == [(2, 2, 3, 12, 12), (2, 1, 3, 12, 12)]
    whole = projector.project()
    assert torch.equal(torch.cat([piece.pictures for piece in pieces], 1), whole.pictures)
    assert torch.equal(torch.cat([piece.positions for piece in pieces], 1), whole.positions)


def test_a_stream_refuses_before_the_first_piece() -> None:
    projector = ta.BackProjector(seeded(Counting), X, "net.3")
    with refused(ta.InputError, "channel 5"):
        projector.stream(5)


def test_a_progress_bar_counts_the_maps(capsys: object) -> None:
    ta.BackProjector(seeded(Counting), X, "net.3", chunk=2).project(progress=True)
    assert "5/5" in capsys.readouterr().err


def test_threads_share_a_projector() -> None:
    layers = (nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3), nn.ReLU())
    model, x = seeded(lambda: nn.Sequential(*layers)), noise(2, 3, 12, 12)
    kinds = ("deconvolution", "guided", "gradient")
    projector = ta.BackProjector(model.double(), x, "3", kinds)
    alone = {kind: projector.project(0, "map", kind).pictures for kind in kinds}
    assert not torch.equal(alone["guided"], alone["gradient"])
    with ThreadPoolExecutor(4) as pool:
        jobs = [(kind, pool.submit(projector.project, 0, "map", kind)) for kind in kinds * 20]
        assert all(torch.equal(job.result().pictures, alone[kind]) for kind, job in jobs)


class Twice(nn.Module):
    """A convolution, one functional ReLU, one ReLU layer that runs twice, and a head."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.act = nn.ReLU()
        self.head = nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.act(self.conv(x))
        x = self.act(torch.relu(x - 0.2) - 0.1)
        return torch.relu(self.head(x.mean((2, 3))))


@pytest.fixture
def model() -> nn.Module:
    return seeded(Twice)


def test_each_call_of_a_layer_is_projected_back_by_its_name(model: nn.Module) -> None:
    by_number = [ta.back_project(model, Y, f"act#{n}", start="map").pictures for n in (1, 2)]
    each = ta.back_project(model, Y, "act", start="map", calls="each")
    for found, expected in zip(by_number, each, strict=True):
        assert torch.equal(found, expected.pictures)
        assert found.any()


@pytest.mark.parametrize("rule", ["deconvolution", "guided", "gradient"])
def test_an_operation_is_projected_back(model: nn.Module, rule: str) -> None:
    found = ta.back_project(model, Y, "relu#1", start=(1, 2), rule=rule)
    with torch.no_grad():
        values = torch.relu(torch.relu(model.conv(Y)) - 0.2)[:, :, 1, 2]
    torch.testing.assert_close(found.activations, values)
    assert found.layer == "relu#1"
    reached = found.pictures.abs().amax((0, 1, 2)).nonzero()
    assert reached.min(0).values.tolist() == [1, 2]
    assert reached.max(0).values.tolist() == [3, 4]


def test_several_operations_are_not_one_layer(model: nn.Module) -> None:
    with pytest.raises(LayerError, match="layer must name one layer, but it names"):
        ta.back_project(model, Y, "r")
