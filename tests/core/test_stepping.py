"""Long work announces where it may be paused or cancelled, and is correct after a pause."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

import torchattr as ta
from torchattr.core.stepping import Cancelled, counted, share_done, step, stepping, watching
from torchattr.core.warn import listening, warn
from torchattr.errors import CoverageWarning, LayerChoiceWarning, TorchattrWarning
from torchattr.models.collage import collage, examples, preprocess


@pytest.fixture
def model() -> nn.Module:
    layers = [nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten()]
    return nn.Sequential(*layers, nn.Linear(16, 3)).eval()


def images() -> torch.Tensor:
    return torch.rand(1, 3, 12, 12, generator=torch.Generator().manual_seed(3))


FILES = [example.path for example in examples()]

Run = Callable[[nn.Module], Any]
LONG: dict[str, Run] = {
    "rise": lambda m: ta.RISE(m).attribute(
        images(), 1, n_masks=40, grid_size=3, perturbations_per_eval=4
    ),
    "occlusion": lambda m: ta.Occlusion(m).attribute(
        images(), (3, 4, 4), strides=(3, 2, 2), target=1, perturbations_per_eval=2
    ),
    "occlusion, dense": lambda m: ta.Occlusion(m).attribute(
        images(), (3, 4, 4), target=1, perturbations_per_eval=8, incremental=False
    ),
    "feature ablation": lambda m: ta.FeatureAblation(m).attribute(
        images(), target=1, perturbations_per_eval=8
    ),
    "integrated gradients": lambda m: ta.IntegratedGradients(m).attribute(
        images(), target=1, n_steps=20, internal_batch_size=2
    ),
    "gradient shap": lambda m: ta.GradientShap(m).attribute(
        images(), 0.5, n_samples=20, target=1, internal_batch_size=2
    ),
    "noise tunnel": lambda m: ta.NoiseTunnel(ta.Saliency(m)).attribute(
        images(), nt_samples=12, nt_samples_batch_size=2, stdevs=0.0, target=1
    ),
    "maximise": lambda m: ta.maximise(m, ("0", 2), shape=(3, 12, 12), steps=8),
    "top patches": lambda m: [
        patch.projection
        for patch in ta.top_patches(
            collage(), FILES, "stage2", 46, k=2, batch_size=1, transform=preprocess
        )
    ],
    "back-projections": lambda m: ta.back_project(m, images(), "0", [0, 1, 2, 3]).pictures,
}


def ended_at(last: int | None, work: Callable[[], Any]) -> int:
    """Run `work`, cancel it at a step, and count the steps."""
    counted: list[int] = []

    def count() -> None:
        assert last is None or len(counted) < last, "it went on after its end"
        counted.append(1)
        if len(counted) == last:
            raise Cancelled

    with stepping(count):
        work()
    return len(counted)


@pytest.mark.parametrize("name", LONG)
def test_long_work_has_steps_and_can_be_ended_at_each(name: str, model: nn.Module) -> None:
    steps = ended_at(None, lambda: LONG[name](model))
    assert steps >= 4
    for last in (1, steps // 2, steps):
        with pytest.raises(Cancelled):
            ended_at(last, lambda: LONG[name](model))
        assert not any(part._forward_hooks or part._forward_pre_hooks for part in model.modules())


UNCOUNTED = {"top patches"}
"""Their end is not known before it comes."""


def shares_of(work: Callable[[], Any]) -> list[float | None]:
    found: list[float | None] = []
    with stepping(lambda: found.append(share_done())):
        work()
    return found


@pytest.mark.parametrize("name", [name for name in LONG if name not in UNCOUNTED])
def test_long_work_says_how_far_it_is(name: str, model: nn.Module) -> None:
    shares = [share for share in shares_of(lambda: LONG[name](model)) if share is not None]
    assert shares[0] == 0
    assert all(0 <= share < 1 for share in shares)
    # Loops follow one another; within each, the share grows.
    starts = [at for at, share in enumerate(shares) if share == 0]
    for start, stop in zip(starts, [*starts[1:], len(shares)], strict=True):
        assert shares[start:stop] == sorted(set(shares[start:stop]))
    assert max(shares) >= 0.5
    assert share_done() is None


def test_a_loop_inside_a_step_divides_it(model: nn.Module) -> None:
    inner = ta.IntegratedGradients(model)
    tunnel = ta.NoiseTunnel(inner)
    options: dict[str, Any] = {"n_steps": 4, "internal_batch_size": 1, "target": 1}
    shares = shares_of(
        lambda: tunnel.attribute(images(), nt_samples=2, nt_samples_batch_size=1, **options)
    )
    known = [share for share in shares if share is not None]
    assert known == sorted(known)
    assert {0, 0.125, 0.25, 0.375, 0.5, 0.625} <= set(known)


def test_a_loop_that_fails_is_forgotten() -> None:
    def work() -> None:
        with counted(4) as begin:
            begin(2, 3)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        work()
    assert share_done() is None


@pytest.mark.parametrize("name", LONG)
@pytest.mark.parametrize("other", ["rise", "integrated gradients", "occlusion"])
def test_other_work_between_two_steps_changes_nothing(
    name: str, other: str, model: nn.Module
) -> None:
    """In another thread, on the same model, as the viewer does it."""
    expected, expected_other = LONG[name](model), LONG[other](model)
    found = []

    def meanwhile() -> None:
        if len(found) < 3:
            thread = threading.Thread(target=lambda: found.append(LONG[other](model)))
            thread.start()
            thread.join()

    with stepping(meanwhile):
        result = LONG[name](model)
    torch.testing.assert_close(result, expected, rtol=0, atol=0)
    assert len(found) == 3
    for one in found:
        torch.testing.assert_close(one, expected_other, rtol=0, atol=0)


def test_steps_are_told_in_the_own_thread_only() -> None:
    counted: list[str] = []
    with stepping(lambda: counted.append("here")):
        thread = threading.Thread(target=step)
        thread.start()
        thread.join()
        assert counted == []
        step()
        with stepping(lambda: counted.append("inside")):
            step()
        step()
    step()
    assert counted == ["here", "inside", "here"]


def test_no_handler_of_faults_takes_an_end_for_one() -> None:
    assert not issubclass(Cancelled, Exception)


def test_warnings_are_heard_in_the_own_thread_only() -> None:
    heard: list[TorchattrWarning] = []

    def elsewhere() -> None:
        with pytest.warns(CoverageWarning, match="there"):
            warn("there", CoverageWarning)

    with listening(heard.append):
        thread = threading.Thread(target=elsewhere)
        thread.start()
        thread.join()
        warn("here", LayerChoiceWarning)
    assert [(str(one), type(one)) for one in heard] == [("here", LayerChoiceWarning)]
    with pytest.warns(LayerChoiceWarning):
        warn("afterwards", LayerChoiceWarning)


def test_who_watches_is_told_growing_shares_and_keeps_nobody_from_cancelling() -> None:
    told: list[float] = []
    stepped: list[int] = []
    with stepping(lambda: stepped.append(1)), watching(told.append):
        for _ in range(2):
            with counted(4) as begin:
                for number in range(4):
                    begin(number, number + 1)
        step()
    assert told == [0, 0.25, 0.5, 0.75]
    assert len(stepped) == 9
