import os
import pickle

import pytest
import torch
from PIL import Image, UnidentifiedImageError
from torch.utils.data import ConcatDataset, Subset, TensorDataset
from torchvision.datasets import CIFAR10, FakeData, ImageFolder
from torchvision.transforms import ToTensor

from torchattr.bulk import DatasetPictures
from torchattr.errors import ImageError, InputError, InputTypeError


@pytest.fixture
def folder(tmp_path):
    for name, color in (("dog/1.png", "red"), ("cat/2.png", "blue"), ("dog/0.png", "lime")):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.new("RGB", (4, 3), color).save(tmp_path / name)
    return ImageFolder(tmp_path)


class Failing:
    """Three items, of which the second raises."""

    def __init__(self, error):
        self.error = error

    def __len__(self):
        return 3

    def __getitem__(self, index):
        if index == 1:
            raise self.error
        return Image.new("RGB", (2, 2)), index


def test_a_folder_of_torchvision_has_its_paths_as_ids(folder):
    pictures = DatasetPictures(folder)
    assert pictures.ids() == ["cat/2.png", "dog/0.png", "dog/1.png"]
    assert [pictures.label(position) for position in range(3)] == [0, 1, 1]
    assert pictures.class_names() == ["cat", "dog"]
    assert pictures.read(2).getpixel((0, 0)) == (255, 0, 0)
    assert pictures.path(0) == os.path.join(folder.root, "cat/2.png")
    assert pictures.described() == {"kind": "ImageFolder", "folder": os.path.abspath(folder.root)}


def test_a_subset_keeps_the_ids_of_the_whole(folder):
    pictures = DatasetPictures(Subset(Subset(folder, [2, 0, 1]), [0, 1]))
    assert pictures.ids() == ["cat/2.png", "dog/1.png"]
    assert [pictures.label(position) for position in (0, 1)] == [0, 1]
    assert pictures.read(1).getpixel((0, 0)) == (255, 0, 0)
    assert pictures.path(1).endswith("dog/1.png")


def test_a_transform_of_the_data_set_makes_inputs(folder):
    folder.transform = ToTensor()
    assert torch.equal(DatasetPictures(folder).read(2)[:, 0, 0], torch.tensor([1.0, 0, 0]))


def test_items_without_files_are_numbered():
    pictures = DatasetPictures(FakeData(11, (3, 4, 4), 5))
    assert pictures.ids()[2] == "000000002"
    assert (pictures.path(2), pictures.class_names()) == (None, None)
    assert pictures.label(2) == int(FakeData(11, (3, 4, 4), 5)[2][1])
    assert pictures.read(2).tobytes() == FakeData(11, (3, 4, 4), 5)[2][0].tobytes()


def test_a_data_set_that_was_joined_is_numbered(folder):
    pictures = DatasetPictures(ConcatDataset([folder, folder]))
    assert len(pictures.ids()) == 6
    assert pictures.label(5) == 1


def test_ids_labels_and_names_can_be_given():
    data = TensorDataset(torch.arange(3.0).view(3, 1, 1, 1))
    pictures = DatasetPictures(data, ids=[30, 10, 20], labels=["b", "a", None])
    assert pictures.ids() == ["10", "20", "30"]
    assert [pictures.read(position).item() for position in range(3)] == [1, 2, 0]
    assert [pictures.label(position) for position in range(3)] == [0, None, 1]
    named = DatasetPictures(data, labels=[0, 1, 1], class_names=["dark", "light"])
    assert named.class_names() == ["dark", "light"]


def test_targets_are_read_without_the_items():
    data = CIFAR10.__new__(CIFAR10)
    data.targets, data.classes, data.root = [1, 0], ["plane", "car"], "cifar"
    type(data).__len__, length = lambda self: 2, type(data).__len__
    try:
        pictures = DatasetPictures(data)
    finally:
        type(data).__len__ = length
    assert [pictures.label(position) for position in (0, 1)] == [1, 0]


def test_a_list_of_items_is_a_data_set():
    assert DatasetPictures([Image.new("RGB", (4, 4))]).label(0) is None


@pytest.mark.parametrize(
    "error", [OSError("truncated"), UnidentifiedImageError("x"), RuntimeError("bad"), SyntaxError()]
)
def test_a_damaged_item_is_an_image_error(error):
    pictures = DatasetPictures(Failing(error))
    with pytest.raises(ImageError, match="000000001: "):
        pictures.read(1)
    assert pictures.read(2).mode == "RGB"


@pytest.mark.parametrize("error", [TypeError, KeyError, AttributeError])
def test_a_fault_of_the_data_set_itself_is_not_hidden(error):
    with pytest.raises(error):
        DatasetPictures(Failing(error("x"))).read(1)


def test_an_item_that_is_no_image_is_refused():
    with pytest.raises(InputTypeError, match=r"000000000: an image of data must be .* got str"):
        DatasetPictures([("a.png", 1)]).read(0)


@pytest.mark.parametrize(
    ("data", "options", "said"),
    [
        (iter([1]), {}, "must be a map-style data set"),
        ([], {}, "holds no picture"),
        ([1, 2], {"ids": ["a"]}, "ids has 1 entries for 2 items"),
        ([1, 2], {"labels": [1]}, "labels has 1 entries for 2 items"),
        ([1, 2], {"ids": ["a", "a"]}, "the id 'a' more than once"),
        ([1], {"labels": ["x"], "class_names": ["y"]}, "the label 'x'"),
    ],
)
def test_what_is_no_data_set_is_refused(data, options, said):
    with pytest.raises(InputError, match=said):
        DatasetPictures(data, **options)


def test_a_label_that_only_the_item_has_must_be_a_number():
    with pytest.raises(InputError, match="000000000 has the label 'dog', which is not a number"):
        DatasetPictures([(Image.new("RGB", (4, 4)), "dog")]).label(0)


def test_a_copy_in_a_worker_reads_the_same(folder):
    copy = pickle.loads(pickle.dumps(DatasetPictures(folder)))
    assert (copy.ids()[2], copy.read(2).getpixel((0, 0))) == ("dog/1.png", (255, 0, 0))
