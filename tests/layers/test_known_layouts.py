"""Layouts that an earlier forward followed, and when they are followed again."""

from __future__ import annotations

import gc
from weakref import ref

import pytest
import torch
from helpers import noise, seeded
from torch import Tensor, nn

from torchattr.layers import NativeTrace, TapPoint, Trace, graph_trace, known_layouts
from torchattr.layers.layouts.tracker import LayoutTracker

X = noise(2, 3, 8, 8)


class Net(nn.Module):
    """Its layer runs twice, on grids of two sizes, and then on tokens if it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3, padding=1)
        self.norm = nn.Identity()
        self.as_tokens = False

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(self.conv(x))
        x = self.norm(x[:, :, ::2, ::2])
        if self.as_tokens:
            x = self.norm(x.flatten(2).transpose(1, 2)).transpose(1, 2)
        return x.flatten(1)


@pytest.fixture
def model() -> Net:
    return seeded(Net).double().eval()


@pytest.fixture
def followed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The forwards whose layouts were followed."""
    made: list[int] = []

    class Counted(LayoutTracker):
        def __init__(self, *args: object) -> None:
            super().__init__(*args)  # type: ignore[arg-type]
            made.append(1)

    monkeypatch.setattr(graph_trace, "LayoutTracker", Counted)
    return made


@pytest.mark.parametrize("kind", [Trace, NativeTrace])
@pytest.mark.parametrize("of_input", [False, True])
def test_a_second_forward_of_the_same_shapes_follows_nothing(
    model: Net, followed: list[int], kind: type, of_input: bool
) -> None:
    tap = TapPoint(model.norm, of_input, with_layout=True)
    other = TapPoint(model.conv)
    first, second = (kind(model, (X + shift,), taps=[tap, other]) for shift in (0, 1))
    assert len(followed) == 1
    assert [call.layouts for call in second.calls(tap)] == [c.layouts for c in first.calls(tap)]
    assert second.calls(tap)[1].layouts[0].sizes == (4, 4)
    assert not torch.equal(second.calls(tap)[0].values[0], first.calls(tap)[0].values[0])
    assert [tap for tap, _ in second.order] == [tap for tap, _ in first.order]
    assert second.order[1][1] is second.calls(tap)[0] or of_input
    assert second.calls(other)[0].layouts == ()


def test_other_shapes_models_and_points_are_followed(model: Net, followed: list[int]) -> None:
    tap = TapPoint(model.norm, with_layout=True)
    Trace(model, (X,), taps=[tap])
    Trace(model, (X[:, :, :6],), taps=[tap])
    Trace(nn.Sequential(model), (X,), taps=[tap])
    Trace(model, (X,), taps=[TapPoint(model.norm, of_input=True, with_layout=True)])
    Trace(model, (X,), taps=[tap, TapPoint(model.conv, with_layout=True)])
    assert len(followed) == 5
    Trace(model, (X,), taps=[tap])
    assert len(followed) == 5


def test_a_model_that_runs_otherwise_is_followed_again(model: Net, followed: list[int]) -> None:
    tap = TapPoint(model.norm, with_layout=True)
    Trace(model, (X,), taps=[tap])
    model.as_tokens = True
    for _ in range(2):
        calls = Trace(model, (X,), taps=[tap]).calls(tap)
        assert [call.layouts[0].kind for call in calls] == 2 * ["channels first"] + ["tokens"]
    assert len(followed) == 2


def test_nothing_outlives_the_module(model: Net) -> None:
    Trace(model, (X,), taps=[TapPoint(model.norm, with_layout=True)])
    module = ref(model.norm)
    assert model.norm in known_layouts._known
    del model.norm
    gc.collect()
    assert module() is None


def test_nothing_is_kept_of_a_model_that_is_made_for_one_call(model: Net) -> None:
    tap = TapPoint(model.norm, with_layout=True)
    for _ in range(3):
        Trace(lambda x: model(x), (X,), taps=[tap])
    gc.collect()
    assert not known_layouts._known[model.norm]


def test_only_so_many_shapes_are_remembered(model: Net, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(known_layouts, "_MOST_KEYS", 2)
    for size in (4, 6, 8):
        Trace(model, (X[..., :size],), taps=[TapPoint(model.norm, with_layout=True)])
    assert len(known_layouts._known[model.norm][model]) == 2
