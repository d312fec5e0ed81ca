"""Several methods, targets and layers from one forward equal the methods one by one."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers import assert_same, refused
from torch import Tensor, nn

import torchattr as ta
from torchattr.core.inputs import as_inputs
from torchattr.core.stepping import share_done, stepping
from torchattr.errors import InputError, InputTypeError
from torchattr.models import load_model

X = torch.rand(2, 3, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
BRIGHT = X + 2
"""No ReLU of the model closes for all of it."""
METHODS: dict[str, Callable[..., ta.Attribution]] = {
    "saliency": ta.Saliency,
    "input_x_gradient": ta.InputXGradient,
    "deconvolution": ta.Deconvolution,
    "guided_backprop": ta.GuidedBackprop,
    "grad_cam": lambda model: ta.GradCAM(model, "features"),
    "guided_grad_cam": lambda model: ta.GuidedGradCAM(model, "features"),
}


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(inplace=True))
        self.head = nn.Linear(6, 5)
        self.forwards = 0

    def forward(self, x: Tensor) -> Tensor:
        self.forwards += 1
        return self.head(torch.relu(self.features(x).mean((2, 3)) - 0.1))


@pytest.fixture
def model() -> Net:
    torch.manual_seed(0)
    return Net().double()


@pytest.mark.parametrize("method", METHODS)
def test_equals_the_method_by_itself(model: Net, method: str) -> None:
    explained = ta.explain(model, X, list(METHODS), targets=[3, 1], layer="features")
    expected = METHODS[method](model).attribute(X, target=[3, 1])
    torch.testing.assert_close(explained[method], expected.unsqueeze(1), rtol=0, atol=1e-15)


@pytest.mark.parametrize("method", METHODS)
def test_equals_the_method_for_each_of_several_targets(model: Net, method: str) -> None:
    explained = ta.explain(model, X, list(METHODS), targets=ta.TopK(3), layer="features")
    best = model(X).topk(3).indices
    assert torch.equal(explained.targets, best)
    for column in range(3):
        expected = METHODS[method](model).attribute(X, target=best[:, column])
        torch.testing.assert_close(explained[method][:, column], expected, rtol=0, atol=1e-15)


def test_one_forward_serves_all(model: Net) -> None:
    ta.explain(model, BRIGHT, list(METHODS), targets=ta.TopK(3), layer="features")
    assert model.forwards == 1


def test_a_gradient_of_zeros_costs_one_more_forward_that_looks_for_the_reason(model: Net) -> None:
    assert not ta.Saliency(model).attribute(X)[0].any()
    assert model.forwards == 2


def test_the_last_spatial_layer_is_found_once_for_all(model: Net) -> None:
    with pytest.warns(ta.LayerChoiceWarning, match="layer='features'") as caught:
        explained = ta.explain(model, BRIGHT)
    assert len(caught) == 1
    assert model.forwards == 2
    assert list(explained) == list(ta.explain(model, BRIGHT, layer="features"))


@pytest.mark.parametrize(
    ("targets", "classes"),
    [
        (2, [[2], [2]]),
        ([0, 4], [[0], [4]]),
        (torch.tensor([1, 2]), [[1], [2]]),
        (ta.Classes(4, 0), [[4, 0], [4, 0]]),
        (lambda output: output.sum(1), None),
        ((3,), None),
    ],
)
def test_targets_and_scores(model: Net, targets: Any, classes: list | None) -> None:
    explained = ta.explain(model, X, ["saliency"], targets=targets)
    assert (None if explained.targets is None else explained.targets.tolist()) == classes
    if classes is not None:
        assert torch.equal(explained.scores, model(X).gather(1, torch.tensor(classes)))
    assert torch.equal(explained.output, model(X))


def test_the_predicted_class_is_the_default(model: Net) -> None:
    explained = ta.explain(model, X, ["saliency"])
    assert explained.targets.flatten().tolist() == model(X).argmax(1).tolist()


def test_methods_are_names_classes_objects_or_carry_options(model: Net) -> None:
    signed = ta.explain(model, X, {"saliency": {"abs": False}}, targets=1)["saliency"]
    plain = ta.explain(model, X, ta.Saliency, targets=1)["saliency"]
    given = ta.explain(model, X, [ta.Saliency(model)], targets=1)["saliency"]
    assert torch.equal(signed.abs(), plain)
    assert torch.equal(given, plain)


def test_several_of_one_method_have_a_result_each(model: Net) -> None:
    zero, saliency = ta.LRP(model, "zero"), ta.Saliency(model)
    explained = ta.explain(model, BRIGHT, ["lrp", zero, saliency], targets=1)
    assert list(explained) == ["lrp", "lrp (composite='zero')", "saliency"]
    for name, method in (("lrp", ta.LRP(model)), ("lrp (composite='zero')", zero)):
        assert_same(explained[name][:, 0], method.attribute(BRIGHT, 1), 1e-12)
    with refused(InputError, "saliency 2 times"):
        ta.explain(model, X, ["saliency", saliency], targets=1)


def test_files_of_several_of_one_method_are_told_apart(model: Net, tmp_path: Path) -> None:
    cams = [ta.GradCAM(model, layer="features.0"), ta.GradCAM(model, layer="features.1")]
    ta.explain(model, X, [*cams, ta.LRP(model, "zero"), "lrp"], targets=1).save(tmp_path)
    arrays = np.load(next(tmp_path.glob("*.npz")))
    names = ["grad_cam (layer='features.0')", "grad_cam (layer='features.1')"]
    assert {*names, "lrp", "lrp (composite='zero')"} <= set(arrays)
    assert names[1] in next(tmp_path.glob("*.json")).read_text()


def test_methods_that_replace_parts_of_the_input_take_part(model: Net) -> None:
    squares = torch.arange(4).view(2, 2).repeat_interleave(4, 0).repeat_interleave(4, 1)[None, None]
    options = {"feature_ablation": {"feature_mask": squares}, "saliency": {}}
    explained = ta.explain(model, X, options, targets=ta.TopK(2))
    expected = ta.FeatureAblation(model).attribute(
        X, target=explained.targets[:, 1], feature_mask=squares
    )
    torch.testing.assert_close(explained["feature_ablation"][:, 1], expected)


def test_several_layers_give_a_dict(model: Net) -> None:
    explained = ta.explain(model, X, ["grad_cam"], targets=1, layer=["features", "features.0"])
    assert {name: tuple(one.shape) for name, one in explained["grad_cam"].items()} == {
        "features": (2, 1, 1, 8, 8),
        "features.0": (2, 1, 1, 8, 8),
    }


def test_further_rules_leave_the_gradient_alone() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 8), nn.GELU(), nn.Linear(8, 2)).double()
    x = torch.randn(4, 3, dtype=torch.float64)
    both = ["saliency", "guided_backprop"]
    explained = ta.explain(model, x, both, targets=1, rules={"gelu": "guided"})
    assert explained.notes == {"guided_backprop": "1 gelu call, 1 rewritten"}
    assert torch.equal(explained["saliency"][:, 0], ta.Saliency(model).attribute(x, target=1))


def test_a_refused_method_is_an_error_or_left_out() -> None:
    model, x = nn.Sequential(nn.Linear(3, 8), nn.GELU(), nn.Linear(8, 2)), torch.randn(4, 3)
    both = ["saliency", "guided_backprop"]
    with pytest.raises(ta.NoRuleMatched, match="GuidedBackprop rewrote nothing"):
        ta.explain(model, x, both)
    explained = ta.explain(model, x, both, skip_refused=True)
    assert list(explained) == ["saliency"]
    assert "rules={'gelu': 'guided'}" in explained.refused["guided_backprop"]


def test_says_what_it_holds(model: Net) -> None:
    explained = ta.explain(model, X, ["saliency", "guided_backprop"], targets=1)
    assert repr(explained) == (
        "Explanation(saliency (2, 1, 3, 8, 8), guided_backprop (2, 1, 3, 8, 8);"
        " 2 relu calls, 2 rewritten)"
    )
    assert len(explained) == 2
    with pytest.raises(KeyError, match="'occlusion' was not explained; there are: saliency"):
        explained["occlusion"]


def test_saves_pictures_arrays_and_a_manifest(model: Net, tmp_path: Path) -> None:
    explained = ta.explain(model, X, ["saliency"], targets=ta.TopK(2))
    written = {path.name for path in explained.save(tmp_path / "out")}
    assert {Path(name).suffix for name in written} == {".png", ".npz", ".json"}
    assert len(written) == 5


def test_an_empty_batch_gives_empty_results(model: Net) -> None:
    explained = ta.explain(model, X[:0], list(METHODS), targets=ta.TopK(2), layer="features")
    assert explained["guided_backprop"].shape == (0, 2, 3, 8, 8)
    assert explained["grad_cam"].shape == (0, 2, 1, 8, 8)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"methods": []}, InputError, "methods is empty"),
        (
            {"methods": {"lrp": {"composite": "zero"}}},
            InputError,
            r"'composite' for lrp, .* it is an argument of the object: LRP\(model, composite=...\)",
        ),
        (
            {"methods": {"lrp": {"return_ledger": True}}},
            InputError,
            r"return_ledger for lrp, .* LRP\(model\).attribute\(..., return_ledger=True\)",
        ),
        (
            {"methods": {"deep_lift": {"baseline": 0}}},
            InputError,
            "'baseline' for deep_lift, .* did you mean 'baselines'",
        ),
        (
            {"methods": {"saliency": {"target": 1}}},
            InputError,
            "'target' for saliency, .* given to explain once",
        ),
        ({"methods": ["salience"]}, ta.errors.RegistryError, "did you mean 'saliency'"),
        ({"methods": ["saliency"], "targets": 9}, ta.TargetError, "target 9 is out of range"),
        ({"methods": ["grad_cam"], "layer": "feature"}, ta.LayerError, "did you mean 'features'"),
        ({"inputs": X.long()}, InputTypeError, "has no gradient"),
    ],
)
def test_refuses(
    model: Net, arguments: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        ta.explain(model, **{"inputs": X, "layer": "features", **arguments})


def test_repr_fits_on_a_line_or_two(model: Net) -> None:
    layers = ["features", "features.0", "features.1"]
    explained = ta.explain(model, X, list(METHODS), targets=ta.TopK(2), layer=layers)
    assert len(repr(explained)) < 400
    assert "grad_cam [(2, 2, 1, 8, 8), (2, 2, 1, 8, 8), (2, 2, 1, 8, 8)]" in repr(explained)
    assert repr(explained).count("2 relu calls, 2 rewritten") == 1
    assert repr(explained.inputs) == "Inputs((2, 3, 8, 8))"
    assert repr(explained.coverage) == "Coverage(conv 1, linear 1, relu 2)"


def test_inputs_are_checked_once(model: Net, monkeypatch: pytest.MonkeyPatch) -> None:
    checked: list[bool] = []

    def counted(inputs: Any, *, differentiable: bool = True) -> Any:
        checked.append(differentiable)
        return as_inputs(inputs, differentiable=differentiable)

    monkeypatch.setattr("torchattr.explanation.as_inputs", counted)
    ta.explain(model, X, ["grad_cam"], targets=1, layer="features")
    ta.explain(model, X, ["grad_cam", "saliency"], targets=1, layer="features")
    ta.explain(model, X, ta.Saliency, targets=1)
    assert checked == [False, True, True]


def test_tokens_are_explained_by_methods_that_do_not_differentiate_them() -> None:
    torch.manual_seed(0)
    tokens = torch.tensor([[1, 2, 3], [4, 0, 2]])
    text = nn.Sequential(nn.Embedding(5, 4), nn.Flatten(), nn.Linear(12, 3)).double()
    explained = ta.explain(text, tokens, ["grad_cam", "feature_ablation"], targets=1, layer="0")
    assert explained["feature_ablation"].shape == (2, 1, 3)
    with pytest.raises(InputTypeError, match="which has no gradient"):
        ta.explain(text, tokens, ["grad_cam", "saliency"], targets=1, layer="0")


def test_a_loaded_model_brings_its_class_names(tmp_path: Path) -> None:
    demo = load_model("demo")
    photo = demo.preprocess(ta.example("astronaut_cat"))
    ex = ta.explain(demo, photo.tensor[None], ["saliency"], targets=ta.TopK(2))
    assert ex.class_names == demo.class_names
    assert_same(
        ex["saliency"],
        ta.explain(demo.model, photo.tensor[None], ["saliency"], targets=ta.TopK(2))["saliency"],
    )
    assert {"astronaut", "cat"} == saved_names(ex, tmp_path / "own")
    other = saved_names(ex, tmp_path / "other", class_names=[f"no. {n}" for n in range(8)])
    assert other == {"no. 0", "no. 1"}
    plain = ta.explain(demo.model, photo.tensor[None], ["saliency"])
    assert plain.class_names is None


@pytest.mark.parametrize(
    ("given", "indices"),
    [
        ({"target": "cat"}, "cat"),
        ({"targets": " CAT"}, "cat"),
        ({"targets": ["cat"]}, ["cat"]),
        ({"targets": ta.Classes("rocket", "cat")}, ["rocket", "cat"]),
    ],
)
def test_classes_are_named_where_the_model_knows_their_names(given: Any, indices: Any) -> None:
    demo = load_model("demo")
    photo = demo.preprocess(ta.example("astronaut_cat")).tensor[None]
    assert demo.class_names is not None
    ex = ta.explain(demo, photo, ["saliency", "feature_ablation"], **given)
    numbers = [demo.class_names.index(name) for name in np.atleast_1d(indices)]
    assert ex.targets is not None
    assert ex.targets.tolist() == [numbers]
    target = ta.Classes(*numbers)
    assert_same(ex["saliency"], ta.Saliency(demo.model).attribute(photo, target=target))


@pytest.mark.parametrize("given", ["caat", ["caat"], ta.Classes("cat", "caat")])
def test_a_name_that_no_class_has_is_answered_with_close_ones(given: Any) -> None:
    with refused(ta.TargetError, "unknown class 'caat'; did you mean 'cat'?"):
        ta.explain(load_model("demo"), torch.rand(1, 3, 128, 128), ["saliency"], target=given)


def test_a_model_without_class_names_takes_no_names() -> None:
    known = "the class names of this model are not known. Allowed are indices, or a LoadedModel"
    with refused(ta.TargetError, known):
        ta.explain(Net().double(), X, ["saliency"], target="cat")


def saved_names(ex: ta.Explanation[Any], out: Path, **options: Any) -> set[str]:
    ex.save(out, **options)
    (entry,) = json.loads((out / "manifest.json").read_text())["pictures"].values()
    return {target["name"] for target in entry["targets"]}


def test_target_is_targets() -> None:
    model = Net().double().eval()
    one = ta.explain(model, BRIGHT, ["saliency"], target=3)
    assert_same(one["saliency"], ta.explain(model, BRIGHT, ["saliency"], targets=3)["saliency"])
    several = ta.explain(model, BRIGHT, ["saliency"], target=ta.TopK(2))
    assert several["saliency"].shape == (2, 2, 3, 8, 8)
    with refused(InputError, "target and targets are names of one argument"):
        ta.explain(model, BRIGHT, ["saliency"], 1, target=1)


def test_methods_that_follow_one_another_share_the_work() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 2))
    told: list[float | None] = []
    methods = {
        "saliency": {},
        "rise": {"n_masks": 8},
        "occlusion": {"sliding_window_shapes": (3, 4, 4), "perturbations_per_eval": 1},
    }
    with stepping(lambda: told.append(share_done())):
        ta.explain(model, torch.rand(1, 3, 8, 8), methods, 0)
    known = [share for share in told if share is not None]
    # One forward is shared; then come two methods with loops of their own.
    assert {0, 1 / 3, 2 / 3} <= set(known)
    assert max(known) > 2 / 3
    assert share_done() is None
