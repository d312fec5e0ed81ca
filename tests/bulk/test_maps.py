import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, Subset

import torchattr as ta
from torchattr.errors import FolderError, ImageError, InputError
from torchattr.evaluate import gini_index

pytest.importorskip("zarr", "3", reason="stores need Zarr 3, which needs Python 3.11")

TWO = ["guided_backprop", "grad_cam"]


@pytest.fixture
def opened(run_here, tensors):
    def make(**options):
        source = tensors(10, broken=(4,))
        return ta.open_maps(run_here(source, TWO, targets="top2", **options).out)

    return make


@pytest.mark.parametrize("dtype", ["float32", "float16", "uint8"])
def test_arrays_are_indexed_like_numpys(opened, dtype) -> None:
    array = opened(dtype=dtype, shard_size=4).arrays["guided_backprop"]
    whole = array[:]
    assert (array.shape, whole.shape, whole.dtype) == ((10, 2, 8, 8), (10, 2, 8, 8), np.float32)
    assert np.isnan(whole[4]).all()
    assert np.isfinite(np.delete(whole, 4, 0)).all()
    for which in (3, -1, slice(2, 7), slice(None, None, 3), [7, 1, 1], [5], slice(0, 0)):
        assert np.array_equal(array[which], whole[which], equal_nan=True)


def test_rows_are_found_by_id_and_position(opened) -> None:
    maps = opened()
    assert maps.row("00003") == maps.row(3) == maps.row(-7)
    assert maps.row(3)["id"] == "00003"
    with pytest.raises(KeyError, match="no picture 'x'"):
        maps.row("x")
    with pytest.raises(IndexError, match="position 10 is out of range for 10"):
        maps.row(10)


def test_it_is_a_data_set_of_pytorch(opened) -> None:
    maps = opened(shard_size=4)
    good = Subset(maps, maps.finished)
    (batch,) = DataLoader(good, batch_size=20)
    assert batch["maps"]["guided_backprop"].shape == (9, 2, 8, 8)
    assert batch["targets"].shape == (9, 2)
    assert batch["label"].tolist() == [position % 3 for position in maps.finished]
    failed = maps[4]
    assert failed["reason"] == "4 is broken"
    assert failed["targets"].tolist() == [-1, -1]
    assert torch.isnan(failed["maps"]["grad_cam"]).all()
    assert len(list(DataLoader(maps, batch_size=4, num_workers=1))) == 3


def test_it_goes_straight_into_a_metric(opened) -> None:
    maps = opened()
    values = gini_index(maps.arrays["guided_backprop"][maps.finished][:, 0])
    assert values.shape == (9,)


def test_a_store_is_opened_while_it_is_written(run_here, tensors) -> None:
    report = run_here(tensors(), TWO, shard_size=3, rank=1, world=2)
    maps = ta.open_maps(report.out)
    assert maps.finished.tolist() == [3, 4, 5, 9]
    assert maps.row(0) == {"position": 0, "reason": "its shard is not done yet"}
    assert np.isnan(maps.arrays["grad_cam"][[0, 1]]).all()
    assert np.isfinite(maps.arrays["grad_cam"][3:6]).all()
    assert maps.position("00009") == 9
    assert "2 of 4 shards done" in repr(maps)


def test_a_store_without_any_shard_is_opened(run_here, tensors) -> None:
    maps = ta.open_maps(run_here(tensors(), TWO, rank=1, world=2).out)
    assert (len(maps), maps.finished.tolist()) == (10, [])


def test_a_panel_shows_the_picture_and_its_maps(run_here, folder, loaded) -> None:
    maps = ta.open_maps(run_here(folder, TWO, model=loaded, targets=["label", "c"]).out)
    drawn = maps.panel("a/2.png", cell=64)
    assert drawn.mode == "RGB"
    assert drawn.size == maps.panel(1, cell=64).size
    with pytest.raises(InputError, match=r"'b/5.png' has no maps: .*not a picture"):
        maps.panel("b/5.png")
    (folder / "a" / "2.png").unlink()
    with pytest.raises(ImageError, match="no such file"):
        maps.panel("a/2.png")


def test_a_panel_of_what_lies_in_no_file_needs_the_picture(opened) -> None:
    maps = opened()
    with pytest.raises(InputError, match="pass image"):
        maps.panel(0)
    assert maps.panel(0, np.zeros((8, 8)), cell=64).mode == "RGB"


def test_several_layers_are_arrays_of_a_group(run_here, tensors) -> None:
    maps = ta.open_maps(run_here(tensors(), "grad_cam", layer=["0", "1"]).out)
    assert list(maps.arrays) == ["grad_cam/0", "grad_cam/1"]
    assert maps.arrays["grad_cam/1"][0].shape == (1, 8, 8)


def test_channels_are_kept_if_asked_for(run_here, tensors) -> None:
    maps = ta.open_maps(run_here(tensors(), "guided_backprop", reduce="none").out)
    assert maps.arrays["guided_backprop"].shape == (10, 1, 3, 8, 8)


def test_a_folder_that_is_no_store_is_refused(tmp_path) -> None:
    with pytest.raises(FolderError, match="holds no store of maps; pass"):
        ta.open_maps(tmp_path)
    with pytest.raises(FolderError, match="does not exist; pass the folder of a store"):
        ta.open_maps(tmp_path / "none")
