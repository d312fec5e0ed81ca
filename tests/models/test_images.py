import warnings

import numpy as np
import pytest
from PIL import Image

from torchattr.errors import ImageError
from torchattr.models import find_images, read_image


def save(path, mode="RGB", size=(6, 4), **options):
    Image.new(mode, size).save(path, **options)
    return path


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"])
def test_every_mode_becomes_rgb(tmp_path, mode):
    image = read_image(save(tmp_path / "a.png", mode))
    assert (image.mode, image.size) == ("RGB", (6, 4))


@pytest.mark.parametrize("mode", ["CMYK", "F", "I", "LAB"])
def test_modes_of_tiff(tmp_path, mode):
    assert read_image(save(tmp_path / "a.tif", mode)).mode == "RGB"


def test_sixteen_bits_keep_their_brightness(tmp_path):
    values = np.array([[0, 257, 128 * 257, 65535]], np.uint16)
    Image.fromarray(values).save(tmp_path / "a.png")
    np.testing.assert_array_equal(
        np.asarray(read_image(tmp_path / "a.png"))[0, :, 0], [0, 1, 128, 255]
    )


def test_floats_are_taken_as_zero_to_one(tmp_path):
    Image.fromarray(np.array([[0.0, 0.5, 1.0]], np.float32)).save(tmp_path / "a.tif")
    np.testing.assert_array_equal(
        np.asarray(read_image(tmp_path / "a.tif"))[0, :, 0], [0, 128, 255]
    )


def test_floats_that_are_not_numbers_are_refused(tmp_path):
    Image.fromarray(np.array([[0.0, np.nan]], np.float32)).save(tmp_path / "a.tif")
    with pytest.raises(ImageError, match="NaN"):
        read_image(tmp_path / "a.tif")


def test_transparent_pixels_are_white(tmp_path):
    Image.new("RGBA", (2, 2), (10, 20, 30, 0)).save(tmp_path / "a.png")
    assert read_image(tmp_path / "a.png").getpixel((0, 0)) == (255, 255, 255)


def test_a_transparent_palette_entry_is_white(tmp_path):
    image = Image.new("P", (2, 1))
    image.putpalette([0, 0, 0, 200, 0, 0])
    image.putpixel((1, 0), 1)
    image.save(tmp_path / "a.png", transparency=0)
    pixels = np.asarray(read_image(tmp_path / "a.png"))[0]
    np.testing.assert_array_equal(pixels, [[255, 255, 255], [200, 0, 0]])


def test_exif_orientation_is_applied(tmp_path):
    image = Image.new("RGB", (6, 4))
    exif = image.getexif()
    exif[0x0112] = 6
    image.save(tmp_path / "a.jpg", exif=exif)
    assert read_image(tmp_path / "a.jpg").size == (4, 6)


@pytest.mark.parametrize("suffix", ["png", "jpg", "gif", "webp", "tif", "bmp"])
def test_truncated_files_are_named(tmp_path, suffix):
    path = tmp_path / f"a.{suffix}"
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    Image.fromarray(noise).save(path)
    path.write_bytes(path.read_bytes()[:-3000])
    with pytest.raises(ImageError, match=rf"a\.{suffix}: "):
        read_image(path)


def test_what_is_no_picture_is_named(tmp_path):
    (tmp_path / "a.jpg").write_text("hello")
    (tmp_path / "empty.png").write_bytes(b"")
    for name in ("a.jpg", "empty.png"):
        with pytest.raises(ImageError, match=f"{name}: not a picture"):
            read_image(tmp_path / name)


def test_missing_files_and_folders_are_named(tmp_path):
    with pytest.raises(ImageError, match="no such file"):
        read_image(tmp_path / "none.png")
    with pytest.raises(ImageError, match="is a folder"):
        read_image(tmp_path)


@pytest.mark.parametrize("pixels", [20, 15])
def test_decompression_bombs_are_refused_and_filters_are_left_alone(tmp_path, monkeypatch, pixels):
    path = save(tmp_path / "a.png", size=(6, 5))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", pixels)
    before = list(warnings.filters)
    with pytest.raises(ImageError, match="decompression bomb"):
        read_image(path)
    assert warnings.filters == before
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 14)
    with pytest.raises(ImageError, match="decompression bomb"):
        read_image(path)


def test_find_images_in_folders_files_and_patterns(tmp_path):
    for name in ("10.png", "2.PNG", "note.txt", "b/3.jpg", "b/c/4.jpg"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"x")

    def names(*paths):
        return [p.relative_to(tmp_path).as_posix() for p in find_images(paths)]

    assert names(tmp_path) == ["2.PNG", "10.png"]
    assert names(str(tmp_path / "**" / "*.jpg")) == ["b/3.jpg", "b/c/4.jpg"]
    assert names(tmp_path / "note.txt") == ["note.txt"]
    assert names(tmp_path / "10.png", tmp_path) == ["10.png", "2.PNG"]
    assert find_images(str(tmp_path / "10.png")) == [tmp_path / "10.png"]


def test_names_that_look_like_patterns_are_files_first(tmp_path):
    path = save(tmp_path / "a[1].png")
    assert find_images([path]) == [path]


@pytest.mark.parametrize(
    ("given", "message"),
    [("none.png", "no such file or folder"), ("*.png", "matches no picture"), ("e", "no picture")],
)
def test_finding_nothing_is_an_error(tmp_path, given, message):
    (tmp_path / "e").mkdir()
    with pytest.raises(ImageError, match=message):
        find_images([tmp_path / given])


def test_an_empty_list_is_an_error():
    with pytest.raises(ImageError, match="paths is empty"):
        find_images([])
