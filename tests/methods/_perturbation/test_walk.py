"""A walk through coalitions against whole forwards of each of them."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from helpers import assert_same, noise, reported, seeded
from torch import Tensor, nn

import torchattr as ta
from torchattr.methods._perturbation import incremental_scores, walk

X = torch.rand(3, 3, 16, 16, generator=torch.Generator().manual_seed(0)).double()
SQUARES = (torch.arange(16)[:, None] // 4 * 4 + torch.arange(16) // 4)[None, None]
OF_EACH = torch.cat([SQUARES, SQUARES.flip(3), SQUARES % 5])
EXACT = 1e-12


class Net(nn.Module):
    """Convolutions with a residual sum, in place and not, strided and pooled."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(inplace=True))
        self.conv, self.norm = nn.Conv2d(6, 6, 3, padding=1), nn.BatchNorm2d(6)
        self.down = nn.Sequential(nn.MaxPool2d(2), nn.Conv2d(6, 8, 3, stride=2), nn.ReLU())
        self.head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4))
        nn.init.normal_(self.norm.running_mean)

    def forward(self, x: Tensor, scale: Tensor | None = None) -> Tensor:
        x = self.stem(x)
        x = self.head(self.down(torch.relu_(self.norm(self.conv(x)) + x)))
        return x if scale is None else x * scale[:, None]


MODEL = seeded(Net).double()


def assert_walked(model: Any = MODEL, x: Any = X, **options: Any) -> None:
    given = {"target": 1, "feature_mask": SQUARES, "n_samples": 5, **options}
    method = ta.ShapleyValueSampling(model)
    walked, recomputed = reported(method, x, incremental=True, **given)
    assert recomputed.followed > 0
    whole = method.attribute(x, incremental=False, **given)
    parts = [(walked, whole)] if isinstance(walked, Tensor) else zip(walked, whole, strict=True)
    for one, other in parts:
        assert_same(one, other, EXACT)


@pytest.mark.parametrize("most", [2**29, 1_000_000, 1])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"seed": [3, 1, 2]},
        {"feature_mask": OF_EACH},
        {"feature_mask": OF_EACH, "seed": [3, 1, 2], "target": [0, 1, 2]},
        {"target": ta.Classes(0, 2), "n_samples": 1},
        {"baselines": noise(3, 3, 16, 16), "additional_forward_args": noise(3, seed=2)},
    ],
    ids=["shared", "seeds", "masks", "masks and seeds", "classes", "arguments"],
)
def test_it_equals_whole_forwards(
    options: dict[str, Any], most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (walk, incremental_scores):
        monkeypatch.setattr(module, "MOST_RECORDED", most)
    before = X.clone()
    assert_walked(**options)
    assert torch.equal(X, before)


def test_features_may_span_inputs_that_are_no_pictures() -> None:
    def model(x: Tensor, extra: Tensor) -> Tensor:
        return MODEL(x) * extra.sum(1, keepdim=True)

    masks = SQUARES, torch.tensor([[0, 5, 99]])
    assert_walked(model, (X, noise(3, 3)), feature_mask=masks)


def test_channels_last_weights_and_inputs_are_not_written_to() -> None:
    model = seeded(Net).double().to(memory_format=torch.channels_last)
    x = X.to(memory_format=torch.channels_last)
    before = x.clone()
    assert_walked(model, x)
    assert torch.equal(x, before)


def test_what_cannot_be_followed_is_run_as_a_whole() -> None:
    options: dict[str, Any] = {"target": 1, "feature_mask": SQUARES, "n_samples": 2}
    method = ta.ShapleyValueSampling(MODEL)
    _, small = reported(method, X, **options)
    assert small.reasons == ("all forwards together are small",)

    def moody(x: Tensor) -> Tensor:
        return MODEL(x) if x.flatten()[0] == 0 else MODEL(x.clone()) + MODEL(x)

    found, other = reported(ta.ShapleyValueSampling(moody), X[:1], incremental=True, **options)
    assert not other.followed
    whole = ta.ShapleyValueSampling(moody).attribute(X[:1], incremental=False, **options)
    assert_same(found, whole, EXACT)
