"""Incremental scores: equal to those of whole forwards, with a report of what was recomputed."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from helpers import assert_same, noise, refused, reported, seeded
from peers import Counting
from torch import Tensor, nn

import torchattr as ta
from torchattr.incremental import Recomputed, TapeRecorder, session
from torchattr.kernels import Boxes, Convolution, Epilogue, Patches
from torchattr.kernels.reference.patches import TorchPatches
from torchattr.methods._perturbation import incremental_scores, memory_budget

EXACT = 1e-10
WINDOW: dict[str, Any] = {"sliding_window_shapes": (3, 4, 3), "strides": (3, 3, 2)}
SEGMENTS = torch.arange(12)[:, None] // 4 * 3 + torch.arange(10) // 4
IRREGULAR = torch.tensor([[0, 0, 1, 1, 1], [0, 2, 2, 1, 3], [4, 2, 3, 3, 3]]).repeat(4, 2)


def network() -> nn.Module:
    return seeded(
        lambda: nn.Sequential(
            nn.Conv2d(3, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(inplace=True),
            nn.MaxPool2d(2), nn.Conv2d(6, 5, 3, padding=1), nn.ReLU(),
            nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(5, 4),
        ).double()
    )  # fmt: skip


def pictures(count: int = 2, seed: int = 1) -> Tensor:
    return noise(count, 3, 12, 10, seed=seed)


def both(method: Any, *args: Any, followed: bool = True, **kwargs: Any) -> Recomputed:
    """Compare incremental scores with whole forwards, and return the report of the former."""
    expected = method.attribute(*args, incremental=False, **kwargs)
    found, report = reported(method, *args, incremental=True, **kwargs)
    found, expected = (
        torch.cat([part.flatten() for part in one]) if isinstance(one, tuple) else one
        for one in (found, expected)
    )
    assert_same(found, expected, EXACT)
    assert (report.followed > 0) == followed, str(report)
    return report


@pytest.mark.parametrize(
    "target", [1, [0, 3], torch.tensor([2, 2]), ta.TopK(3), ta.Classes(3, 1), None]
)
@pytest.mark.parametrize("baseline", [0.0, 0.7, noise(1, 3, 1, 1, seed=4), pictures(seed=5)])
def test_targets_and_baselines(target: Any, baseline: Any) -> None:
    both(ta.Occlusion(network()), pictures(), target=target, baselines=baseline, **WINDOW)


@pytest.mark.parametrize(
    ("window", "strides"),
    [((3, 2, 2), (3, 1, 1)), ((1, 5, 10), (1, 4, 1)), ((3, 12, 2), (3, 1, 2)), ((2, 1, 1), 1)],
)
def test_windows(window: Any, strides: Any) -> None:
    both(ta.Occlusion(network()), pictures(1), window, strides, target=1)


@pytest.mark.parametrize(
    "mask",
    [
        SEGMENTS,
        IRREGULAR,
        torch.stack([SEGMENTS, IRREGULAR])[:, None],
        torch.where(IRREGULAR > 0, IRREGULAR, 99).expand(1, 3, -1, -1),
        torch.zeros(12, 10).long().index_fill(0, torch.tensor([0, 11]), 1),
        torch.arange(3)[:, None, None],
    ],
    ids=["squares", "irregular", "per example", "renamed", "two places", "channels"],
)
def test_masks(mask: Tensor) -> None:
    both(ta.FeatureAblation(network()), pictures(), target=2, feature_mask=mask)


@pytest.mark.parametrize("at_once", [1, 2, 5, 1000])
@pytest.mark.parametrize("mode", [True, "auto"])
def test_how_many_at_once_changes_nothing(
    mode: Any, at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(incremental_scores, "SMALL", 0)
    ablation = ta.FeatureAblation(network())
    options = {"target": [1, 3], "feature_mask": IRREGULAR}
    expected = ablation.attribute(pictures(), incremental=False, **options)
    found = ablation.attribute(
        pictures(), incremental=mode, perturbations_per_eval=at_once, **options
    )
    assert_same(found, expected, EXACT)


@pytest.mark.parametrize(("most", "forwards"), [(2**20, 1), (1, 2)])
def test_the_forward_that_is_measured_is_recorded_if_it_is_small(
    most: int, forwards: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "torchattr.methods.ablation.tape_recorder", lambda inputs: TapeRecorder(1, most)
    )
    model = network()
    batches: list[tuple[int, type]] = []
    model.register_forward_pre_hook(
        lambda _, given: batches.append((len(given[0]), type(given[0])))
    )
    ablation = ta.FeatureAblation(model)
    _, report = reported(ablation, pictures(), target=1, feature_mask=SEGMENTS, incremental=True)
    assert report.followed
    assert batches.count((2, Tensor)) == forwards


def test_pictures_in_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(incremental_scores, "MOST_RECORDED", 1)
    model = network()

    def scaled(x: Tensor, factor: Tensor) -> Tensor:
        return model(x) * factor[:, None]

    mask = torch.stack([SEGMENTS, IRREGULAR, SEGMENTS.flip(0)])[:, None]
    both(
        ta.FeatureAblation(scaled),
        pictures(3),
        baselines=pictures(3, seed=8),
        target=[0, 3, 1],
        additional_forward_args=(noise(3, seed=9),),
        feature_mask=mask,
    )


def two(x: Tensor, y: Tensor) -> Tensor:
    return TWO(x) + TWO(F.pad(y, (1, 2, 1, 1))) * 2


TWO = network()


def and_rows(x: Tensor, y: Tensor, rows: Tensor) -> Tensor:
    return two(x, y) + rows


@pytest.mark.parametrize("at_once", [None, 1, 3])
def test_inputs_of_which_a_window_touches_one(at_once: int | None) -> None:
    inputs = pictures(), noise(2, 3, 7, 6, seed=6), noise(2, 4, seed=7)
    occlusion = ta.Occlusion(and_rows)
    windows = ((3, 4, 4), (3, 7, 6), (2,))
    strides = ((3, 1, 2), (3, 7, 6), (1,))
    both(occlusion, inputs, windows, strides, target=1, perturbations_per_eval=at_once)


@pytest.mark.parametrize("joint", [True, False])
def test_features_over_several_inputs(joint: bool) -> None:
    masks = SEGMENTS, torch.arange(7)[:, None] // 2 + (0 if joint else 50) + torch.zeros(6).long()
    inputs = pictures(), noise(2, 3, 7, 6, seed=6)
    both(ta.FeatureAblation(two), inputs, target=0, feature_mask=masks)


def behind(model: nn.Module) -> dict[str, Any]:
    return {
        "module": model,
        "lambda": lambda x: model(x),
        "partial": functools.partial(torch.nn.Module.__call__, model),
        "method": model.forward,
    }


@pytest.mark.parametrize("form", ["module", "lambda", "partial", "method"])
def test_models_behind_callables(form: str) -> None:
    both(ta.Occlusion(behind(network())[form]), pictures(), target=1, **WINDOW)


def test_exported() -> None:
    batch = torch.export.Dim("batch", min=2, max=4096)
    model = torch.export.export(network(), (pictures(),), dynamic_shapes=[{0: batch}]).module()
    both(ta.Occlusion(model), pictures(), target=1, **WINDOW)


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor")  # TorchDynamo's own doing
def test_compiled() -> None:
    torch.compiler.reset()
    model = torch.compile(network(), backend="eager")
    both(ta.Occlusion(model), pictures(), target=1, **WINDOW)


def first() -> nn.Module:
    return seeded(nn.Conv2d, 3, 4, 3, padding=1).double()


FIRST = first()


def scores(x: Tensor) -> Tensor:
    return x.mean((2, 3))


def by_item(x: Tensor) -> Tensor:
    y = FIRST(x)
    return scores(FIRST(x) * (1 + y.mean().item()))


def by_branch(x: Tensor) -> Tensor:
    y = FIRST(x)
    return scores(y.relu() if y.mean() > float(LEVEL) else y.sigmoid())


LEVEL = FIRST(pictures(1)).mean().detach()


def by_index(x: Tensor) -> Tensor:
    y = FIRST(x)
    return scores(y[:, y.mean((0, 2, 3)).argsort().tolist()] * y)


def by_array(x: Tensor) -> Tensor:
    y = FIRST(x)
    factor = torch.from_numpy(y.detach().numpy().mean((0, 2, 3)))
    return scores(y * factor[:, None, None])


@pytest.mark.parametrize("model", [by_item, by_branch, by_index, by_array])
def test_what_depends_on_values_is_computed_as_a_whole(
    model: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One image in one copy at a time, since these models mix the examples of a batch."""
    monkeypatch.setattr(incremental_scores._IncrementalRun, "_fitting", lambda *_: 1)
    ablation = ta.FeatureAblation(model)
    options: dict[str, Any] = {"target": 1, "feature_mask": SEGMENTS, "perturbations_per_eval": 1}
    report = both(ablation, pictures(1), followed=False, **options)
    assert "the model called" in report.reasons[0]


def in_part(x: Tensor) -> Tensor:
    y = FIRST(x)
    y[:, :, 2:5] = y[:, :, 1:4] * 2
    return scores(y)


def through_a_view(x: Tensor) -> Tensor:
    y = FIRST(x)
    y[:, :2].mul_(2)
    return scores(y * y)


def into_another(x: Tensor) -> Tensor:
    y = FIRST(x)
    z = FIRST(x * 2)
    torch.mul(y, 2, out=z)
    return scores(z * z + y)


@pytest.mark.parametrize("model", [in_part, through_a_view, into_another])
def test_what_is_written_over_unseen_is_computed_as_a_whole(model: Any) -> None:
    ablation = ta.FeatureAblation(model)
    report = both(ablation, pictures(), target=1, feature_mask=SEGMENTS, followed=False)
    assert report.reasons


def positional(x: Tensor) -> Tensor:
    y = FIRST(x)
    z = y * 3
    F.relu(y, True)
    return scores(z * y)


def rearranged(x: Tensor) -> Tensor:
    y = FIRST(x)
    q = y.permute(0, 2, 3, 1).contiguous()
    q.relu_()
    return scores(y + q.permute(0, 3, 1, 2))


def multiplied(x: Tensor) -> Tensor:
    y, z = FIRST(x), FIRST(x[:, [1, 0, 2]])
    y.multiply_(z.abs()).subtract_(z)
    return scores(y * y)


@pytest.mark.parametrize("model", [positional, rearranged, multiplied])
def test_in_place(model: Any) -> None:
    both(ta.FeatureAblation(model), pictures(), target=1, feature_mask=SEGMENTS)


class Alternating:
    """A model that changes with each call."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, x: Tensor) -> Tensor:
        self.calls += 1
        y = FIRST(x)
        return scores(y.relu() if self.calls % 2 else y.sigmoid())


def test_a_model_that_differs_between_calls() -> None:
    ablation = ta.FeatureAblation(Alternating())
    _, report = reported(ablation, pictures(), target=1, feature_mask=SEGMENTS, incremental=True)
    assert report.followed == 0
    assert "where it had called" in str(report)


def test_a_random_model_is_computed_as_a_whole() -> None:
    def forward(x: Tensor) -> Tensor:
        return scores(FIRST(x) + torch.rand(4, 1, 1).double())

    ablation = ta.FeatureAblation(forward)
    _, report = reported(ablation, pictures(), target=1, feature_mask=SEGMENTS, incremental=True)
    assert report.followed <= 1, str(report)


class Shrinking:
    """Returns fewer scores with each call."""

    def __init__(self) -> None:
        self.left = 5

    def __call__(self, x: Tensor) -> Tensor:
        self.left -= 1
        return scores(FIRST(x))[:, : self.left]


@pytest.mark.parametrize("mode", [True, False])
def test_a_model_with_fewer_scores_than_before(mode: bool) -> None:
    with refused(ta.TargetError, "3"):
        ta.FeatureAblation(Shrinking()).attribute(
            pictures(), target=3, feature_mask=SEGMENTS, incremental=mode
        )


@pytest.mark.parametrize("harm", [Tensor.log, lambda y: 1 / y.relu()], ids=["NaN", "inf"])
def test_what_is_not_finite(harm: Any) -> None:
    pool = nn.MaxPool2d(3, 2)
    ablation = ta.FeatureAblation(lambda x: pool(harm(FIRST(x)))[:, :, 0, 1])
    options: dict[str, Any] = {"target": 1, "feature_mask": SEGMENTS}
    found, report = reported(ablation, pictures(), incremental=True, **options)
    assert report.followed
    expected = ablation.attribute(pictures(), incremental=False, **options)
    assert not expected.isfinite().all()
    torch.testing.assert_close(found, expected, equal_nan=True, rtol=1e-10, atol=1e-12)


def reason(model: Any, x: Any, target: Any = 1, **options: Any) -> str:
    ablation = ta.FeatureAblation(model)
    options.setdefault("feature_mask", SEGMENTS)
    options.setdefault("incremental", True)
    _, report = reported(ablation, x, target=target, **options)
    assert report.followed == 0
    assert str(report).startswith("nothing could be saved: ")
    return "; ".join(report.reasons)


def test_says_why_nothing_was_saved() -> None:
    model = network()
    assert "only float32 and float64" in reason(model.bfloat16(), pictures().bfloat16())
    model = network()
    assert reason(model, pictures(), incremental=False) == "incremental=False"
    assert "inside the model" in reason(model, pictures(), target=ta.Neuron("4", (1, 2, 3)))
    assert "row of scores" in reason(lambda x: model(x).sum(), pictures(), target=None)
    assert "repeat" in reason(model, pictures(), feature_mask=torch.zeros(1, 1, 1, 1).long())
    assert "small" in reason(model, pictures(), incremental="auto")
    flat = nn.Sequential(nn.Flatten(), nn.Linear(6, 3)).double()
    assert "(N, C, H, W)" in reason(flat, noise(2, 6), feature_mask=torch.arange(6))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert "autocast" in reason(network().float(), pictures().float())


def test_what_was_followed_reads_well() -> None:
    text = str(Recomputed(12, 3, 0.82, ("flatten mixes pixels",)))
    assert text == (
        "12 calls on changed pixels, 3 as a whole (flatten mixes pixels);"
        " about 82% of the time saved"
    )


@pytest.fixture
def model() -> Iterator[nn.Module]:
    """A model that must be left unchanged."""
    made = network()
    before = {name: value.clone() for name, value in made.state_dict().items()}
    yield made
    assert all(torch.equal(value, before[name]) for name, value in made.state_dict().items())
    assert all(p.requires_grad and p.grad is None for p in made.parameters())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in made.modules())
    assert not any(m.training for m in made.modules())


def test_the_model_the_input_and_random_numbers_stay(model: nn.Module) -> None:
    x = pictures()
    copy, state = x.clone(), torch.get_rng_state()
    both(ta.Occlusion(model), x, target=1, **WINDOW)
    assert torch.equal(x, copy)
    assert torch.equal(torch.get_rng_state(), state)


def test_interruption_leaves_nothing_behind(model: nn.Module) -> None:
    counting = Counting(model, limit=2, error=KeyboardInterrupt())
    occlusion = ta.Occlusion(counting)
    reports: list[Recomputed] = []
    with pytest.raises(KeyboardInterrupt):
        occlusion.attribute(pictures(), target=1, incremental=True, report=reports.append, **WINDOW)
    assert reports == []
    counting.limit = None
    both(occlusion, pictures(), target=1, **WINDOW)


def test_halves_the_chunk_when_memory_runs_out() -> None:
    expected = ta.FeatureAblation(network()).attribute(
        pictures(), target=1, feature_mask=SEGMENTS, incremental=False
    )
    model = Counting(network(), limit=5)
    ablation = ta.FeatureAblation(model)
    found, report = reported(
        ablation, pictures(), target=1, feature_mask=SEGMENTS, incremental=True
    )
    assert_same(found, expected, EXACT)
    assert report.followed
    assert max(model.seen) > 5
    assert model.seen[-1] <= 5


class Cramped(TorchPatches):
    """A device whose memory holds a number of pixels."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self.most = most
        self.fitted: list[int] = []

    def convolve(self, x: Patches, boxes: Boxes, conv: Convolution, epilogue: Epilogue) -> Tensor:
        if boxes.rows > self.most:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        self.fitted.append(boxes.rows)
        return super().convolve(x, boxes, conv, epilogue)


@pytest.mark.parametrize("most", [150, 400, 900])
def test_a_device_that_runs_out_of_memory_halves_and_goes_on(
    most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Here it runs out in the operations on changed pixels."""
    device = Cramped(most)
    occlusion = ta.Occlusion(network())
    expected = occlusion.attribute(pictures(), target=1, incremental=False, **WINDOW)
    monkeypatch.setattr(session, "choose_patches", lambda *_: device)
    found, report = reported(occlusion, pictures(), target=1, incremental=True, **WINDOW)
    assert_same(found, expected, EXACT)
    assert report.followed
    assert max(device.fitted) <= most


def test_a_device_without_memory_for_one_variant_computes_whole_forwards(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    occlusion = ta.Occlusion(network())
    expected = occlusion.attribute(pictures(), target=1, incremental=False, **WINDOW)
    monkeypatch.setattr(session, "choose_patches", lambda *_: Cramped(1))
    found, report = reported(occlusion, pictures(), target=1, incremental=True, **WINDOW)
    assert torch.equal(found, expected)
    assert "OutOfMemory" in str(report)


@pytest.mark.parametrize("limit", [1, 3, 7])
def test_whole_forwards_halve_too(limit: int) -> None:
    plain, options = network(), {"target": 1, "incremental": False, **WINDOW}
    expected = ta.Occlusion(plain).attribute(pictures(1), **options)
    model = Counting(plain, limit=limit)
    assert_same(ta.Occlusion(model).attribute(pictures(1), **options), expected, EXACT)
    assert max(model.seen) > limit
    assert model.seen[-1] <= limit


def chunks(
    device: str, free: int, monkeypatch: pytest.MonkeyPatch, **options: Any
) -> tuple[list[int], Recomputed]:
    """Return the rows of each forward after the clean one, on a device with so much free memory."""
    model = Counting(network())
    monkeypatch.setattr(incremental_scores, "free_bytes", lambda _: free)
    monkeypatch.setattr(memory_budget, "free_bytes", lambda _: free)
    monkeypatch.setattr(incremental_scores._IncrementalRun, "_device", torch.device(device))
    # The scratch of a CPU's threads is not taken from the memory of another device.
    monkeypatch.setattr(session, "SCRATCH", 0 if device == "cuda" else session.SCRATCH)
    occlusion, x = ta.Occlusion(model), noise(1, 3, 40, 40)
    window: dict[str, Any] = {"sliding_window_shapes": (3, 4, 4), "strides": (3, 2, 2), "target": 1}
    _, report = reported(occlusion, x, incremental=True, **window, **options)
    assert report.followed
    return model.seen[1:], report


def test_a_gpu_gets_all_copies_at_once_if_they_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    """A launch costs as much for one variant as for thousands."""
    everything, _ = chunks("cuda", 2**34, monkeypatch)
    assert everything == [19 * 19]
    on_cpu, _ = chunks("cpu", 2**34, monkeypatch)
    assert max(on_cpu) <= incremental_scores.CPU_ROWS


def test_a_gpu_gets_fewer_copies_if_its_memory_is_short(monkeypatch: pytest.MonkeyPatch) -> None:
    few, _ = chunks("cuda", 2**21, monkeypatch)
    assert 1 < len(few) < 19 * 19
    assert sum(few) == 19 * 19
    asked, _ = chunks("cuda", 2**34, monkeypatch, perturbations_per_eval=2)
    assert len(asked) > 1


def test_under_inference_mode() -> None:
    with torch.inference_mode():
        both(ta.Occlusion(network()), pictures(), target=1, **WINDOW)


def test_a_dictionary_of_scores() -> None:
    model = network()
    ablation = ta.Occlusion(lambda x: {"logits": model(x), "map": x * 2}, output="logits")
    both(ablation, pictures(), target=1, **WINDOW)


@pytest.mark.parametrize("wrong", ["yes", 2, None])
def test_refuses_what_is_no_mode(wrong: Any) -> None:
    with refused(ta.InputError, "incremental", repr(wrong), "'auto'"):
        ta.Occlusion(network()).attribute(pictures(), target=1, incremental=wrong, **WINDOW)


def test_progress_counts_every_copy(capsys: pytest.CaptureFixture[str]) -> None:
    ablation = ta.FeatureAblation(network())
    options: dict[str, Any] = {"target": 1, "feature_mask": SEGMENTS, "incremental": True}
    ablation.attribute(pictures(), show_progress=True, **options)
    assert "9/9" in capsys.readouterr().err
