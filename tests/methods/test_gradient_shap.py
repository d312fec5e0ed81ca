"""Gradient SHAP against samples drawn by hand, closed forms and integrated gradients."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from helpers import assert_same, noise, refused
from peers import Counting, classifier, mixed, picture_net, pictures, rows
from sampled_path import numbers, sampled
from torch import Tensor, nn

import torchattr as ta
from torchattr.errors import InputTypeError, OutOfMemory, OutputError, TorchattrWarning

EXACT = 1e-12
POOL = rows(5, 8)


@pytest.mark.parametrize("stdev", [0.0, 0.7])
@pytest.mark.parametrize("seed", [0, 11, 2**64 - 1])
def test_equals_samples_drawn_by_hand(seed: int, stdev: float) -> None:
    model, x, classes = classifier(), rows(), [0, 2, 1]
    found, delta = ta.GradientShap(model).attribute(
        x, POOL, 6, stdev, classes, seed=seed, return_convergence_delta=True
    )
    assert delta.shape == (18,)
    for k, target in enumerate(classes):
        (expected,), errors = sampled(
            lambda v, target=target: model(v)[:, target],
            [x[k : k + 1]],
            [POOL],
            6,
            seed=seed,
            stdevs=[stdev],
        )
        assert_same(found[k : k + 1], expected, EXACT)
        assert_same(delta.reshape(3, 6)[k], errors, 1e-11)


@pytest.mark.parametrize("limit", [None, 3, 6, 1000])
def test_several_inputs_and_arguments_equal_samples_drawn_by_hand(limit: int | None) -> None:
    x, y, scale = rows(), noise(3, 4, seed=5), noise(3, seed=7)
    for others in (noise(5, 4, seed=6), noise(2, 4, seed=6)):
        found, delta = ta.GradientShap(mixed).attribute(
            (x, y),
            (POOL, others),
            7,
            (0.1, 0.4),
            [0, 2, 1],
            (scale, 2),
            seed=[5, 6, 7],
            internal_batch_size=limit,
            return_convergence_delta=True,
        )
        each = [
            sampled(
                lambda a, b, k=k, target=target: mixed(a, b, scale[k : k + 1], 2)[:, target],
                [x[k : k + 1], y[k : k + 1]],
                [POOL, others],
                7,
                seed=5 + k,
                stdevs=(0.1, 0.4),
            )
            for k, target in enumerate([0, 2, 1])
        ]
        for position, one in enumerate(found):
            assert_same(one, torch.cat([maps[position] for maps, _ in each]), EXACT)
        assert_same(delta, torch.cat([errors for _, errors in each]), 1e-11)


def test_the_parts_of_a_baseline_stay_together() -> None:
    """Rows of equally many are pairs: the second part here is the negative of the first."""
    x = noise(2, 4)
    found = ta.GradientShap(lambda a, b: (a + b).square().sum(1)).attribute(
        (x, -x), (noise(6, 4, seed=2), -noise(6, 4, seed=2)), stdevs=(0.0, 0.0), seed=3
    )
    assert all(float(one.abs().max()) < 1e-14 for one in found)


def test_converges_to_integrated_gradients_of_one_baseline() -> None:
    """Many estimates of one example, each with its own seed, are right on average."""
    model, start = classifier(), rows(1, 8)
    x = rows(1).expand(400, 6)
    exact = ta.IntegratedGradients(model).attribute(x[:1], start, 1, n_steps=100)
    errors = []
    for count in (10, 160):
        found = ta.GradientShap(model).attribute(
            x, start, count, target=1, seed=range(400), internal_batch_size=16_000
        )
        spread = found.std(0) / 20
        assert float(((found.mean(0) - exact[0]).abs() / spread).max()) < 5
        errors.append(float((found - exact).square().mean().sqrt()))
    assert errors[1] == pytest.approx(errors[0] / 4, rel=0.2)


def test_converges_to_the_mean_over_the_baselines_and_the_noise() -> None:
    """Of cubes each element's expectation is a closed form: the rise of a cube with noise."""
    x, stdev = rows(1).expand(500, 6), 0.3
    found, delta = ta.GradientShap(lambda v: v.pow(3).sum(1)).attribute(
        x, POOL, 100, stdev, seed=range(500), return_convergence_delta=True
    )
    expected = x[0].pow(3) + 3 * x[0] * stdev**2 - POOL.pow(3).mean(0)
    spread = found.std(0) / 500**0.5
    assert float(((found.mean(0) - expected).abs() / spread).max()) < 5
    assert abs(float(delta.mean())) < 5 * float(delta.std()) / 50_000**0.5


def test_linear_models_are_exact_in_every_sample() -> None:
    model = nn.Linear(6, 3).double()
    weight = model.weight.detach()
    found, delta = ta.GradientShap(model).attribute(
        rows(), 0.5, 3, target=[0, 2, 1], return_convergence_delta=True
    )
    assert_same(found, (rows() - 0.5) * weight[[0, 2, 1]], EXACT)
    assert float(delta.abs().max()) < 1e-13
    noisy, delta = ta.GradientShap(model).attribute(
        rows(), POOL, 4, 2.0, 1, return_convergence_delta=True
    )
    assert float(delta.abs().max()) < 1e-12
    assert not torch.allclose(noisy, (rows() - POOL.mean(0)) * weight[1])


def test_the_delta_has_the_sign_of_the_sum_of_the_attributions() -> None:
    """Of a sum of squares each sample's delta is `(2α − 1) |x − b|²`."""
    x, start = rows(2), rows(1, 8)
    maps, delta = ta.GradientShap(lambda v: v.square().sum(1)).attribute(
        x, start, 4, seed=9, return_convergence_delta=True
    )
    drawn = [numbers(9, 0, k, 2)[0] for k in range(4)]
    alphas = torch.tensor(drawn, dtype=torch.float64)
    lengths = (x - start).square().sum(1)
    assert_same(delta, ((2 * alphas - 1) * lengths[:, None]).flatten(), EXACT)
    rise = x.square().sum(1) - start.square().sum(1)
    assert_same(delta.reshape(2, 4).mean(1), maps.sum(1) - rise, EXACT)
    later = ta.GradientShap(lambda v: v.square().sum(1)).compute_convergence_delta(maps, start, x)
    assert_same(later, delta.reshape(2, 4).mean(1), EXACT)


@pytest.mark.parametrize("stdev", [0.0, 0.5])
def test_does_not_depend_on_how_the_work_is_split(stdev: float) -> None:
    shap, x, classes = ta.GradientShap(picture_net()), pictures(4), [0, 2, 1, 1]
    pool = noise(3, 2, 5, 6, seed=9)
    for seed in (4, [4, 9, 2, 7]):
        options: dict[str, Any] = {"baselines": pool, "n_samples": 9, "stdevs": stdev}
        options["return_convergence_delta"] = True
        whole, delta = shap.attribute(x, target=classes, seed=seed, **options)
        for limit in (4, 8, 11, 100):
            parts = shap.attribute(
                x, target=classes, seed=seed, internal_batch_size=limit, **options
            )
            assert_same(parts[0], whole, EXACT)
            assert_same(parts[1], delta, 1e-11)
        for some in ([1], [3, 0], [2, 1, 3]):
            seeds = seed if isinstance(seed, int) else [seed[k] for k in some]
            found, error = shap.attribute(
                x[some], target=[classes[k] for k in some], seed=seeds, **options
            )
            assert_same(found, whole[some], EXACT)
            assert_same(error.reshape(-1, 9), delta.reshape(4, 9)[some], 1e-11)


def test_seeds() -> None:
    shap, x = ta.GradientShap(classifier()), rows(1).expand(2, 6)
    state = torch.get_rng_state()
    one, other = (shap.attribute(x, POOL, target=1, seed=seed) for seed in (0, 1))
    assert_same(shap.attribute(x, POOL, target=1), one)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(one[0], one[1])
    assert not torch.allclose(one, other)
    each = shap.attribute(x, POOL, target=1, seed=[0, 1])
    assert_same(each, torch.stack([one[0], other[1]]), EXACT)


def test_several_targets_and_their_deltas() -> None:
    model, x = classifier(), rows()
    options: dict[str, Any] = {"baselines": POOL, "n_samples": 5, "stdevs": 0.2}
    options |= {"return_convergence_delta": True}
    shap, best = ta.GradientShap(model), model(x).argsort(1, descending=True)
    found, delta = shap.attribute(x, target=ta.TopK(2), **options)
    assert found.shape == (3, 2, 6)
    assert delta.shape == (15, 2)
    for position in range(2):
        one, error = shap.attribute(x, target=best[:, position], **options)
        assert_same(found[:, position], one, EXACT)
        assert_same(delta[:, position], error, 1e-11)
    assert_same(shap.attribute(x, **options)[0], found[:, 0], EXACT)


def test_a_neuron_and_a_callable() -> None:
    model, x = classifier(), rows()
    found = ta.GradientShap(model).attribute(x, POOL, target=ta.Neuron("1", 4))
    hidden = nn.Sequential(*list(model.children())[:2])
    assert_same(found, ta.GradientShap(hidden).attribute(x, POOL, target=4), EXACT)
    labels = torch.tensor([0, 2, 1])
    found = ta.GradientShap(model).attribute(
        x, POOL, target=lambda out: out[torch.arange(3), labels]
    )
    assert_same(found, ta.GradientShap(model).attribute(x, POOL, target=labels), EXACT)


def test_the_mean_gradient_itself() -> None:
    model, x = classifier(), rows(2)
    start = noise(1, 6, seed=8)
    local = ta.GradientShap(model, multiply_by_inputs=False).attribute(x, start, target=1)
    whole = ta.GradientShap(model).attribute(x, start, target=1)
    assert_same(local * (x - start), whole, EXACT)


def test_rules_are_applied() -> None:
    model = picture_net()
    guided = ta.GradientShap(model, rules={"relu": "guided"}).attribute(pictures(), target=1)
    plain = ta.GradientShap(model).attribute(pictures(), target=1)
    assert not torch.allclose(guided, plain)
    with refused(ta.NoRuleMatched, "GradientShap", "gelu"):
        ta.GradientShap(model, rules={"gelu": "guided"}).attribute(pictures(), target=1)


@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16, torch.float16])
def test_type_and_precision(kind: torch.dtype) -> None:
    model, options = classifier(), {"n_samples": 20, "stdevs": 0.1, "target": 1}
    pool = POOL.to(kind)
    exact = ta.GradientShap(model).attribute(rows().to(kind).double(), pool.double(), **options)
    found, delta = ta.GradientShap(model.to(kind)).attribute(
        rows().to(kind), pool, return_convergence_delta=True, **options
    )
    assert found.dtype == kind
    assert delta.dtype == kind
    assert_same(found.double(), exact, 16 * torch.finfo(kind).eps)


def test_chunks_are_bounded_and_halved() -> None:
    model = Counting(classifier())
    shap, options = ta.GradientShap(model), {"baselines": POOL, "target": 1, "n_samples": 50}
    options["return_convergence_delta"] = True
    expected, delta = shap.attribute(rows(), **options)
    assert max(model.seen) <= 64
    model.seen.clear()
    shap.attribute(rows(), POOL, 10, target=1, internal_batch_size=8)
    assert model.seen == [3, 6, 6, 6, 6, 6]
    for model.limit in (7, 3):
        found, error = shap.attribute(rows(), **options)
        assert_same(found, expected, EXACT)
        assert_same(error, delta, 1e-11)


def test_says_when_not_even_one_sample_fits() -> None:
    model = Counting(classifier())

    def forward(x: Tensor) -> Tensor:
        model.limit = 0 if model.seen else None
        return model(x)

    with refused(OutOfMemory, "single sample"):
        ta.GradientShap(forward).attribute(rows(), target=1)


def test_one_number_for_a_single_example() -> None:
    model = classifier()
    options: dict[str, Any] = {"baselines": POOL, "return_convergence_delta": True, "stdevs": 0.1}
    found, delta = ta.GradientShap(lambda x: model(x)[0, 1]).attribute(rows(1), **options)
    expected, error = ta.GradientShap(model).attribute(rows(1), target=1, **options)
    assert_same(found, expected, EXACT)
    assert_same(delta, error, 1e-11)
    with refused(OutputError, "one row for each example"):
        ta.GradientShap(lambda x: model(x).sum()).attribute(rows(2))


@pytest.mark.parametrize("seed", [0, []])
def test_an_empty_batch(seed: Any) -> None:
    found, delta = ta.GradientShap(classifier()).attribute(
        rows()[:0], POOL, 4, 0.1, 1, seed=seed, return_convergence_delta=True
    )
    assert found.shape == (0, 6)
    assert delta.shape == (0,)


def test_the_model_and_inputs_stay_as_they_were() -> None:
    model, x, pool = classifier(), rows().requires_grad_(), POOL.clone().requires_grad_()
    found = ta.GradientShap(model).attribute(x, pool, target=1)
    assert not found.requires_grad
    assert x.grad is None
    assert pool.grad is None
    assert x.requires_grad
    assert all(p.requires_grad and p.grad is None for p in model.parameters())


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_draws_what_a_cpu_draws() -> None:
    model, options = classifier(), {"n_samples": 20, "stdevs": 0.3, "seed": [3, 1, 2], "target": 1}
    options["return_convergence_delta"] = True
    expected, error = ta.GradientShap(model).attribute(rows(), POOL, **options)
    found, delta = ta.GradientShap(model.cuda()).attribute(rows().cuda(), POOL, **options)
    assert found.is_cuda
    assert_same(found.cpu(), expected, EXACT)
    assert_same(delta.cpu(), error, 1e-11)


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_works_where_gradients_are_off(mode: Any) -> None:
    expected = ta.GradientShap(classifier()).attribute(rows(), POOL, 4, 0.1, 1)
    with mode():
        found = ta.GradientShap(classifier()).attribute(rows(), POOL, 4, 0.1, 1)
    assert_same(found, expected, EXACT)


def test_by_name_from_explain() -> None:
    model, x = classifier(), rows()
    options = {"baselines": POOL, "n_samples": 3, "seed": 2}
    explained = ta.explain(model, x, {"gradient_shap": options}, targets=ta.TopK(2))
    expected = ta.GradientShap(model).attribute(x, target=ta.TopK(2), **options)
    assert_same(explained["gradient_shap"], expected)


def test_warns_when_the_batch_is_larger_than_allowed() -> None:
    with pytest.warns(TorchattrWarning, match="internal_batch_size=2.*each sample"):
        found = ta.GradientShap(classifier()).attribute(rows(), target=1, internal_batch_size=2)
    assert_same(found, ta.GradientShap(classifier()).attribute(rows(), target=1), EXACT)


@pytest.mark.parametrize(
    ("options", "kind", "words"),
    [
        ({"n_samples": 0}, ta.InputError, ("n_samples", "at least 1", "0")),
        ({"n_samples": 2.5}, InputTypeError, ("n_samples", "float")),
        ({"stdevs": -0.1}, ta.InputError, ("stdevs", "not negative", "-0.1", "pass 0")),
        ({"stdevs": float("inf")}, ta.InputError, ("stdevs", "finite", "inf")),
        ({"stdevs": (0.1, 0.2)}, ta.ShapeError, ("stdevs", "2 entries for 1")),
        ({"stdevs": "wide"}, InputTypeError, ("stdevs", "str")),
        ({"seed": -1}, ta.InputError, ("seed", "at least 0")),
        ({"seed": 2**64}, ta.InputError, ("seed", "2**64")),
        ({"seed": None}, InputTypeError, ("seed", "one for each example", "None")),
        ({"seed": [1, 2]}, ta.ShapeError, ("seed", "2 entries", "batch of 3")),
        ({"seed": [1, 2, 0.5]}, InputTypeError, ("seed", "0.5")),
        ({"internal_batch_size": 0}, ta.InputError, ("internal_batch_size", "0")),
        ({"internal_batch_size": "all"}, InputTypeError, ("internal_batch_size", "str", "None")),
        ({"baselines": torch.zeros(4, 5)}, ta.ShapeError, ("baselines", "(4, 5)", "(rows, 6)")),
        ({"baselines": torch.zeros(4, 6).int()}, InputTypeError, ("baselines", "int32")),
        ({"baselines": float("nan")}, ta.InputError, ("baselines", "NaN")),
        ({"target": 3}, ta.TargetError, ("0 to 2",)),
    ],
)
def test_bad_arguments(options: dict[str, Any], kind: Any, words: tuple[str, ...]) -> None:
    with refused(kind, *words):
        ta.GradientShap(classifier()).attribute(rows(), **{"target": 1, **options})


def test_integers_have_no_gradient() -> None:
    with refused(InputTypeError, "int64"):
        ta.GradientShap(classifier()).attribute(torch.ones(1, 6).long(), target=1)
