"""Actors of a local Ray of two workers: bit for bit the store of `run`, also after kills."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import torchattr as ta
from torchattr.bulk import Pictures, ShardWorker, run_on_ray
from torchattr.bulk.ray_engine import _AnsweringWorker, _pictures
from torchattr.errors import FolderError, PackageError, RegistryError, WorkerError

pytest.importorskip("zarr", "3", reason="stores need Zarr 3, which needs Python 3.11")

OPTIONS: dict[str, Any] = {"shard_size": 4, "batch_size": 2, "workers": 0, "layer": "1"}


def same(one: Path, other: Path) -> None:
    first, second = ta.open_maps(one), ta.open_maps(other)
    assert first.rows.column("id").to_pylist() == second.rows.column("id").to_pylist()
    for name in first.arrays:
        found = first.arrays[name][:], second.arrays[name][:]
        assert np.array_equal(*found, equal_nan=True)


def test_a_worker_explains_the_shards_of_its_batches(tmp_path, run_here, tensors, model):
    worker = ShardWorker(
        model, tensors(10), "guided_backprop", out=tmp_path / "own.zarr", **OPTIONS
    )
    answers = [worker({"shard": np.array(shards)}) for shards in ([2, 0], [1, 1])]
    assert [one["pictures"].tolist() for one in answers] == [[2, 4], [4, 0]]
    run_here(tensors(10), **OPTIONS)
    same(tmp_path / "own.zarr", tmp_path / "maps.zarr")


def test_a_worker_loads_a_model_by_name_once(tmp_path, folder):
    worker = ShardWorker(
        "demo", folder, "saliency", out=tmp_path / "a.zarr", shard_size=4, workers=0
    )
    assert worker({"shard": np.array([1])})["pictures"].tolist() == [2]


def test_errors_of_a_worker_are_part_of_its_answer(tmp_path, model, capfd):
    options = {**OPTIONS, "out": tmp_path / "own.zarr"}
    lost = _AnsweringWorker(model, Failing("raises"), "saliency", **options)
    with pytest.raises(WorkerError, match=r"failed with KeyError \('lost'\)"):
        _pictures({"pictures": 0, "error": lost({"shard": np.array([1])})["error"][0]})
    assert "Traceback" in capfd.readouterr().err
    unknown = _AnsweringWorker(model, OfNumbers(), "no_method", **options)
    with pytest.raises(RegistryError, match="no_method"):
        _pictures({"pictures": 0, "error": unknown({"shard": np.array([1])})["error"][0]})
    assert capfd.readouterr().err == ""
    whole = _AnsweringWorker(model, OfNumbers(), "rise", **{**options, "out": tmp_path / "b.zarr"})
    answer = whole({"shard": np.array([2])})
    assert _pictures({"pictures": answer["pictures"][0], "error": answer["error"][0]}) == 2


def test_a_missing_package_is_named(tmp_path, folder, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "ray.data", None)
    with pytest.raises(PackageError, match=r"pip install 'torchattr\[ray\]'"):
        run_on_ray("demo", folder, "saliency", out=tmp_path / "a.zarr")


class OfNumbers(Pictures):
    """Ten pictures that their numbers determine; what reads number 5 for the first time dies."""

    def __init__(self, mark: str = "") -> None:
        self.mark = mark

    def ids(self) -> list[str]:
        return [f"{number:05d}" for number in range(10)]

    def read(self, number: int) -> torch.Tensor:
        if number == 5 and self.mark and not os.path.exists(self.mark):
            Path(self.mark).touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return torch.rand(3, 8, 8, generator=torch.Generator().manual_seed(number))


class Failing(OfNumbers):
    """Pictures of which number 5 cannot be read."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.how = how

    def described(self) -> dict[str, str]:
        return {"kind": "the same whatever happens"}

    def read(self, number: int) -> torch.Tensor:
        if number == 5 and self.how == "raises":
            raise KeyError("lost")
        if number == 5 and self.how == "dies":
            os.kill(os.getpid(), signal.SIGKILL)
        return super().read(number)


@pytest.fixture(scope="module")
def ray() -> Iterator[Any]:
    package = pytest.importorskip("ray")
    pytest.importorskip("ray.data")
    package.cloudpickle.register_pickle_by_value(sys.modules[__name__])
    package.init(num_cpus=2, include_dashboard=False, object_store_memory=100 * 2**20)
    yield package
    package.shutdown()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.usefixtures("ray")
def test_actors_continue_a_run_though_one_is_killed(tmp_path, run_here, model):
    """One test for all, since Ray takes seconds to start each actor."""
    methods, data = ["guided_backprop", "rise"], OfNumbers(str(tmp_path / "killed"))
    run_here(OfNumbers(), methods, "ray.zarr", shards=[0], **OPTIONS)
    options = {**OPTIONS, "out": tmp_path / "ray.zarr", "actors": 2}
    report = run_on_ray(model, data, methods, **options)
    assert (tmp_path / "killed").exists()
    assert (report.explained, report.is_complete) == (6, True)
    run_here(OfNumbers(), methods, **OPTIONS)
    same(tmp_path / "ray.zarr", tmp_path / "maps.zarr")
    with pytest.raises(FolderError, match="begun with other settings"):
        run_on_ray(model, data, "saliency", **options)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.usefixtures("ray")
@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("raises", r"failed with KeyError \('lost'\); shards that are done are kept"),
        ("dies", "actors of Ray cannot go on .*; shards that are done are kept"),
    ],
)
def test_what_goes_wrong_in_actors_is_a_sentence(tmp_path, model, how, said, monkeypatch):
    monkeypatch.setattr("torchattr.bulk.ray_engine._RETRIES", 1)
    options = {**OPTIONS, "out": tmp_path / "ray.zarr", "actors": 1}
    with pytest.raises(WorkerError, match=said):
        run_on_ray(model, Failing(how), "saliency", **options)
    assert run_on_ray(model, Failing("reads"), "saliency", **options).is_complete
