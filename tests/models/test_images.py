import struct
import warnings
import zlib

import numpy as np
import pytest
from PIL import Image

from torchattr.errors import ImageError
from torchattr.models import BrightnessWarning, find_images, read_image


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


def test_a_picture_that_is_not_finite_is_named(tmp_path):
    for value in (np.nan, np.inf, -np.inf):
        Image.fromarray(np.array([[0.0, value]], np.float32)).save(tmp_path / "a.tif")
        with pytest.raises(ImageError, match=r"a\.tif: .* NaN or infinite"):
            read_image(tmp_path / "a.tif")


def grey(path, values):
    """Read an array that was saved as a picture."""
    Image.fromarray(values).save(path)
    return np.asarray(read_image(path))[..., 0]


@pytest.mark.parametrize("suffix", ["png", "tif"])
@pytest.mark.parametrize(("bits", "dtype"), [(8, "u2"), (10, "u2"), (12, "u2"), (12, "i4")])
def test_fewer_bits_than_the_file_has_are_stretched_with_a_warning(tmp_path, bits, dtype, suffix):
    most = 2**bits - 1
    values = np.array([[0, most // 2, most]], dtype)
    if (dtype, suffix) == ("i4", "png"):
        values = values.astype("u2")
    with pytest.warns(BrightnessWarning, match=rf"a\.{suffix}: .* have {bits} bits"):
        found = grey(tmp_path / f"a.{suffix}", values)
    np.testing.assert_allclose(found[0], [0, 127.5, 255], atol=0.6)


@pytest.mark.parametrize("dtype", [np.float32, np.int32, np.int16])
def test_values_that_are_no_grey_levels_are_stretched_with_a_warning(tmp_path, dtype):
    values = np.linspace(-1000, 2000, 3000).reshape(50, 60).astype(dtype)
    # Metal and values outside the scanner must not darken the rest.
    values[0, :3], values[1, :3] = -30000, 30000
    image = values.astype(np.int32) if dtype == np.int16 else values
    with pytest.warns(BrightnessWarning, match=r"a\.tif: values from -30000 to 30000 are not grey"):
        found = grey(tmp_path / "a.tif", image)
    black, white = np.percentile(values, (0.5, 99.5))
    expected = np.clip((values - black) / (white - black), 0, 1) * 255
    np.testing.assert_allclose(found, expected, atol=0.51)
    assert 120 < found.mean() < 136


@pytest.mark.parametrize("most", [1.5, 4.0, 300.0, 70000.0])
def test_floats_of_another_range_are_not_black(tmp_path, most):
    with pytest.warns(BrightnessWarning):
        found = grey(tmp_path / "a.tif", np.linspace(0, most, 400, dtype=np.float32)[None])
    assert 120 < found.mean() < 136


def test_grey_levels_need_no_warning(tmp_path):
    for values in (
        np.array([[0, 65535]], "u2"),
        np.array([[0, 5000]], "u2"),
        np.zeros((1, 2), "u2"),
        np.zeros((1, 2), "f4"),
        np.array([[0, 1]], "f4"),
        np.array([[0, 255]], "f4"),
    ):
        found = grey(tmp_path / "a.tif", values)
        assert found[0, 1] in (0, 19, 255)


def test_values_of_one_kind_only_are_black(tmp_path):
    with pytest.warns(BrightnessWarning):
        assert (grey(tmp_path / "a.tif", np.full((3, 3), -7.0, np.float32)) == 0).all()


def test_colours_of_which_nothing_is_left_are_refused(tmp_path):
    def chunk(kind, content):
        body = kind + content
        return struct.pack(">I", len(content)) + body + struct.pack(">I", zlib.crc32(body))

    def save_deep(name, most):
        header = struct.pack(">IIBBBBB", 2, 1, 16, 2, 0, 0, 0)
        row = b"\0" + np.full(6, most, ">u2").tobytes()
        parts = [(b"IHDR", header), (b"IDAT", zlib.compress(row)), (b"IEND", b"")]
        content = b"".join(chunk(*part) for part in parts)
        (tmp_path / name).write_bytes(b"\x89PNG\r\n\x1a\n" + content)

    save_deep("whole.png", 32768)
    assert read_image(tmp_path / "whole.png").getpixel((0, 0)) == (128, 128, 128)
    save_deep("dark.png", 4095)
    with pytest.raises(ImageError, match=r"dark\.png: the colours use fewer than 16 bits"):
        read_image(tmp_path / "dark.png")


@pytest.mark.parametrize("kind", ["EPS", "PCX", "TGA", "ICO", "SGI", "MSP", "PDF"])
def test_other_kinds_of_pictures_are_never_decoded(tmp_path, kind, monkeypatch):
    mode = "1" if kind == "MSP" else "RGB"
    path = tmp_path / f"a.{kind.lower()}"
    Image.new(mode, (16, 16)).save(path, format=kind)
    (tmp_path / "a.png").write_bytes(path.read_bytes())

    def started(*args, **kwargs):
        raise RuntimeError("Ghostscript was started")

    monkeypatch.setattr("PIL.EpsImagePlugin.Ghostscript", started)
    for name in (path.name, "a.png"):
        with pytest.raises(ImageError, match=rf"{name}: not a picture in a supported format"):
            read_image(tmp_path / name)


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
    with pytest.raises(ImageError, match=rf"bomb, since it has 30 pixels, more than {pixels};"):
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
    [
        ("none.png", "no such file or folder"),
        ("*.png", "matches no picture"),
        ("e", "no picture"),
    ],
)
def test_finding_nothing_is_an_error(tmp_path, given, message):
    (tmp_path / "e").mkdir()
    with pytest.raises(ImageError, match=message):
        find_images([tmp_path / given])


def test_an_empty_list_is_an_error():
    with pytest.raises(ImageError, match="paths is empty"):
        find_images([])
