import io
import json
import os
import pickle
import tarfile

import pytest
from PIL import Image

from torchattr.bulk import TarPictures
from torchattr.errors import ImageError, InputError


def png(color="red"):
    file = io.BytesIO()
    Image.new("RGB", (4, 3), color).save(file, "PNG")
    return file.getvalue()


def tar_of(path, files):
    with tarfile.open(path, "w") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return path


@pytest.fixture
def shards(tmp_path):
    tar_of(tmp_path / "1.tar", {"b.png": png("blue"), "b.cls": b"7\n", "a.png": png()})
    tar_of(tmp_path / "0.tar", {"c.cls": b"", "c.png": png("lime"), "notes.txt": b"none"})
    return tmp_path


def test_ids_are_the_tar_and_the_sample(shards):
    assert TarPictures(shards / "{0,1}.tar").ids() == ["0/c", "1/a", "1/b"]


def test_pictures_are_read_in_any_order(shards):
    tars = TarPictures(shards / "*.tar")
    pixels = [tars.read(position).getpixel((0, 0)) for position in (2, 0, 1)]
    assert pixels == [(0, 0, 255), (0, 255, 0), (255, 0, 0)]
    assert tars.path(2) == str(shards / "1.tar")


def test_labels_are_numbers_or_missing(shards):
    tars = TarPictures(shards / "*.tar")
    assert [tars.label(position) for position in range(3)] == [None, None, 7]


def test_labels_may_be_names(tmp_path):
    tar = tar_of(tmp_path / "a.tar", {"a.png": png(), "a.txt": b"dog"})
    named = TarPictures(tar, label="txt", class_names=["cat", "dog"])
    assert (named.label(0), named.class_names()) == (1, ["cat", "dog"])
    with pytest.raises(InputError, match=r"a/a has the label 'dog', which is not a number"):
        TarPictures(tar, label="txt").label(0)


def test_labels_may_be_entries_of_json(tmp_path):
    said = {"class": 3, "caption": "a dog"}
    files = {"a.png": png(), "a.json": json.dumps(said).encode(), "b.png": png(), "b.json": b"["}
    tars = TarPictures(tar_of(tmp_path / "a.tar", files), label="json:class")
    assert tars.label(0) == 3
    with pytest.raises(InputError, match="a/b: the label is no JSON object"):
        tars.label(1)


def test_a_picture_is_chosen_among_several(tmp_path):
    tar = tar_of(tmp_path / "a.tar", {"a.left.png": png(), "a.right.png": png("blue")})
    with pytest.raises(InputError, match=r"the sample a has several pictures, left\.png, right"):
        TarPictures(tar)
    assert TarPictures(tar, picture="right.png").read(0).getpixel((0, 0)) == (0, 0, 255)
    with pytest.raises(InputError, match="holds no picture"):
        TarPictures(tar, picture="jpg")


def test_tars_of_one_name_are_refused(tmp_path):
    for folder in ("train", "val"):
        (tmp_path / folder).mkdir()
        tar_of(tmp_path / folder / "0.tar", {"a.png": png()})
    with pytest.raises(InputError, match="the id '0/a' more than once"):
        TarPictures(tmp_path / "{train,val}/0.tar")


@pytest.mark.parametrize("content", [b"", b"none", png()[:45]])
def test_a_damaged_picture_is_an_image_error(tmp_path, content):
    tars = TarPictures(tar_of(tmp_path / "a.tar", {"a.png": content, "b.png": png()}))
    with pytest.raises(ImageError, match="a/a: "):
        tars.read(0)
    assert tars.read(1).mode == "RGB"


def test_a_tar_that_was_cut_off_is_refused_rather_than_read_in_part(tmp_path):
    tar = tar_of(tmp_path / "a.tar", {"a.png": png(), "b.png": png()})
    tar.write_bytes(tar.read_bytes()[: 3 * 512 + 30])
    with pytest.raises(ImageError, match=r"a\.tar: damaged"):
        TarPictures(tar)


def test_a_tar_that_has_gone_is_an_image_error(shards):
    tars = TarPictures(shards / "1.tar")
    os.unlink(shards / "1.tar")
    with pytest.raises(ImageError, match=r"1/a: cannot be read .*No such file"):
        tars.read(0)


def test_a_copy_in_a_worker_reads_the_same_and_is_small(shards):
    pickled = pickle.dumps(TarPictures(shards / "*.tar"))
    assert pickle.loads(pickled).read(2).getpixel((0, 0)) == (0, 0, 255)


# WebDataset leaves files for the garbage collector to close.
@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_tars_that_webdataset_writes_are_read(tmp_path):
    webdataset = pytest.importorskip("webdataset")
    with webdataset.TarWriter(str(tmp_path / "a.tar")) as writer:
        for number, color in enumerate(("red", "blue")):
            picture = Image.new("RGB", (4, 3), color)
            writer.write({"__key__": f"x/{number}", "png": picture, "cls": number + 5})
    tars = TarPictures(tmp_path / "a.tar")
    assert tars.ids() == ["a/x/0", "a/x/1"]
    assert (tars.label(1), tars.read(1).getpixel((0, 0))) == (6, (0, 0, 255))
    theirs = webdataset.WebDataset(str(tmp_path / "a.tar"), shardshuffle=False)
    assert [f"a/{sample['__key__']}" for sample in theirs] == tars.ids()
