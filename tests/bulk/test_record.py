import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import torchattr as ta
from torchattr.bulk.map_form import MapForm
from torchattr.bulk.record import COMPARED, Resolved, check_same, complete, ids_digest, requested
from torchattr.bulk.settings import BulkSettings
from torchattr.errors import FolderError
from torchattr.runs import ExplainSettings

SETTINGS = BulkSettings(ExplainSettings(("rise", "grad_cam")), {"rise": {"n_masks": 8}})
RESOLVED = Resolved((3, 8, 8), {"rise": (1, 8, 8)}, ("top 1",), ("1",), "softmax", 4, 1)


@pytest.fixture
def record(loaded, tensors):
    def make(settings=SETTINGS, of=None, source=None):
        source = source or tensors()
        return requested(of or loaded, settings, source, source.ids(), None)

    return make


def differences(begun, now) -> str:
    with pytest.raises(FolderError) as caught:
        check_same(Path("maps.zarr"), complete(begun, RESOLVED), now)
    return str(caught.value)


def test_it_is_plain_data_and_comes_back(record) -> None:
    whole = complete(record(), RESOLVED)
    assert json.loads(json.dumps(whole)) == whole
    assert Resolved.of(whole) == RESOLVED


def test_the_same_run_is_the_same(record) -> None:
    check_same(Path("maps.zarr"), complete(record(), RESOLVED), record())


def test_all_that_maps_depend_on_is_recorded(record) -> None:
    assert set(COMPARED) <= set(record())


CHANGES = {
    "methods": {"explain": ExplainSettings(("grad_cam",)), "options": {}},
    "methods: {'grad_cam'": {"options": {"rise": {"n_masks": 9}}},
    "layers": {"explain": ExplainSettings(("rise", "grad_cam"), (), ("0",))},
    "rules": {"explain": ExplainSettings(("rise", "grad_cam"), (), (), {"gelu": "guided"})},
    "composite": {"explain": ExplainSettings(("rise", "grad_cam"), composite="zero")},
    "targets: ['top1'], now ['label']": {"targets": ("label",)},
    "reduction of channels: 'sum', now 'luma'": {"form": MapForm("luma")},
    "resolution of maps": {"form": MapForm("sum", "pixels")},
    "dtype: 'float16', now 'uint8'": {"dtype": "uint8"},
    "shard size: 256, now 8": {"shard_size": 8},
    "batch size: 4, now 2": {"batch_size": 2},
    "seed: 0, now 1": {"seed": 1},
}


@pytest.mark.parametrize("said", CHANGES)
def test_another_setting_is_named(record, said) -> None:
    assert said in differences(record(), record(replace(SETTINGS, **CHANGES[said])))


def test_other_weights_are_found(record, loaded) -> None:
    before = record()
    with torch.no_grad():
        loaded.model[0].bias += 1
    assert "weights or layers" in differences(before, record())


def test_another_preprocessing_is_found(record, loaded) -> None:
    other = replace(loaded, transform=torch.nn.Identity())
    assert "preprocessing" in differences(record(), record(of=other))


def test_another_meaning_of_scores_is_found(record, loaded) -> None:
    assert "meaning of the scores" in differences(record(), record(of=loaded.meaning("sigmoid")))


def test_other_ids_are_found(record, tensors) -> None:
    assert "ids of the data set" in differences(record(), record(source=tensors(11)))


def test_other_versions_are_found(record) -> None:
    before = record()
    before["versions"] = {**before["versions"], "torch": "1.0"}
    assert "versions: {" in differences(before, record())


def test_the_batch_size_that_was_found_out_may_be_asked_for(record) -> None:
    begun = complete(record(), RESOLVED)
    check_same(Path("maps.zarr"), begun, record(replace(SETTINGS, batch_size=4)))


def test_another_backend_is_found(record) -> None:
    before = record()
    with ta.backend("torch"):
        assert "kernel backend: 'auto', now 'torch'" in differences(before, record())


def test_ids_are_told_apart_from_their_parts() -> None:
    assert ids_digest(["ab", "c"]) != ids_digest(["a", "bc"])
    assert ids_digest(["\udcff"]) != ids_digest(["\udcfe"])
