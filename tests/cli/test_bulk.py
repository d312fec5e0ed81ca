"""The command `run`: a folder into a store, again, and what it must refuse."""

from pathlib import Path

import pytest
from command import call
from PIL import Image

import torchattr as ta
from torchattr.models.collage import examples

pytest.importorskip("zarr", "3", reason="stores need Zarr 3, which needs Python 3.11")


@pytest.fixture
def data(here) -> Path:
    for number in range(5):
        path = here / "data" / "ab"[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (40, 30), (number * 50, 90, 20)).save(path)
    return here / "data"


def run(*arguments):
    shared = ("--model", "models.py:relu", "--out", "maps.zarr", "--workers", 0)
    return call("run", "data", *shared, *arguments)


def test_a_folder_becomes_a_store(data) -> None:
    result = run(
        *("--method", "guided_backprop", "--method", "grad_cam", "--target", "label"),
        *("--target", "top2", "--reduce", "max-abs", "--keep", "pixels", "--dtype", "uint8"),
    )
    assert result.exit_code == 0, result.output
    assert "Wrote maps of 5 of 5 pictures to" in result.stdout
    assert "5 of 5 pictures" in result.stderr
    maps = ta.open_maps("maps.zarr")
    assert maps.arrays["grad_cam"].shape == (5, 3, 32, 32)
    assert maps.record["reduce"] == "max_abs"


def test_a_run_with_nothing_left_says_so(data) -> None:
    assert run("--method", "saliency").exit_code == 0
    again = run("--method", "saliency")
    assert again.exit_code == 0, again.output
    assert "nothing left to do: all 5 pictures are done already" in again.stderr
    assert "0 of 0" not in again.output
    assert "Nothing was left to do: kept maps of 5 of 5 pictures in" in again.stdout


def test_options_of_methods_reach_their_maps(data) -> None:
    methods = ("--method", "integrated_gradients", "--method", "saliency", "--dtype", "float32")
    result = run(*methods, "--option", "n_steps=3", "--option", "saliency.abs=false")
    assert result.exit_code == 0, result.output
    maps = ta.open_maps("maps.zarr")
    asked = {"integrated_gradients": {"n_steps": 3}, "saliency": {"abs": False}}
    assert maps.record["methods"] == asked
    assert (maps.arrays["saliency"][:] < 0).any()
    other = run(*methods, "--option", "n_steps=4", "--option", "saliency.abs=false")
    assert other.exit_code == 2
    assert "methods" in other.stderr
    unknown = run("--method", "saliency", "--option", "n_mask=4")
    assert unknown.exit_code == 2
    assert "no option 'n_mask' of saliency" in unknown.stderr


def test_options_reach_constructors(data) -> None:
    result = run("--method", "layer_cam", "--method", "lrp", "--option", "lrp.composite=zero")
    assert result.exit_code == 0, result.output
    assert ta.open_maps("maps.zarr").record["methods"]["lrp"] == {"composite": "zero"}


def test_without_a_folder_the_bundled_pictures_are_explained(here) -> None:
    result = call("run", "--method", "saliency", "--out", "maps.zarr", "--workers", 0)
    assert result.exit_code == 0, result.output
    rows = ta.open_maps("maps.zarr").rows
    assert [Path(one).stem for one in rows.column("id").to_pylist()] == sorted(
        one.path.stem for one in examples()
    )


def test_ranks_share_the_work(data) -> None:
    for rank, said in ((0, "other shards are left to other processes"), (1, "")):
        result = run("--method", "saliency", "--shard-size", 2, "--rank", rank, "--world", 2)
        assert result.exit_code == 0, result.output
        assert said in result.stderr
    assert "Wrote maps of 5 of 5 pictures" in result.stdout


def test_what_cannot_be_read_changes_the_exit_code(data) -> None:
    (data / "a" / "0.png").write_bytes(b"no picture")
    result = run("--method", "saliency")
    assert result.exit_code == 1
    assert "Wrote maps of 4 of 5 pictures" in result.stdout
    assert "1 picture has no maps, see the column reason; the first:" in result.stderr


def test_another_method_is_refused_with_the_difference(data) -> None:
    assert run("--method", "saliency").exit_code == 0
    result = run("--method", "grad_cam")
    assert result.exit_code == 2
    assert "methods: {'saliency': {}}, now {'grad_cam': {}}" in result.stderr.replace("\n", " ")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--method", "salency"), "saliency"),
        (("--method", "saliency", "--target", "present"), "the same for all"),
        (("--method", "saliency", "--target", "drak"), "a name, an index, top3, or label"),
        (("--method", "saliency", "--target", -1), "target -1 is out of range for a model with 3"),
        (("--method", "saliency", "--target", 3), "allowed are 0 to 2"),
        (("--method", "saliency", "--target", "top4"), "allowed are top1 to top3"),
        (("--method", "saliency", "--reduce", "mean"), "reduce must be one of"),
        (("--method", "saliency", "--rank", 3, "--world", 2), "rank must be below world"),
        (("--method", "saliency", "--dtype", "int4"), "dtype must be one of"),
        (("--method", "saliency", "--engine", "dask"), "--engine must be own or ray, got 'dask'"),
        (("--method", "saliency", "--actors", 2), "--actors does not go with --engine own"),
        (("--method", "saliency", "--engine", "ray", "--rank", 0), "--rank does not go with"),
        (("--method", "saliency", "--engine", "ray", "--leases"), "--leases does not go with"),
    ],
)
def test_wrong_settings_are_sentences(data, arguments, said) -> None:
    result = run(*arguments)
    assert result.exit_code == 2
    assert said in result.stderr
    assert not Path("maps.zarr").exists()


def test_a_file_where_a_store_is_made_is_a_sentence(data) -> None:
    result = call("run", "data", "--method", "saliency", "--out", "photo.png", "--workers", 0)
    assert result.exit_code == 2
    assert "photo.png is a file; pass the folder of a store of maps" in result.stderr


def test_a_data_set_that_is_not_there_is_a_sentence(here) -> None:
    result = call("run", "nothing", "--method", "saliency", "--out", "maps.zarr")
    assert result.exit_code == 2
    assert "is no such file or folder" in result.stderr
