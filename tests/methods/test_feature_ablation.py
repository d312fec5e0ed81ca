"""Feature ablation against brute force and Captum."""

from __future__ import annotations

import warnings
from collections import namedtuple
from typing import Any

import captum.attr
import pytest
import torch
from helpers import assert_same, noise, refused
from peers import Counting, asked, classifier, mixed, picture_net, pictures, rows
from torch import Tensor, nn

import torchattr as ta
from torchattr.errors import InputTypeError, OutOfMemory, OutputError, TrainingModeError

EXACT = 1e-12


def by_hand(forward: Any, x: Tensor, mask: Tensor, baseline: Tensor) -> Tensor:
    """Ablate feature by feature, example by example, element by element."""
    result = torch.zeros_like(x)
    mask = mask.expand_as(x)
    baseline = baseline.expand_as(x)
    for n in range(len(x)):
        clean = forward(x[n : n + 1])
        for number in mask[n].unique():
            changed = x[n : n + 1].clone()
            hit = mask[n] == number
            changed[0][hit] = baseline[n][hit]
            result[n][hit] = (clean - forward(changed)).item()
    return result


@pytest.mark.parametrize(
    "mask",
    [
        torch.tensor([[0, 0, 1, 1, 2, 2]]),
        torch.tensor([5, -3, 5, 900, 900, 0]),
        torch.tensor([[0, 0, 0, 1, 1, 1], [0, 1, 0, 1, 0, 1], [7, 7, 7, 7, 7, 2]]),
        torch.tensor([[True, False, True, False, False, True]]),
        torch.arange(6, dtype=torch.uint8),
    ],
)
@pytest.mark.parametrize("baseline", [torch.zeros(1).double(), rows(1, 8), rows(3, 9)])
def test_equals_the_definition(mask: Tensor, baseline: Tensor) -> None:
    model, x = classifier(), rows()
    found = ta.FeatureAblation(model).attribute(x, baseline, target=1, feature_mask=mask)
    expected = by_hand(lambda row: model(row)[:, 1].detach(), x, mask, baseline)
    assert_same(found, expected, EXACT)


def test_superpixels_broadcast_over_channels() -> None:
    model, x = picture_net(), pictures()
    segments = torch.arange(30).reshape(5, 6) // 7
    found = ta.FeatureAblation(model).attribute(x, target=2, feature_mask=segments)
    expected = by_hand(lambda row: model(row)[:, 2].detach(), x, segments, torch.zeros(1).double())
    assert_same(found, expected, EXACT)
    own = torch.stack([segments, segments.flip(0)])[:, None]
    found = ta.FeatureAblation(model).attribute(x, target=2, feature_mask=own)
    expected = by_hand(lambda row: model(row)[:, 2].detach(), x, own, torch.zeros(1).double())
    assert_same(found, expected, EXACT)


@pytest.mark.parametrize(
    "target", [1, [0, 2, 1], torch.tensor(2), torch.tensor([2]), torch.tensor([1, 1, 0])]
)
@pytest.mark.parametrize("at_once", [None, 1, 4, 100])
def test_equals_captum_for_every_target(target: Any, at_once: int | None) -> None:
    model, x = classifier(), rows()
    expected = asked(captum.attr.FeatureAblation(model), x, target=target)
    found = ta.FeatureAblation(model).attribute(x, target=target, perturbations_per_eval=at_once)
    assert_same(found, expected, EXACT)


@pytest.mark.parametrize("target", [(1, 0), [(1, 0), (0, 1), (2, 1)]])
def test_targets_of_more_dimensions(target: Any) -> None:
    model = nn.Sequential(classifier(), nn.Linear(3, 6).double(), nn.Unflatten(1, (3, 2)))
    expected = asked(captum.attr.FeatureAblation(model), rows(), target=target)
    assert_same(ta.FeatureAblation(model).attribute(rows(), target=target), expected, EXACT)


@pytest.mark.parametrize("at_once", [None, 1, 3])
@pytest.mark.parametrize(
    "masks",
    [
        None,
        (torch.tensor([[0, 0, 1, 1, 2, 2]]), torch.tensor([[0, 1, 2, 3]])),
        (torch.tensor([[9, 9, 1, 1, 2, 2]]), torch.tensor([[4, 4, 9, 4]])),
        (torch.arange(18).reshape(3, 6) // 4, torch.arange(12).reshape(3, 4) // 4),
    ],
)
def test_inputs_are_ablated_jointly_as_in_captum(masks: Any, at_once: int | None) -> None:
    inputs = (rows(), noise(3, 4, seed=5))
    options: dict[str, Any] = {
        "baselines": (0.5, noise(1, 4, seed=6)),
        "target": [0, 2, 1],
        "additional_forward_args": (noise(3, seed=7), 2),
        "feature_mask": masks,
    }
    expected = asked(captum.attr.FeatureAblation(mixed), inputs, **options)
    options["perturbations_per_eval"] = at_once
    found = ta.FeatureAblation(mixed).attribute(inputs, **options)
    assert isinstance(found, tuple)
    for one, other in zip(found, expected, strict=True):
        assert_same(one, other, EXACT)


def test_several_targets_share_the_forwards() -> None:
    model, x = Counting(classifier()), rows()
    ablation = ta.FeatureAblation(model)
    found = ablation.attribute(x, target=ta.Classes(2, 0), perturbations_per_eval=1)
    assert len(model.seen) == 1 + 6
    assert found.shape == (3, 2, 6)
    for position, target in enumerate((2, 0)):
        assert_same(found[:, position], ablation.attribute(x, target=target), EXACT)


def test_best_classes_are_those_of_the_clean_input() -> None:
    model, x = classifier(), rows()
    order = model(x).argsort(1, descending=True)
    ablation = ta.FeatureAblation(model)
    found = ablation.attribute(x, baselines=5.0, target=ta.TopK(2))
    for position in range(2):
        expected = ablation.attribute(x, baselines=5.0, target=order[:, position])
        assert_same(found[:, position], expected, EXACT)
    assert_same(ablation.attribute(x, baselines=5.0), found[:, 0], EXACT)


def test_a_callable_target_may_know_its_examples() -> None:
    model, x = classifier(), rows()
    labels = torch.tensor([0, 2, 1])
    found = ta.FeatureAblation(model).attribute(x, target=lambda out: out[torch.arange(3), labels])
    assert_same(found, ta.FeatureAblation(model).attribute(x, target=labels), EXACT)


def test_a_neuron_is_a_target() -> None:
    model, x = classifier(), rows()
    found = ta.FeatureAblation(model).attribute(x, target=ta.Neuron("1", 4))
    hidden = nn.Sequential(*list(model.children())[:2])
    assert_same(found, ta.FeatureAblation(hidden).attribute(x, target=4), EXACT)


@pytest.mark.parametrize("at_once", [None, 1])
@pytest.mark.parametrize(
    ("aggregate", "target", "shape"),
    [
        (lambda out: out.sum(), None, (1, 6)),
        (lambda out: out.sum().reshape(1), None, (1, 6)),
        (lambda out: out.prod(1)[:2].exp(), None, (2, 6)),
        (lambda out: out.exp().sum(0, keepdim=True), 2, (1, 6)),
        (lambda out: out.sum().item(), None, (1, 6)),
    ],
)
def test_a_forward_may_aggregate_the_batch(
    aggregate: Any, target: Any, shape: Any, at_once: int | None
) -> None:
    model = classifier()

    def forward(x: Tensor) -> Any:
        return aggregate(model(x))

    mask = torch.tensor([[0, 0, 1, 1, 2, 3]])
    options = {"target": target, "feature_mask": mask}
    expected = asked(captum.attr.FeatureAblation(forward), rows(), **options)
    found = ta.FeatureAblation(forward).attribute(rows(), perturbations_per_eval=at_once, **options)
    assert found.shape == shape
    assert_same(found, expected.detach(), EXACT)


def test_a_number_for_a_single_example() -> None:
    model = classifier()
    found = ta.FeatureAblation(lambda x: model(x)[0, 1]).attribute(rows(1))
    assert_same(found, ta.FeatureAblation(model).attribute(rows(1), target=1), EXACT)


def test_an_aggregate_refuses_what_it_cannot_do() -> None:
    model = classifier()
    ablation = ta.FeatureAblation(lambda x: model(x).sum())
    with refused(OutputError, "perturbations_per_eval=2", "None"):
        ablation.attribute(rows(), perturbations_per_eval=2)
    with refused(OutputError, "perturbations_per_eval=2"):
        ablation.attribute(rows(1), perturbations_per_eval=2)
    with refused(OutputError, "feature_mask", "whole batch"):
        ablation.attribute(rows(2), feature_mask=torch.zeros(2, 6).long())


@pytest.mark.parametrize("kind", [torch.int64, torch.bool, torch.uint8])
def test_integer_inputs(kind: torch.dtype) -> None:
    model = classifier()
    tokens = (rows() > 0).to(kind)
    forward = lambda x: model(x.double())  # noqa: E731  # shared by both libraries
    expected = asked(captum.attr.FeatureAblation(forward), tokens, baselines=1, target=0)
    found = ta.FeatureAblation(forward).attribute(tokens, baselines=1, target=0)
    assert_same(found, expected.detach(), EXACT)


def test_tokens_stay_integers_under_an_integer_baseline() -> None:
    model = nn.Sequential(nn.Embedding(9, 4), nn.Flatten(), nn.Linear(20, 2))
    tokens = torch.arange(10).reshape(2, 5) % 9
    found = ta.FeatureAblation(model).attribute(tokens, baselines=8, target=1)
    assert found.dtype == torch.float32
    assert found.shape == (2, 5)


@pytest.mark.parametrize("kind", [torch.float32, torch.float16, torch.bfloat16, torch.float64])
def test_the_result_has_the_type_of_the_scores(kind: torch.dtype) -> None:
    found = ta.FeatureAblation(lambda x: x.sum(1)).attribute(rows().to(kind), baselines=0.25)
    assert found.dtype == kind
    assert not found.requires_grad
    other = ta.FeatureAblation(lambda x: x.double().sum(1)).attribute(rows().to(kind))
    assert other.dtype == torch.float64


@pytest.mark.parametrize("returned", [dict, namedtuple("Out", ["logits", "extra"]), tuple])
def test_models_need_no_wrapper(returned: Any) -> None:
    model = classifier()

    def forward(x: Tensor) -> Any:
        parts = (model(x), x)
        if returned is dict:
            return dict(zip(("logits", "extra"), parts, strict=True))
        return returned(parts) if returned is tuple else returned(*parts)

    key = 0 if returned is tuple else "logits"
    found = ta.FeatureAblation(forward, output=key).attribute(rows(), target=1)
    assert_same(found, ta.FeatureAblation(model).attribute(rows(), target=1), EXACT)
    with refused(OutputError, "output="):
        ta.FeatureAblation(forward).attribute(rows(), target=1)


def test_a_scripted_model_is_a_black_box() -> None:
    model = classifier()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        traced = torch.jit.trace(model, rows())
    found = ta.FeatureAblation(traced).attribute(rows(), target=1)
    assert_same(found, ta.FeatureAblation(model).attribute(rows(), target=1), EXACT)


def test_single_values_as_inputs() -> None:
    x = noise(4)
    assert_same(ta.FeatureAblation(lambda v: v * 3).attribute(x), x * 3, EXACT)


@pytest.mark.parametrize(
    ("target", "shape"), [(1, (0, 6)), (ta.TopK(2), (0, 2, 6)), (ta.Classes(1), (0, 1, 6))]
)
def test_an_empty_batch_gives_an_empty_result(target: Any, shape: Any) -> None:
    model = Counting(classifier())
    found = ta.FeatureAblation(model).attribute(rows()[:0], target=target)
    assert found.shape == shape
    assert found.dtype == torch.float64
    assert model.seen == []


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory"),
        MemoryError(),
        RuntimeError("[enforce fail at alloc_cpu.cpp:121] DefaultCPUAllocator: can't allocate"
                     " memory: you tried to allocate 9 bytes"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("at_once", [None, 6])
def test_halves_the_batch_when_memory_runs_out(error: Exception, at_once: int | None) -> None:
    expected = ta.FeatureAblation(classifier()).attribute(rows(2), target=1)
    model = Counting(classifier(), limit=5, error=error)
    found = ta.FeatureAblation(model).attribute(rows(2), target=1, perturbations_per_eval=at_once)
    assert_same(found, expected, EXACT)
    assert model.seen == [2, 12, 6, 2, 2, 2, 2, 2, 2]


def test_says_when_not_even_one_fits() -> None:
    model = Counting(classifier())

    def forward(x: Tensor) -> Tensor:
        model.limit = 0 if model.seen else None
        return model(x)

    with refused(OutOfMemory, "single perturbed copy", "fewer examples", "simulated"):
        ta.FeatureAblation(forward).attribute(rows(2), target=1)


def test_other_errors_pass_and_the_model_stays_as_it_was() -> None:
    model = Counting(classifier(), limit=6, error=KeyboardInterrupt())
    before = {name: value.clone() for name, value in model.state_dict().items()}
    x = rows(2)
    copy = x.clone()
    with pytest.raises(KeyboardInterrupt):
        ta.FeatureAblation(model).attribute(x, target=1, perturbations_per_eval=4)
    model.error = RuntimeError("another fault")
    with pytest.raises(RuntimeError, match="another fault"):
        ta.FeatureAblation(model).attribute(x, target=1, perturbations_per_eval=4)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(p.requires_grad and p.grad is None for p in model.parameters())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())
    assert torch.equal(x, copy)


def test_a_model_that_writes_over_its_input() -> None:
    model = classifier()
    x = rows()
    copy = x.clone()
    found = ta.FeatureAblation(lambda v: model(v.mul_(2.0))).attribute(x, target=1)
    assert torch.equal(x, copy)
    expected = ta.FeatureAblation(lambda v: model(v * 2.0)).attribute(x, target=1)
    assert_same(found, expected, EXACT)


def test_training_mode_is_refused_before_it_runs() -> None:
    model = nn.Sequential(nn.BatchNorm1d(6), nn.Dropout(), nn.Linear(6, 2)).double().train()
    with pytest.raises(TrainingModeError):
        ta.FeatureAblation(model).attribute(rows(), target=1)
    assert model[0].num_batches_tracked == 0


def test_under_inference_mode() -> None:
    with torch.inference_mode():
        found = ta.FeatureAblation(classifier()).attribute(rows(), target=1)
    assert_same(found, ta.FeatureAblation(classifier()).attribute(rows(), target=1), EXACT)


def test_progress_only_when_asked(capsys: pytest.CaptureFixture[str]) -> None:
    ablation = ta.FeatureAblation(classifier())
    ablation.attribute(rows(), target=1)
    assert capsys.readouterr().err == ""
    ablation.attribute(rows(), target=1, perturbations_per_eval=2, show_progress=True)
    assert "FeatureAblation" in (err := capsys.readouterr().err)
    assert "6/6" in err


@pytest.mark.parametrize(
    ("options", "kind", "words"),
    [
        ({"feature_mask": torch.zeros(1, 5).long()}, ta.ShapeError, ("mask", "(1, 5)", "(3, 6)")),
        ({"feature_mask": torch.zeros(1, 1, 6).long()}, ta.ShapeError, ("(1, 1, 6)", "broadcast")),
        ({"feature_mask": torch.zeros(2, 6).long()}, ta.ShapeError, ("(2, 6)", "one for each")),
        ({"feature_mask": torch.zeros(1, 6)}, InputTypeError, ("float32", "feature_mask.long()")),
        ({"feature_mask": [[0, 1]]}, InputTypeError, ("feature_mask", "list")),
        ({"feature_mask": (torch.zeros(1, 6).long(),) * 2}, ta.ShapeError, ("2 entries for 1",)),
        ({"baselines": torch.zeros(5)}, ta.ShapeError, ("baselines", "(5,)", "(3, 6)")),
        ({"baselines": "black"}, InputTypeError, ("baselines", "str")),
        ({"target": 3}, ta.TargetError, ("3", "0 to 2")),
        ({"target": [0, 1]}, ta.TargetError, ("2 entries", "3")),
        ({"perturbations_per_eval": 0}, ta.InputError, ("perturbations_per_eval", "0", "None")),
        ({"perturbations_per_eval": 1.5}, InputTypeError, ("perturbations_per_eval", "float")),
    ],
)  # fmt: skip
def test_bad_arguments(options: dict[str, Any], kind: Any, words: tuple[str, ...]) -> None:
    with refused(kind, *words):
        ta.FeatureAblation(classifier()).attribute(rows(), **{"target": 1, **options})


def test_values_that_are_not_finite() -> None:
    x = rows()
    x[1, 2] = float("nan")
    with refused(ta.InputError, "inputs", "sample 1"):
        ta.FeatureAblation(classifier()).attribute(x, target=1)


@pytest.mark.parametrize("at_once", [None, 1, 4])
@pytest.mark.parametrize("squeeze", [lambda s: s.squeeze(), lambda s: s.squeeze(0)])
def test_a_squeezed_example_is_a_row(squeeze: Any, at_once: int | None) -> None:
    model, x = classifier(), rows(1)
    method = ta.FeatureAblation(lambda v: squeeze(model(v)))
    for target in (None, 2, [1], ta.TopK(2)):
        found = method.attribute(x, target=target, perturbations_per_eval=at_once)
        assert_same(found, ta.FeatureAblation(model).attribute(x, target=target), EXACT)


def test_a_single_example_of_what_aggregates_is_no_row() -> None:
    found = ta.FeatureAblation(lambda v: v.prod(0)[:4]).attribute(rows(1))
    assert found.shape == (4, 6)
    assert_same(found, rows(1)[0, :4].diag() @ torch.eye(4, 6).double(), EXACT)


@pytest.mark.parametrize("number", [0.1, 0.4])
def test_a_number_is_not_rounded_to_single_precision(number: float) -> None:
    """By whole copies and incrementally, by paths and by the bounds of a rule."""
    model = nn.Sequential(nn.Conv2d(1, 1, 3), nn.Flatten(), nn.Linear(16, 1)).double()
    x = torch.rand(1, 1, 6, 6, dtype=torch.float64)
    tensor = torch.full_like(x, number)
    window = {"sliding_window_shapes": (1, 2, 2)}
    for found, expected in (
        [ta.FeatureAblation(model).attribute(x, b) for b in (number, tensor)],
        [ta.Occlusion(model).attribute(x, baselines=b, **window) for b in (number, tensor)],
        [ta.IntegratedGradients(model).attribute(x, b) for b in (number, tensor)],
        [ta.DeepLift(model).attribute(x, b) for b in (number, tensor)],
        [
            ta.LRP(model, "epsilon_gamma_box", low=-b, high=b).attribute(x * number, target=0)
            for b in (number, tensor)
        ],
    ):
        assert torch.equal(found, expected)
