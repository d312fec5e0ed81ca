"""DeepLIFT averaged over baselines."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from helpers import assert_same, noise, refused, seeded
from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode

import torchattr as ta
from torchattr.errors import InputError, InputTypeError, OutputError, ShapeError

MODEL = seeded(
    lambda: nn.Sequential(nn.Linear(6, 8), nn.GELU(), nn.Linear(8, 5), nn.ReLU(), nn.Linear(5, 3))
).double()
X, B = noise(4, 6), noise(5, 6, seed=2)


def expected(target: Any, x: Tensor = X) -> Tensor:
    method = ta.DeepLift(MODEL)
    return torch.stack([method.attribute(x, row[None], target) for row in B]).mean(0)


@pytest.mark.parametrize("size", [None, 1, 2, 3, 7, 100])
@pytest.mark.parametrize("target", [1, [0, 2, 1, 1], None, ta.TopK(2)], ids=str)
def test_it_is_the_mean_however_it_is_split(target: Any, size: int | None) -> None:
    maps, delta = ta.DeepLiftShap(MODEL).attribute(
        X, B, target, return_convergence_delta=True, internal_batch_size=size
    )
    assert_same(maps, expected(target), 1e-12)
    assert delta.shape == ((20, 2) if isinstance(target, ta.TopK) else (20,))
    assert delta.abs().max() < 1e-13


def test_each_baseline_runs_once_for_all_images() -> None:
    rows: list[int] = []

    def model(x: Tensor) -> Any:
        rows.append(len(x))
        return MODEL(x)

    ta.DeepLiftShap(model).attribute(X, B, 1, internal_batch_size=5)
    # The scores, the baselines, and each image with all of them.
    assert rows == [4, 5, 5, 5, 5, 5]


@pytest.mark.parametrize("size", [None, 10, 15])
def test_each_baseline_runs_once_for_all_pairs(size: int | None) -> None:
    rows: list[int] = []

    def model(x: Tensor) -> Any:
        rows.append(len(x))
        return MODEL(x)

    found = ta.DeepLiftShap(model).attribute(X, B, [0, 2, 1, 1], internal_batch_size=size)
    assert_same(found, expected([0, 2, 1, 1]), 1e-12)
    assert rows == {None: [4, 5, 20], 10: [4, 5, 10, 10], 15: [4, 5, 15, 5]}[size]


@pytest.mark.parametrize("size", [None, 10, 15])
def test_a_target_that_is_called_sees_each_baseline_by_itself(size: int | None) -> None:
    weights = torch.arange(4.0, dtype=torch.float64)

    def target(output: Tensor) -> Tensor:
        assert len(output) == 4
        return output[:, 1] * weights

    found = ta.DeepLiftShap(MODEL).attribute(X, B, target, internal_batch_size=size)
    assert_same(found, expected(1) * weights[:, None], 1e-12)


def test_a_table_with_as_many_rows_as_a_part_of_the_batch_is_no_part_of_it() -> None:
    def model(x: Tensor, table: Tensor) -> Any:
        return MODEL(x) @ table

    table = noise(3, 3, seed=7)
    found = ta.DeepLiftShap(model).attribute(X, B, 1, table, internal_batch_size=15)
    each = [ta.DeepLift(model).attribute(X, row[None], 1, table) for row in B]
    assert_same(found, torch.stack(each).mean(0), 1e-12)


@pytest.mark.parametrize("size", [None, 1, 3])
def test_arguments_go_with_their_images(size: int | None) -> None:
    def model(x: Tensor, scale: Tensor) -> Any:
        return MODEL(x * scale).tanh()

    scale = noise(4, 1, seed=5)
    found = ta.DeepLiftShap(model).attribute(X, B, 1, scale, internal_batch_size=size)
    method = ta.DeepLift(model)
    each = torch.stack([method.attribute(X, row[None], 1, scale) for row in B])
    assert_same(found, each.mean(0), 1e-12)


def test_forms_of_baselines() -> None:
    method = ta.DeepLiftShap(MODEL)
    assert_same(method.attribute(X, lambda: B, 1), expected(1), 1e-12)
    assert_same(method.attribute(X, lambda x: x[:2], 1), method.attribute(X, X[:2], 1))
    assert_same(method.attribute(X, target=1), ta.DeepLift(MODEL).attribute(X, target=1), 1e-12)
    multipliers = ta.DeepLiftShap(MODEL, multiply_by_inputs=False).attribute(X, B[:1], 1)
    assert_same(multipliers * (X - B[:1]), method.attribute(X, B[:1], 1), 1e-12)


def test_two_inputs() -> None:
    def model(a: Tensor, b: Tensor) -> Any:
        return MODEL(a * b.sigmoid())

    maps = ta.DeepLiftShap(model).attribute((X, X.flip(0)), (B, B.flip(1)), 1)
    mean = torch.stack([model(one[None], two[None]) for one, two in zip(B, B.flip(1), strict=True)])
    rise = model(X, X.flip(0))[:, 1] - mean[:, 0, 1].mean()
    assert_same(maps[0].sum(1) + maps[1].sum(1), rise.detach(), 1e-12)
    with refused(ShapeError, "baselines", "4, 5 rows"):
        ta.DeepLiftShap(model).attribute((X, X), (B, B[:4]), 1)


def test_bad_input() -> None:
    method = ta.DeepLiftShap(MODEL)
    with refused(InputTypeError, "baselines", "torch.int64"):
        method.attribute(X, torch.zeros(3, 6, dtype=torch.int64), 1)
    with refused(ShapeError, "baselines", "(5, 5)"):
        method.attribute(X, B[:, :5], 1)
    with refused(InputError, "internal_batch_size", "at least 1"):
        method.attribute(X, B, 1, internal_batch_size=0)
    with refused(OutputError, "one row"):
        ta.DeepLiftShap(lambda x: MODEL(x).sum(0, keepdim=True)).attribute(X, B, 1)


class Peak(TorchDispatchMode):
    """The most bytes of storages that operations allocated and that were alive at once."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes = 0
        self._live: dict[int, tuple[StorageWeakRef, int]] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = {one.untyped_storage()._cdata for one in args if isinstance(one, Tensor)}
        if func is torch.ops.aten.equal.default:
            # Instead of a tensor that was made of a number, a mode is given the number.
            args = [torch.tensor(one) if isinstance(one, float) else one for one in args]
        output = func(*args, **(kwargs or {}))
        for one in output if isinstance(output, (tuple, list)) else (output,):
            if isinstance(one, Tensor) and one.untyped_storage()._cdata not in given:
                storage = one.untyped_storage()
                self._live[storage._cdata] = StorageWeakRef(storage), storage.nbytes()
        self._live = {key: held for key, held in self._live.items() if not held[0].expired()}
        self.bytes = max(self.bytes, sum(size for _, size in self._live.values()))
        return output


class Block(nn.Module):
    """Attention and what follows it in a transformer."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(96)
        self.attention = nn.MultiheadAttention(96, 2, batch_first=True)
        self.after = nn.Sequential(
            nn.LayerNorm(96), nn.Linear(96, 384), nn.GELU(), nn.Linear(384, 96)
        )

    def forward(self, tokens: Tensor) -> Tensor:
        normed = self.norm(tokens)
        tokens = tokens + self.attention(normed, normed, normed, need_weights=False)[0]
        result: Tensor = tokens + self.after(tokens)
        return result


class Attentive(nn.Module):
    """A transformer with fewer tokens than channels."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.Sequential(*(Block() for _ in range(6)))
        self.out = nn.Linear(96, 3)

    def forward(self, x: Tensor) -> Tensor:
        scores: Tensor = self.out(self.blocks(x.flatten(2).transpose(1, 2)).mean(1))
        return scores


def convolutions(inplace: bool, *, normed: bool) -> nn.Module:
    layers: list[nn.Module] = []
    for channels in (32, 32, 64, 64):
        layers += [nn.LazyConv2d(channels, 3, padding=1)]
        layers += [nn.BatchNorm2d(channels)] if normed else []
        layers += [nn.ReLU(inplace)]
    return nn.Sequential(*layers, nn.MaxPool2d(2), nn.Flatten(), nn.LazyLinear(3))


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "rectified": lambda: convolutions(False, normed=False),
    "rectified in place": lambda: convolutions(True, normed=False),
    "normed": lambda: convolutions(False, normed=True),
    "normed, in place": lambda: convolutions(True, normed=True),
    "attention": Attentive,
}


def of_torchvision(name: str, size: int) -> nn.Module:
    models = pytest.importorskip("torchvision").models
    return getattr(models, name)(**({"image_size": size} if "vit" in name else {}))


def assert_estimated(model: nn.Module, size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Check that what a pair is estimated to need is what it needs, to a third."""
    asked: list[int] = []

    def spy(needed: int, *args: Any) -> int:
        asked.append(needed)
        return 3

    channels = 96 if isinstance(model, Attentive) else 3
    x, rows = (noise(n, channels, size, size, seed=n, dtype=torch.float32) for n in (1, 3))
    model(x)  # Lazy layers get their shapes.
    monkeypatch.setattr("torchattr.methods.deep_lift_shap.fitting", spy)
    with Peak() as peak:
        ta.DeepLiftShap(model.eval()).attribute(x, rows, 1)
    assert 0.75 <= 3 * asked[0] / peak.bytes <= 1.34


@pytest.mark.parametrize("name", NETWORKS)
def test_memory_of_a_pair_is_what_it_is_estimated(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert_estimated(seeded(NETWORKS[name]), 8, monkeypatch)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["vgg16", "resnet18", "resnet50", "vit_b_16"])
def test_memory_of_a_pair_of_known_networks(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert_estimated(seeded(lambda: of_torchvision(name, 112)), 112, monkeypatch)
