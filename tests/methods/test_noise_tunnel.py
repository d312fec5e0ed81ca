"""The noise tunnel against Captum under the same seed, and against its definition."""

from __future__ import annotations

from typing import Any

import captum.attr
import pytest
import torch
from helpers import assert_same, autograd, noise, refused
from peers import Counting, asked, classifier, mixed, picture_net, pictures, rows
from torch import Tensor, nn

import torchattr as ta
from torchattr.errors import InputTypeError, OutputError

EXACT = 1e-12
KINDS = ["smoothgrad", "smoothgrad_sq", "vargrad"]


def seeded_call(method: Any, /, *args: Any, seed: int = 3, **kwargs: Any) -> Any:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return asked(method, *args, **kwargs)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("at_once", [None, 1, 2, 9])
@pytest.mark.parametrize("target", [1, [0, 2, 1], torch.tensor([2, 2, 0])])
def test_equals_captum_under_the_same_seed(kind: str, at_once: int | None, target: Any) -> None:
    model, x = classifier(), rows()
    options: dict[str, Any] = {
        "nt_type": kind,
        "nt_samples": 5,
        "nt_samples_batch_size": at_once,
        "stdevs": 0.4,
        "target": target,
    }
    expected = seeded_call(captum.attr.NoiseTunnel(captum.attr.Saliency(model)), x, **options)
    found = seeded_call(ta.NoiseTunnel(ta.Saliency(model)), x, **options)
    # Captum's variance is a difference of two large numbers.
    assert_same(found, expected, 1e-10)


def test_tuple_inputs_and_deltas_equal_captum() -> None:
    inputs = (rows(), noise(3, 4, seed=5))
    options: dict[str, Any] = {
        "nt_samples": 4,
        "stdevs": (0.1, 0.7),
        "baselines": (0.5, noise(3, 4, seed=6)),
        "target": [0, 2, 1],
        "additional_forward_args": (noise(3, seed=7), 2),
        "n_steps": 4,
        "method": "riemann_middle",
        "return_convergence_delta": True,
    }
    peer = captum.attr.NoiseTunnel(captum.attr.IntegratedGradients(mixed))
    expected, error = seeded_call(peer, inputs, **options)
    tunnel = ta.NoiseTunnel(ta.IntegratedGradients(mixed))
    found, delta = seeded_call(tunnel, inputs, **options)
    for one, other in zip(found, expected, strict=True):
        assert_same(one, other, EXACT)
    assert delta.shape == (12,)
    assert_same(delta, error, 1e-9)


@pytest.mark.parametrize("at_once", [None, 1, 2])
@pytest.mark.parametrize("target", [[0, 2, 1], ta.Classes(0, 2)])
def test_a_method_that_draws_samples_itself(at_once: int | None, target: Any) -> None:
    """Each noisy copy of an example has the delta of each of its samples, in this order."""
    model, x, pool = classifier(), rows(), rows(5, 8)
    options: dict[str, Any] = {"baselines": pool, "n_samples": 4, "target": target}
    options |= {"seed": [7, 8, 9], "return_convergence_delta": True}
    found, delta = ta.NoiseTunnel(ta.GradientShap(model)).attribute(
        x, nt_samples=3, nt_samples_batch_size=at_once, stdevs=0.0, **options
    )
    expected, once = ta.GradientShap(model).attribute(x, **options)
    assert_same(found, expected, EXACT)
    each = once.reshape(3, 1, 4, *once.shape[1:])
    assert_same(delta, each.expand(3, 3, *each.shape[2:]).flatten(0, 2), 1e-11)


def test_ablation_with_masks_equals_captum() -> None:
    model, x = classifier(), rows()
    for mask in (torch.tensor([[0, 0, 1, 1, 2, 2]]), torch.arange(18).reshape(3, 6) // 4):
        options: dict[str, Any] = {
            "nt_samples": 4,
            "target": [0, 2, 1],
            "feature_mask": mask,
            "baselines": 0.25,
        }
        peer = captum.attr.NoiseTunnel(captum.attr.FeatureAblation(model))
        expected = seeded_call(peer, x, **options)
        found = seeded_call(ta.NoiseTunnel(ta.FeatureAblation(model)), x, **options)
        assert_same(found, expected, EXACT)


@pytest.mark.parametrize("kind", KINDS)
def test_equals_the_definition(kind: str) -> None:
    seen: list[Tensor] = []
    model, x = classifier(), rows()

    def forward(v: Tensor) -> Tensor:
        seen.append(v.detach().clone())
        return model(v)

    found = seeded_call(
        ta.NoiseTunnel(ta.InputXGradient(forward)), x, kind, nt_samples=6, stdevs=0.5, target=1
    )
    samples = torch.stack(
        [ta.InputXGradient(model).attribute(part, target=1) for part in seen[-1].chunk(6)]
    )
    expected = {
        "smoothgrad": samples.mean(0),
        "smoothgrad_sq": samples.square().mean(0),
        "vargrad": samples.var(0, unbiased=False),
    }[kind]
    assert_same(found, expected, EXACT)
    noises = seen[-1].reshape(6, 3, 6) - x
    assert 0.3 < float(noises.std()) < 0.7
    assert float((noises[0] - noises[1]).abs().min()) > 0


def test_no_noise_is_the_method_itself() -> None:
    model, x = classifier(), rows()
    plain = ta.Saliency(model).attribute(x, target=1)
    tunnel = ta.NoiseTunnel(ta.Saliency(model))
    assert_same(tunnel.attribute(x, stdevs=0, target=1), plain, EXACT)
    assert float(tunnel.attribute(x, "vargrad", stdevs=0.0, target=1).abs().max()) < 1e-20


def test_the_predicted_class_is_that_of_the_clean_input() -> None:
    model, x = classifier(), rows()
    tunnel = ta.NoiseTunnel(ta.Saliency(model))
    best = model(x).argsort(1, descending=True)
    assert_same(
        seeded_call(tunnel, x, stdevs=9.0), seeded_call(tunnel, x, stdevs=9.0, target=best[:, 0])
    )
    several = seeded_call(tunnel, x, stdevs=9.0, target=ta.TopK(2))
    assert several.shape == (3, 2, 6)
    for position in range(2):
        one = seeded_call(tunnel, x, stdevs=9.0, target=best[:, position])
        assert_same(several[:, position], one, EXACT)


def test_baselines_drawn_from_a_distribution() -> None:
    seen: list[Tensor] = []

    class Noting(ta.FeatureAblation):
        def attribute(self, inputs: Any, baselines: Any = None, **options: Any) -> Any:
            seen.append(baselines)
            return super().attribute(inputs, baselines, **options)

    pool = rows(5, 8)
    tunnel = ta.NoiseTunnel(Noting(classifier()))
    options = {"baselines": pool, "draw_baseline_from_distrib": True, "target": 1}
    found = seeded_call(tunnel, rows(), nt_samples=20, **options)
    assert found.shape == (3, 6)
    assert seen[0].shape == (60, 6)
    chosen = (seen[0][:, None] == pool).all(2)
    assert bool(chosen.any(1).all())
    assert bool(chosen.any(0).all())


def test_results_keep_the_form_that_the_method_gives() -> None:
    model, x = picture_net(), pictures()
    cam = ta.GradCAM(model, layer=["0", "1"])
    found = ta.NoiseTunnel(cam).attribute(x, target=1, nt_samples=3)
    assert {name: tuple(value.shape) for name, value in found.items()} == {
        "0": (2, 1, 3, 4),
        "1": (2, 1, 3, 4),
    }
    single = ta.NoiseTunnel(ta.LayerActivation(model, "0")).attribute(x, nt_samples=3)
    assert single.shape == (2, 4, 3, 4)
    occluded = ta.NoiseTunnel(ta.Occlusion(model)).attribute(
        x, nt_samples=2, sliding_window_shapes=(2, 2, 3), strides=(1, 2, 3), target=0
    )
    assert occluded.shape == x.shape


@pytest.mark.parametrize("kind", [torch.float32, torch.float16, torch.bfloat16])
def test_the_same_seed_gives_the_same_noise_in_every_type(kind: torch.dtype) -> None:
    seen: list[Tensor] = []

    def forward(v: Tensor) -> Tensor:
        seen.append(v.detach())
        return v.square().sum(1)

    tunnel = ta.NoiseTunnel(ta.Saliency(forward))
    exact = seeded_call(tunnel, torch.zeros(2, 6).double())
    found = seeded_call(tunnel, torch.zeros(2, 6, dtype=kind))
    assert found.dtype == kind
    assert_same(found.double(), exact, 4 * torch.finfo(kind).eps)


def test_memory_is_bounded_by_the_chunk() -> None:
    model = Counting(classifier())
    tunnel = ta.NoiseTunnel(ta.Saliency(model))
    tunnel.attribute(rows(), nt_samples=5, nt_samples_batch_size=2, target=1)
    assert max(model.seen) == 6


def test_an_empty_batch() -> None:
    tunnel = ta.NoiseTunnel(ta.Saliency(classifier()))
    assert tunnel.attribute(rows()[:0], target=1).shape == (0, 6)


def _noisy_batches(count: int, stdev: float) -> list[Tensor]:
    torch.manual_seed(0)
    return [
        rows() + torch.normal(0.0, torch.full((3, 1, 6), stdev))[:, 0].double()
        for _ in range(count)
    ]


@pytest.mark.parametrize("at_once", [None, 1, 3])
@pytest.mark.parametrize(
    "forward",
    [
        lambda x: classifier()(x).sum().square(),
        lambda x: classifier()(x).prod(0, keepdim=True),
        lambda x: classifier()(x)[:, :2].prod(0),
    ],
    ids=["a number", "a row", "two numbers"],
)
def test_copies_of_what_is_aggregated_do_not_mix(forward: Any, at_once: int | None) -> None:
    method = ta.FeatureAblation(forward)
    torch.manual_seed(0)
    found = ta.NoiseTunnel(method).attribute(
        rows(), nt_samples=6, nt_samples_batch_size=at_once, stdevs=0.3
    )
    expected = torch.stack([method.attribute(batch) for batch in _noisy_batches(6, 0.3)]).mean(0)
    assert_same(found, expected, EXACT)


def test_gradients_of_a_number_for_all_do_not_mix_either() -> None:
    def forward(x: Tensor) -> Tensor:
        return classifier()(x).sum().square()

    for batch in (rows(), rows(1)):
        tunnel = ta.NoiseTunnel(ta.InputXGradient(forward))
        found = tunnel.attribute(batch, nt_samples=4, stdevs=0.0)
        expected = batch * autograd(forward, batch, lambda out: out)
        assert_same(found, expected, EXACT)


@pytest.mark.parametrize("at_once", [None, 1, 3])
@pytest.mark.parametrize("target", [None, 1, [2]])
def test_copies_of_a_single_example_do_not_mix_in_a_mean(target: Any, at_once: int | None) -> None:
    def forward(x: Tensor) -> Tensor:
        return classifier()(x).mean(0, keepdim=True)

    # The chunk size determines the noise.
    options = {"nt_samples": 4, "nt_samples_batch_size": 1, "target": target}
    for method in (ta.InputXGradient, ta.FeatureAblation):
        expected = seeded_call(ta.NoiseTunnel(method(classifier())), rows(1), **options)
        tunnel = ta.NoiseTunnel(method(forward))
        found = seeded_call(tunnel, rows(1), **{**options, "nt_samples_batch_size": at_once})
        assert_same(found, expected, EXACT)


def test_rows_that_are_no_examples_are_refused() -> None:
    model = nn.Sequential(nn.Unflatten(1, (2, 3)), nn.Flatten(0, 1), nn.Linear(3, 2)).double()
    tunnel = ta.NoiseTunnel(ta.LayerActivation(model, "2"))
    with refused(OutputError, "30 rows", "15 noisy examples"):
        tunnel.attribute(rows())


@pytest.mark.parametrize(
    ("options", "kind", "words"),
    [
        ({"nt_type": "mean"}, ta.InputError, ("nt_type", "mean", "smoothgrad_sq")),
        ({"nt_samples": 0}, ta.InputError, ("nt_samples", "at least 1")),
        ({"nt_samples": 2.0}, InputTypeError, ("nt_samples", "float")),
        ({"nt_samples_batch_size": 0}, ta.InputError, ("nt_samples_batch_size",)),
        ({"stdevs": -1.0}, ta.InputError, ("stdevs", "-1.0")),
        ({"stdevs": float("nan")}, ta.InputError, ("stdevs", "nan")),
        ({"stdevs": (1.0, 2.0)}, ta.ShapeError, ("stdevs", "2 entries for 1")),
        ({"stdevs": "wide"}, InputTypeError, ("stdevs", "str")),
        ({"target": 3}, ta.TargetError, ("0 to 2",)),
    ],
)
def test_bad_arguments(options: dict[str, Any], kind: Any, words: tuple[str, ...]) -> None:
    with refused(kind, *words):
        ta.NoiseTunnel(ta.Saliency(classifier())).attribute(rows(), **{"target": 1, **options})


def test_what_it_cannot_wrap() -> None:
    with refused(InputTypeError, "attribution_method", "Sequential"):
        ta.NoiseTunnel(classifier())  # type: ignore[arg-type]  # what is tested
    with refused(InputTypeError, "int64", "noise"):
        ta.NoiseTunnel(ta.FeatureAblation(classifier())).attribute(torch.ones(1, 6).long())


def test_bounds_of_each_example_serve_its_noisy_copies() -> None:
    model, x = nn.Sequential(nn.Linear(6, 4), nn.ReLU(), nn.Linear(4, 3)).double(), rows()
    low, high = x.min(1, keepdim=True).values - 9, x.max(1, keepdim=True).values + 9
    method = ta.LRP(model, {"first": "z_box"}, low=low, high=high)
    found = ta.NoiseTunnel(method).attribute(x, nt_samples=4, stdevs=0.0, target=1)
    assert_same(found, method.attribute(x, 1), EXACT)
    nested = ta.NoiseTunnel(ta.NoiseTunnel(method))
    assert bool(nested.attribute(x, nt_samples=2, stdevs=0.1, target=1).isfinite().all())
    noisy = seeded_call(ta.NoiseTunnel(method), x, nt_samples=3, target=1)
    for k in range(len(x)):
        own = ta.NoiseTunnel(ta.LRP(model, {"first": "z_box"}, low=low[k], high=high[k]))
        alone = seeded_call(own, x, nt_samples=3, nt_samples_batch_size=1, target=1)
        assert_same(noisy[k], alone[k], EXACT)
    sensitivity = ta.evaluate.sensitivity_max(method.attribute, x, target=1)
    assert bool(sensitivity.isfinite().all())
