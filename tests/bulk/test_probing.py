import pytest
import torch
from torch import nn

from torchattr.bulk.probing import planned, resolved_by_probe
from torchattr.bulk.settings import BulkSettings
from torchattr.errors import (
    ImageError,
    LayerChoiceWarning,
    LayerError,
    ModelError,
    RegistryError,
    TargetError,
)
from torchattr.models import LoadedModel
from torchattr.runs import ExplainSettings

TWO = ("grad_cam", "saliency")


def resolved(loaded, source, layers=("1",), **options):
    settings = BulkSettings(ExplainSettings(TWO, (), layers), {}, ("top2",), **options)
    return resolved_by_probe(*planned(loaded, settings), settings, source)


def test_shapes_layers_and_targets_are_found_out(loaded, tensors) -> None:
    with pytest.warns(LayerChoiceWarning, match="using layer='1'"):
        found = resolved(loaded, tensors(), ())
    assert found.inputs == (3, 8, 8)
    assert found.arrays == {"grad_cam": (2, 8, 8), "saliency": (2, 8, 8)}
    assert (found.layers, found.targets) == (("1",), ("top 1", "top 2"))
    assert found.threads == torch.get_num_threads()


def test_batches_are_as_large_as_fits_and_no_larger_than_a_shard(loaded, tensors) -> None:
    assert resolved(loaded, tensors()).batch_size == 64
    assert resolved(loaded, tensors(), shard_size=24).batch_size == 16
    assert resolved(loaded, tensors(), batch_size=5).batch_size == 5


def test_less_memory_makes_smaller_batches(loaded, tensors, monkeypatch) -> None:
    memory = "torchattr.methods._perturbation.memory_budget.free_bytes"
    monkeypatch.setattr(memory, lambda device: 100_000)
    few = resolved(loaded, tensors()).batch_size
    assert few < 64
    monkeypatch.setattr(memory, lambda device: 1)
    assert resolved(loaded, tensors()).batch_size == 1


def test_the_first_picture_that_can_be_read_is_taken(loaded, tensors) -> None:
    assert resolved(loaded, tensors(10, broken=(0, 1))).inputs == (3, 8, 8)


def test_a_data_set_of_which_nothing_can_be_read_is_refused(loaded, tensors) -> None:
    with pytest.raises(ImageError, match=r"none of the first 3 pictures .* 0 is broken"):
        resolved(loaded, tensors(3, broken=range(3)))


def test_a_model_that_cannot_be_run_is_refused(tensors) -> None:
    loaded = LoadedModel("wrong", nn.Linear(3, 2), lambda image: image)
    with pytest.raises(ModelError, match="cannot be run on a picture"):
        resolved(loaded, tensors(), ())


def test_settings_are_checked_before_any_picture(loaded) -> None:
    for methods, targets, error in (
        (("grad_cm",), ("top1",), RegistryError),
        (("grad_cam",), ("horse",), TargetError),
    ):
        with pytest.raises(error):
            planned(loaded, BulkSettings(ExplainSettings(methods), {}, targets))
    with pytest.raises(LayerError):
        planned(loaded, BulkSettings(ExplainSettings(("grad_cam",), (), ("none",))))
