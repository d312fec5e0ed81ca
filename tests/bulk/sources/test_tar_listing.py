import io
import tarfile

import pytest

from torchattr.bulk.sources.tar_listing import found_tars, samples_of
from torchattr.errors import ImageError, InputError


def tar_of(path, *files, mode="w", kind=tarfile.GNU_FORMAT):
    with tarfile.open(path, mode, format=kind) as tar:
        for name, content in files:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return str(path)


def content_of(tar, place):
    with open(tar, "rb") as file:
        file.seek(place[0])
        return file.read(place[1])


@pytest.mark.parametrize("kind", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_files_of_a_sample_share_the_stem_of_their_names(tmp_path, kind):
    long = f"{'x' * 90}/{'y' * 90}"
    files = [
        ("./a.JPG", b"picture"), ("a.cls", b"3"), ("b/a.seg.png", b"mask"), (f"{long}.jpg", b"far"),
        ("b/.hidden", b""), ("README", b""),
    ]  # fmt: skip
    tar = tar_of(tmp_path / "a.tar", *files, kind=kind)
    found = samples_of(tar)
    assert {key: list(files) for key, files in found.items() if files} == {
        "a": ["jpg", "cls"],
        "b/a": ["seg.png"],
        long: ["jpg"],
    }
    assert content_of(tar, found["a"]["cls"]) == b"3"
    assert content_of(tar, found["b/a"]["seg.png"]) == b"mask"
    assert content_of(tar, found[long]["jpg"]) == b"far"


def test_an_empty_tar_has_no_samples(tmp_path):
    assert samples_of(tar_of(tmp_path / "a.tar")) == {}


def test_a_file_that_occurs_twice_is_named(tmp_path):
    tar = tar_of(tmp_path / "a.tar", ("a.jpg", b"1"), ("b.jpg", b"2"), ("a.jpg", b"3"))
    with pytest.raises(InputError, match=r"a\.tar holds a\.jpg twice"):
        samples_of(tar)


@pytest.mark.parametrize("cut", ["compressed", "text", "empty", "header", "damaged", "missing"])
def test_a_tar_that_cannot_be_listed_is_an_image_error(tmp_path, cut):
    path = tmp_path / "a.tar"
    if cut == "compressed":
        tar_of(path, ("a.jpg", b"1"), mode="w:gz")
    elif cut == "header":
        tar_of(path, ("a.jpg", b"1" * 600), ("b.jpg", b"2"))
        path.write_bytes(path.read_bytes()[: 3 * 512 + 100])
    elif cut == "damaged":
        tar_of(path, ("a.jpg", b"1"), ("b.jpg", b"2"), ("c.jpg", b"3"))
        content = bytearray(path.read_bytes())
        content[2 * 512 + 10] = 255
        path.write_bytes(content)
    elif cut != "missing":
        path.write_text("" if cut == "empty" else "no tar at all" * 100)
    with pytest.raises(ImageError, match=r"a\.tar: (damaged, compressed or no tar|cannot be read)"):
        samples_of(str(path))


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("{a,b}/{0..1}.tar", ["a/0.tar", "a/1.tar", "b/0.tar", "b/1.tar"]),
        ("{098..101}.tar", ["098.tar", "099.tar", "100.tar", "101.tar"]),
        (["b.tar", "a.tar", "b.tar"], ["b.tar", "a.tar"]),
    ],
)
def test_braces_stand_for_several_names(pattern, names):
    assert found_tars(pattern) == names


def test_a_pattern_is_searched(tmp_path):
    for name in ("b", "a"):
        tar_of(tmp_path / f"{name}.tar")
    assert found_tars(tmp_path / "*.tar") == [str(tmp_path / "a.tar"), str(tmp_path / "b.tar")]
    with pytest.raises(ImageError, match="matches no tar"):
        found_tars(tmp_path / "c*.tar")
