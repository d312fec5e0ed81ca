"""Runs from end to end: bits, resumption, refusals, and faults."""

import errno
import multiprocessing
import os
from dataclasses import replace

import numpy as np
import pytest
import torch

import torchattr as ta
from torchattr.bulk.explaining import BatchExplainer
from torchattr.bulk.store import MapStore
from torchattr.bulk.work import NO_LABEL
from torchattr.errors import (
    FolderError,
    InputError,
    LayerChoiceWarning,
    OutOfMemory,
    WorkerError,
)

pytest.importorskip("zarr", "3", reason="stores need Zarr 3, which needs Python 3.11")

METHODS = {"guided_backprop": {}, "grad_cam": {}, "rise": {"n_masks": 8}, "random_cam": {}}


def objects(root) -> dict[str, bytes]:
    """The objects of all arrays, by their path."""
    found = [path for path in root.rglob("*") if path.is_file() and "rows" not in path.parts]
    return {str(path.relative_to(root)): path.read_bytes() for path in found}


def test_maps_are_those_of_explain(run_here, tensors, model, tmp_path) -> None:
    report = run_here(tensors(), ["guided_backprop", "grad_cam"], targets="top2", dtype="float32")
    assert (report.explained, report.is_complete) == (10, True)
    maps = ta.open_maps(report.out)
    inputs = torch.stack([tensors().read(position) for position in range(10)])
    expected = ta.explain(model, inputs, list(maps.arrays), ta.TopK(2), layer="1")
    for name, array in maps.arrays.items():
        assert np.array_equal(array[:], expected[name].sum(2).numpy())
    assert maps.rows.column("targets").to_pylist() == expected.targets.tolist()


@pytest.mark.parametrize("dtype", ["float32", "float16", "uint8"])
def test_the_bits_do_not_depend_on_processes_or_their_order(run_here, tensors, tmp_path, dtype):
    options = {"shard_size": 3, "batch_size": 2, "dtype": dtype, "targets": ["label", "top1"]}
    source = tensors(14, broken=(4, 9, 10, 11))
    whole = run_here(source, METHODS, "whole.zarr", **options).out
    for world in (2, 3, 4):
        for rank in reversed(range(world)):
            run_here(source, METHODS, f"{world}.zarr", rank=rank, world=world, **options)
        assert objects(tmp_path / f"{world}.zarr") == objects(whole)
    run_here(source, METHODS, "leases.zarr", leases=True, workers=1, **options)
    assert objects(tmp_path / "leases.zarr") == objects(whole)


def test_a_rerun_does_only_what_is_left(run_here, tensors, tmp_path) -> None:
    first = run_here(tensors(), rank=0, world=2, shard_size=3)
    assert (first.explained, first.shards_done, first.is_complete) == (6, 2, False)
    second = run_here(tensors(), shard_size=3)
    assert (second.explained, second.is_complete) == (4, True)
    assert run_here(tensors(), shard_size=3).explained == 0


def test_an_interrupted_shard_is_done_again(run_here, tensors, tmp_path) -> None:
    def stop(progress) -> None:
        if progress.done >= 8:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_here(tensors(), shard_size=4, batch_size=2, watch=stop)
    store = MapStore.open(tmp_path / "maps.zarr")
    assert store.tables.done() in ([0], [0, 1])
    assert run_here(tensors(), shard_size=4, batch_size=2).is_complete
    assert run_here(tensors(), out="other.zarr", shard_size=4, batch_size=2).is_complete
    assert objects(tmp_path / "other.zarr") == objects(store.root)


def test_what_cannot_be_read_is_recorded_and_the_rest_goes_on(run_here, loaded, folder) -> None:
    report = run_here(folder, model=loaded, targets=["label", "a"])
    maps = ta.open_maps(report.out)
    assert maps.finished.tolist() == [0, 1, 2, 3, 4]
    row = maps.row("b/5.png")
    assert "not a picture" in row["reason"]
    assert (row["label"], row["targets"]) == (1, None)
    assert np.isnan(maps.arrays["guided_backprop"][5]).all()
    assert maps.row("a/2.png")["path"] == str(folder / "a" / "2.png")


def test_pictures_without_the_label_that_is_asked_for_are_recorded(run_here, tensors) -> None:
    maps = ta.open_maps(run_here(tensors(4, unlabelled=2), targets="label").out)
    assert maps.rows.column("reason").to_pylist() == [None, None, NO_LABEL, None]


def test_another_model_method_or_form_is_refused(run_here, tensors, model) -> None:
    run_here(tensors())
    for options, said in (
        ({"methods": "saliency"}, "methods: {'guided_backprop': {}}, now {'saliency': {}}"),
        ({"dtype": "uint8"}, "dtype: 'float16', now 'uint8'"),
        ({"data": tensors(11)}, "ids of the data set"),
    ):
        with pytest.raises(FolderError, match="was begun with other settings") as caught:
            run_here(**{"data": tensors(), **options})
        assert said in str(caught.value)
    with torch.no_grad():
        model[0].bias += 1
    with pytest.raises(FolderError, match="weights or layers"):
        run_here(tensors(), model=model)


def test_a_full_disk_keeps_what_is_done_and_a_rerun_finishes(
    run_here, tensors, monkeypatch
) -> None:
    flush, calls = os.fsync, []

    def full(handle: int) -> None:
        calls.append(handle)
        if len(calls) > 6:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        flush(handle)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(FolderError, match="free some space and run the same again"):
            run_here(tensors(), shard_size=2, batch_size=2)
    report = run_here(tensors(), shard_size=2, batch_size=2)
    assert 0 < report.explained < 10
    assert report.is_complete


def test_a_folder_that_cannot_be_written_is_a_sentence(run_here, tensors, tmp_path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(FolderError, match="cannot write to"):
        run_here(tensors(), out="file/maps.zarr")


def test_memory_that_runs_out_halves_the_batch(run_here, tensors, monkeypatch, tmp_path) -> None:
    explained = BatchExplainer.explained

    def tight(self, inputs, ids, labels):
        if len(inputs) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return explained(self, inputs, ids, labels)

    monkeypatch.setattr(BatchExplainer, "explained", tight)
    maps = ta.open_maps(run_here(tensors(), batch_size=8).out)
    assert len(maps.finished) == 10
    assert set(maps.rows.column("at_once").to_pylist()) == {2}


def test_memory_for_not_even_one_picture_is_a_sentence(run_here, tensors, monkeypatch) -> None:
    run_here(tensors(), rank=0, world=2, shard_size=4)

    def fail(self, inputs, ids, labels):
        raise torch.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr(BatchExplainer, "explained", fail)
    with pytest.raises(OutOfMemory, match="not even a single picture"):
        run_here(tensors(), shard_size=4)


def test_a_process_that_dies_keeps_what_is_done(run_here, tensors, tmp_path) -> None:
    import signal

    class Deadly(tensors):
        def read(self, position):
            if position == 7 and not (tmp_path / "died").exists():
                (tmp_path / "died").touch()
                os.kill(os.getpid(), signal.SIGKILL)
            return super().read(position)

    options = {"shard_size": 2, "batch_size": 2, "workers": 1}
    with pytest.raises(WorkerError, match="run the same again") as caught:
        run_here(Deadly(), **options)
    # Not only once the error, whose traceback holds them, is deleted.
    assert multiprocessing.active_children() == []
    del caught
    report = run_here(Deadly(), **options)
    assert report.explained < 10
    assert report.is_complete


def test_threads_are_those_of_the_run_and_then_put_back(run_here, tensors, tmp_path) -> None:
    run_here(tensors(), shard_size=4, rank=0, world=2)
    before, seen = torch.get_num_threads(), []
    torch.set_num_threads(before + 1)
    try:
        watch = lambda progress: seen.append(torch.get_num_threads())  # noqa: E731
        run_here(tensors(), shard_size=4, watch=watch)
        assert torch.get_num_threads() == before + 1
    finally:
        torch.set_num_threads(before)
    assert set(seen[:-1]) == {before}


def test_the_layer_that_is_chosen_is_told_once(run_here, tensors) -> None:
    with pytest.warns(LayerChoiceWarning, match="using layer='1'"):
        run_here(tensors(), "grad_cam", layer=(), shard_size=4, rank=0, world=2)
    report = run_here(tensors(), "grad_cam", layer=(), shard_size=4)
    assert ta.open_maps(report.out).record["resolved"]["layers"] == ["1"]


def test_progress_is_told(run_here, tensors) -> None:
    told = []
    run_here(tensors(), shard_size=4, batch_size=2, watch=told.append)
    assert [one.done for one in told] == [2, 4, 6, 8, 10, 10]
    assert (told[-1].in_all, told[-1].total, told[-1].is_over) == (10, 10, True)


def test_images_need_a_transform(run_here, folder) -> None:
    with pytest.raises(InputError, match="pass transform"):
        run_here(folder)


def test_a_module_with_a_transform_takes_images(run_here, folder, loaded) -> None:
    report = run_here(folder, model=loaded.model, transform=loaded.transform)
    assert report.explained == 6


def test_an_empty_name_is_refused(tensors, model) -> None:
    with pytest.raises(InputError, match="out is empty"):
        ta.run(model, tensors(), "saliency", out="")


def test_the_record_says_what_made_the_maps(run_here, tensors, loaded) -> None:
    maps = ta.open_maps(run_here(tensors(), METHODS, model=loaded, reduce="max_abs").out)
    record = maps.record
    assert record["methods"] == METHODS
    assert (record["model"], record["reduce"]) == ("tiny", "max_abs")
    assert len(record["weights"]) == 64
    assert record["versions"]["torch"] == torch.__version__.partition("+")[0]
    assert replace(loaded).class_names == tuple(record["model_class_names"])
