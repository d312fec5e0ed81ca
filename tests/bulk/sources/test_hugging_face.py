"""Splits of Hugging Face's own package, made in memory."""

import io
import pickle
from importlib.util import find_spec

import pytest
from PIL import Image

from torchattr.bulk import HuggingFacePictures
from torchattr.errors import ImageError, InputError

if find_spec("datasets") is None:
    pytest.skip("datasets is not installed", allow_module_level=True)

import datasets


def png(color, size=(4, 3)):
    file = io.BytesIO()
    Image.new("RGB", size, color).save(file, "PNG")
    return {"bytes": file.getvalue(), "path": None}


def split(images, **columns):
    kinds = {name: datasets.Value("string") for name in columns}
    kinds |= {"image": datasets.Image()}
    if "label" in columns:
        kinds["label"] = datasets.ClassLabel(names=["cat", "dog"])
    return datasets.Dataset.from_dict(
        {"image": images, **columns}, features=datasets.Features(kinds)
    )


@pytest.fixture
def animals():
    return split([png("red"), png("blue")], label=[1, 0], name=["z", "a"])


def test_rows_are_numbered(animals):
    pictures = HuggingFacePictures(animals)
    assert pictures.ids() == ["000000000", "000000001"]
    assert [pictures.label(position) for position in (0, 1)] == [1, 0]
    assert pictures.class_names() == ["cat", "dog"]
    assert pictures.read(0).getpixel((0, 0)) == (255, 0, 0)
    assert pictures.path(0) is None
    assert pictures.described()["fingerprint"] == animals._fingerprint


def test_a_column_gives_the_ids(animals):
    pictures = HuggingFacePictures(animals, id="name")
    assert pictures.ids() == ["a", "z"]
    assert (pictures.label(0), pictures.read(0).getpixel((0, 0))) == (0, (0, 0, 255))


def test_rows_that_were_shuffled_are_read_as_they_are_now(animals):
    pictures = HuggingFacePictures(animals.select([1, 0]), id="name")
    assert (pictures.label(0), pictures.read(0).getpixel((0, 0))) == (0, (0, 0, 255))


def test_a_transform_of_the_split_is_left_out(animals):
    animals.set_transform(lambda rows: {"image": ["none"] * 2})
    assert HuggingFacePictures(animals).read(0).getpixel((0, 0)) == (255, 0, 0)


def test_files_are_read_as_those_of_a_folder(tmp_path):
    image = Image.new("RGBA", (4, 3), (0, 0, 0, 0))
    image.save(tmp_path / "a.png")
    pictures = HuggingFacePictures(split([str(tmp_path / "a.png")]))
    assert pictures.path(0) == str(tmp_path / "a.png")
    assert pictures.read(0).getpixel((0, 0)) == (255, 255, 255)


@pytest.mark.parametrize("content", [b"", b"none", png("red", (40, 40))["bytes"][:60]])
def test_a_damaged_image_is_an_image_error(content):
    pictures = HuggingFacePictures(split([{"bytes": content, "path": None}, png("red")]))
    with pytest.raises(ImageError, match="000000000: "):
        pictures.read(0)
    assert pictures.read(1).mode == "RGB"


def test_a_missing_image_is_an_image_error():
    with pytest.raises(ImageError, match="000000000: "):
        HuggingFacePictures(split([None, png("red")])).read(0)


def test_names_label_the_rows():
    rows = {"image": [png("red"), png("blue")], "kind": ["dog", "cat"]}
    data = datasets.Dataset.from_dict(rows).cast_column("image", datasets.Image())
    pictures = HuggingFacePictures(data, label="kind")
    assert ([pictures.label(0), pictures.label(1)], pictures.class_names()) == (
        [1, 0],
        ["cat", "dog"],
    )


def test_a_copy_in_a_worker_reads_the_same(animals):
    copy = pickle.loads(pickle.dumps(HuggingFacePictures(animals)))
    assert copy.read(1).getpixel((0, 0)) == (0, 0, 255)


def test_what_is_no_split_is_refused(animals):
    with pytest.raises(InputError, match=r"the splits train; pass one of them, .*\['train'\]"):
        HuggingFacePictures(datasets.DatasetDict(train=animals))
    with pytest.raises(InputError, match="load it without streaming"):
        HuggingFacePictures(animals.to_iterable_dataset())


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"image": "name"}, r"does not hold images; cast it with data\.cast_column\('name'"),
        ({"image": "x"}, "no column 'x'; there are: "),
        ({"id": "x"}, "no column 'x'"),
        ({"label": "name", "class_names": ["b"]}, "the label 'z'"),
    ],
)
def test_a_column_that_does_not_fit_is_refused(animals, options, said):
    with pytest.raises(InputError, match=said):
        HuggingFacePictures(animals, **options)


def test_one_of_several_columns_of_images_must_be_chosen(animals):
    both = animals.add_column("mask", [png("red")] * 2).cast_column("mask", datasets.Image())
    with pytest.raises(InputError, match="2 columns of images, so image must name one of: "):
        HuggingFacePictures(both)
    assert HuggingFacePictures(both, image="mask").read(1).getpixel((0, 0)) == (255, 0, 0)
