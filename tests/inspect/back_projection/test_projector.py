from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import torch
from helpers import noise, refused, seeded
from PIL import Image
from torch import Tensor, nn

import torchattr as ta


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


def test_picture_has_a_caption_for_each_map() -> None:
    found = ta.back_project(seeded(Counting), X, "net.3", "top4")
    drawn = found.picture(example=1, columns=4)
    assert isinstance(drawn, Image.Image)
    assert drawn.width == 4 * 112 + 5 * 4
    assert drawn.height > 112 + 8
    assert found.picture(crop=True).size == found.picture(columns=2).size
    assert repr(found) == (
        "BackProjection('net.3', start='max', rule='deconvolution', pictures (2, 4, 3, 12, 12))"
    )
    with refused(ta.InputError, "example 2", "batch of 2"):
        found.picture(example=2)


def test_the_picture_is_grey_where_nothing_came_back() -> None:
    found = ta.back_project(seeded(Counting), X, "net.3", 0, start=(0, 0))
    assert not found.pictures[..., 8:].any()
    drawn = found.picture()
    assert drawn.getpixel((4 + 110, 60)) == (128, 128, 128)


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
