"""Batches against `explain` of single pictures, and seeds of ids."""

import pytest
import torch
from torch import nn

import torchattr as ta
from torchattr.bulk.explaining import BatchExplainer, ExplainedBatch, drawing_from, seed_of
from torchattr.bulk.map_form import MapForm
from torchattr.bulk.probing import explainer_of, planned, resolved_by_probe
from torchattr.bulk.settings import BulkSettings
from torchattr.errors import ShapeError
from torchattr.models import LoadedModel
from torchattr.runs import ExplainSettings

DRAWING = {
    "rise": {"n_masks": 8},
    "gradient_shap": {"n_samples": 2},
    "random_cam": {},
    "kernel_shap": {"n_samples": 4},
    "smooth_grad_cam_plus_plus": {"n_samples": 2},
}


@pytest.fixture
def explainer(loaded, tensors):
    def make(methods, targets=("top1",), layers=("1",), **options) -> BatchExplainer:
        given = methods if isinstance(methods, dict) else {}
        settings = BulkSettings(
            *(ExplainSettings(tuple(methods), (), layers), given, targets),
            dtype="float32",
            **options,
        )
        plan, columns = planned(loaded, settings)
        resolved = resolved_by_probe(plan, columns, settings, tensors())
        return explainer_of(plan, columns, settings, resolved)

    return make


@pytest.fixture
def batch(tensors):
    source = tensors()
    return torch.stack([source.read(position) for position in range(4)]), source.ids()[:4]


def test_maps_scores_and_targets_are_those_of_explain(explainer, batch, model) -> None:
    inputs, ids = batch
    methods = ("guided_backprop", "grad_cam", "integrated_gradients")
    found = explainer(methods, ("top2",)).explained(inputs, ids, [0] * 4)
    expected = ta.explain(model, inputs, methods, ta.TopK(2), layer="1")
    for name in methods:
        assert torch.equal(found.maps[name].values, expected[name].sum(2))
    assert torch.equal(found.scores, expected.scores)
    assert torch.equal(found.targets, expected.targets)
    assert torch.equal(found.predicted, model(inputs).argmax(1))


def test_labels_are_targets(explainer, batch, model) -> None:
    inputs, ids = batch
    found = explainer(["saliency"], ("label",)).explained(inputs, ids, [2, 0, 1, 1])
    expected = ta.explain(model, inputs, "saliency", [2, 0, 1, 1])
    assert torch.equal(found.maps["saliency"].values, expected["saliency"].sum(2))
    assert found.targets.flatten().tolist() == [2, 0, 1, 1]


def test_functions_of_the_output_are_targets(explainer, batch, model) -> None:
    inputs, ids = batch
    target = ta.Difference(1, 0)
    found = explainer(["saliency"], (target,)).explained(inputs, ids, [None] * 4)
    expected = ta.explain(model, inputs, "saliency", ta.Classes([target]))
    assert torch.equal(found.maps["saliency"].values, expected["saliency"].sum(2))
    assert found.targets is None


@pytest.mark.parametrize("method", DRAWING)
def test_random_maps_depend_on_the_id_and_not_on_the_batch(explainer, batch, method) -> None:
    inputs, ids = batch
    of = explainer({method: DRAWING[method]}, ("top2", 1), ("0",))
    whole = of.explained(inputs, ids, [0] * 4).maps[method].values
    turned = of.explained(inputs[[3, 1]], [ids[3], ids[1]], [0] * 2).maps[method].values
    assert torch.allclose(whole[[3, 1]], turned, atol=1e-6)
    other = of.explained(inputs[[3, 1]], ["another", ids[1]], [0] * 2).maps[method].values
    assert not torch.allclose(whole[3], other[0])
    assert torch.allclose(whole[1], other[1], atol=1e-6)


def test_random_maps_depend_on_the_seed(explainer, batch) -> None:
    inputs, ids = batch
    zero, one = (
        explainer({"rise": {"n_masks": 8}}, seed=seed).explained(inputs, ids, [0] * 4)
        for seed in (0, 1)
    )
    assert not torch.equal(zero.maps["rise"].values, one.maps["rise"].values)


def test_a_random_method_alone_finds_its_targets(explainer, batch, model) -> None:
    inputs, ids = batch
    found = explainer({"rise": {"n_masks": 8}}, ("top2",)).explained(inputs, ids, [0] * 4)
    expected = ta.explain(model, inputs, "saliency", ta.TopK(2))
    assert torch.equal(found.targets, expected.targets)
    assert torch.allclose(found.scores, expected.scores)


def test_arrays_are_in_the_order_of_the_methods(explainer, batch) -> None:
    inputs, ids = batch
    methods = {"rise": {"n_masks": 8}, "saliency": {}, "random_cam": {}, "grad_cam": {}}
    assert list(explainer(methods).explained(inputs, ids, [0] * 4).maps) == list(methods)


def test_several_layers_are_several_arrays(loaded, tensors, batch) -> None:
    settings = BulkSettings(ExplainSettings(("grad_cam",), (), ("0", "1")))
    plan, columns = planned(loaded, settings)
    resolved = resolved_by_probe(plan, columns, settings, tensors())
    assert list(resolved.arrays) == ["grad_cam/0", "grad_cam/1"]


class Logarithm(nn.Module):
    """Is not a number for dark pictures, and infinite for black ones."""

    def forward(self, x):
        return x.mean((2, 3)).log()


def test_scores_that_are_not_finite_are_marked(tensors, batch) -> None:
    inputs, ids = batch
    inputs = torch.stack([inputs[0], -inputs[1], inputs[2], 0 * inputs[3]])
    settings = BulkSettings(ExplainSettings(("saliency",)), {}, (0,))
    loaded = LoadedModel("logarithm", Logarithm(), lambda image: image)
    plan, columns = planned(loaded, settings)
    found = BatchExplainer(plan, settings, columns, "none").explained(inputs, ids, [0] * 4)
    assert found.finite.tolist() == [True, False, True, False]


def test_parts_are_joined(explainer, batch) -> None:
    inputs, ids = batch
    of = explainer(["saliency"])
    parts = [of.explained(inputs[k : k + 1], ids[k : k + 1], [0]) for k in range(4)]
    joined = ExplainedBatch.joined(parts)
    assert len(joined) == 4
    for row, part in enumerate(parts):
        assert torch.equal(joined.maps["saliency"].values[row], part.maps["saliency"].values[0])


def test_pytorchs_generators_are_put_back() -> None:
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    with drawing_from(1, torch.device("cpu")):
        inside = torch.rand(2)
    assert torch.equal(torch.rand(2), expected)
    with drawing_from(1, torch.device("cpu")):
        assert torch.equal(torch.rand(2), inside)


def test_seeds_of_ids_differ() -> None:
    seeds = {seed_of(seed, f"{one}") for seed in range(3) for one in range(100)}
    assert len(seeds) == 300
    assert max(seeds) < 2**63


def test_a_result_without_a_map_for_each_target_is_refused(loaded, tensors) -> None:
    settings = BulkSettings(ExplainSettings(("saliency",)), form=MapForm("luma"))
    plan, columns = planned(loaded, settings)
    explainer = BatchExplainer(plan, settings, columns, "none")
    first = explainer._shared(tensors().read(0)[None], [0])
    with pytest.raises(ShapeError, match="a map for each of them"):
        explainer._encoded({"saliency": torch.ones(2, 1, 3, 8, 8)}, first, torch.ones(1, 3, 8, 8))
