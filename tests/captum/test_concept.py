"""Concepts under Captum's names: its scores for the same directions, and its files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import captum.concept
import pytest
import torch
from captum._utils.av import AV
from helpers import assert_same, noise, refused, seeded
from torch import Tensor, nn

from torchattr.captum import concept as ours
from torchattr.errors import InputError

NET = seeded(lambda: nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(12, 2)))
X = noise(5, 1, 4, 4, dtype=torch.float32)


def classifier(base: type) -> Any:
    """Return a classifier with the same weights in both libraries, classes reversed."""

    class Fixed(base):  # type: ignore[misc]
        def __init__(self) -> None:
            self.labels: list[int] = []

        def train_and_eval(self, dataloader: Any, **kwargs: Any) -> dict[str, Any]:
            parts = list(dataloader)
            self.labels = sorted({int(one) for _, labels in parts for one in labels}, reverse=True)
            self.width = parts[0][0].shape[1]
            return {"rows": sum(len(values) for values, _ in parts)}

        def weights(self) -> Tensor:
            return noise(len(self.labels), self.width, dtype=torch.float32)

        def classes(self) -> list[int]:
            return self.labels

    return Fixed()


def sets(library: Any) -> list[list[Any]]:
    loaders = [[noise(4, 1, 4, 4, seed=n, dtype=torch.float32)] * 2 for n in range(3)]
    names = zip(range(3), "abc", loaders, strict=True)
    first, second, third = (library.Concept(n, name, loader) for n, name, loader in names)
    return [[first, third], [third, first, second]]


@pytest.mark.filterwarnings("ignore::UserWarning:captum")
@pytest.mark.filterwarnings("ignore:.*full backward hook")
@pytest.mark.parametrize("of_input", [False, True])
def test_scores_are_captums(tmp_path: Path, of_input: bool) -> None:
    found = []
    for name, library in (("ours", ours), ("theirs", captum.concept)):
        tcav = library.TCAV(
            NET,
            ["1", "3"],
            classifier=classifier(library.Classifier),
            attribute_to_layer_input=of_input,
            save_path=f"{tmp_path / name}/",
        )
        found.append(tcav.interpret(X, sets(library), target=1))
    assert found[0].keys() == found[1].keys()
    for key, layers in found[1].items():
        for layer, scores in layers.items():
            assert torch.equal(found[0][key][layer]["sign_count"], scores["sign_count"])
            assert_same(found[0][key][layer]["magnitude"], scores["magnitude"], 1e-5)


@pytest.mark.filterwarnings("ignore:numpy.core is deprecated")  # in Captum's reader
def test_files_are_captums_and_are_used_again(tmp_path: Path) -> None:
    path = f"{tmp_path}/"
    first = ours.TCAV(NET, "1", "mine", classifier(ours.Classifier), save_path=path)
    chosen = sets(ours)
    scores = first.interpret(X, chosen, target=1)
    for one in chosen[1]:
        assert AV.exists(path, "mine", one.identifier, "1")
        assert len(AV.load(path, "mine", one.identifier, "1")) == 2
    read = captum.concept.CAV.load(path, "mine", chosen[0], "1")
    own = ours.CAV.load(path, "mine", chosen[0], "1")
    assert own is not None
    assert read is not None
    assert torch.equal(own.weights_of(chosen[0]), first.cavs["0-2"]["1"].weights_of(chosen[0]))
    assert read.stats["classes"] == own.stats["classes"] == [2, 0]

    class Never(ours.DefaultClassifier):
        def train_and_eval(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
            raise AssertionError("it was trained before")

    again = ours.TCAV(NET, "1", "mine", Never(), save_path=path)
    assert_same(
        again.interpret(X, chosen, target=1)["0-2"]["1"]["magnitude"],
        scores["0-2"]["1"]["magnitude"],
    )
    with pytest.raises(AssertionError, match="trained before"):
        again.compute_cavs(chosen, force_train=True)
    assert ours.CAV.load(path, "other", chosen[0], "1") is None


def test_concepts_may_be_captums_own(tmp_path: Path) -> None:
    found = []
    for name, library in (("ours", ours), ("theirs", captum.concept)):
        given = (NET, "1", "mine", classifier(ours.Classifier))
        tcav = ours.TCAV(*given, save_path=f"{tmp_path / name}/")
        found.append(tcav.interpret(X, sets(library)[:1], target=1)["0-2"]["1"]["magnitude"])
    assert torch.equal(*found)


def test_another_method_may_attribute_to_the_layer(tmp_path: Path) -> None:
    class Ones:
        layer: Any = None

        def attribute(self, inputs: Tensor, **options: Any) -> Tensor:
            assert self.layer is NET[1]
            return torch.ones(len(inputs), 3, 2, 2)

    method = Ones()
    given = (NET, "1", "mine", classifier(ours.Classifier), method)
    tcav = ours.TCAV(*given, save_path=f"{tmp_path}/")
    found = tcav.interpret(X, sets(ours)[:1], target=1)["0-2"]["1"]["magnitude"]
    weights = tcav.cavs["0-2"]["1"].weights_of(sets(ours)[0])
    assert_same(found, weights.sum(1), 1e-5)
    assert method.layer is None


def test_bad_input_is_refused(tmp_path: Path) -> None:
    tcav = ours.TCAV(NET, "1", save_path=f"{tmp_path}/")
    twins = [ours.Concept(0, name, [X]) for name in "ab"]
    with refused(InputError, "[0, 0]"):
        tcav.compute_cavs([twins])
    with refused(InputError, "attribute_to_layer_input"):
        tcav.interpret(X, sets(ours), attribute_to_layer_input=True)
