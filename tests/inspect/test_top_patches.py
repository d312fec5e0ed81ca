from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import noise, refused, seeded
from PIL import Image
from torch import Tensor, nn

import torchattr as ta
from torchattr.errors import ImageError, InputTypeError
from torchattr.inspect import draw_signal
from torchattr.inspect.drawing import in_windows
from torchattr.models.collage import collage, examples, preprocess
from torchattr.show import LIGHT
from torchattr.show.elements import Raster
from torchattr.show.text import TextLine

MODEL = seeded(
    lambda: nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 5, 3, 2))
)
IMAGES = noise(23, 3, 9, 9, dtype=torch.float32)


def strongest(images: Tensor, channel: int) -> list[tuple[float, int, tuple[int, int]]]:
    """The strongest position of each image, computed without batching, strongest first."""
    found = []
    for index, image in enumerate(images):
        with torch.no_grad():
            maps = MODEL(image[None])[0, channel]
        place = int(maps.argmax())
        found.append((float(maps.max()), index, (place // 4, place % 4)))
    return sorted(found, reverse=True)


@pytest.mark.parametrize("batch_size", [1, 4, 64])
def test_the_strongest_places_of_all_are_kept(batch_size: int) -> None:
    found = ta.top_patches(MODEL, IMAGES, "2", 3, k=5, batch_size=batch_size)
    expected = strongest(IMAGES, 3)[:5]
    assert [(patch.index, patch.position) for patch in found] == [e[1:] for e in expected]
    assert [p.activation for p in found] == pytest.approx([e[0] for e in expected], rel=1e-5)
    assert (found.seen, found.layer, found.channel, len(found)) == (23, "2", 3, 5)


def test_a_patch_is_the_receptive_field_and_what_came_back_to_it() -> None:
    for patch in ta.top_patches(MODEL, IMAGES, "2", 1, k=9, rule="guided"):
        image = IMAGES[patch.index : patch.index + 1]
        assert patch.field == ta.receptive_field(MODEL, image, "2", patch.position)
        within = (slice(None), *patch.field)
        assert torch.equal(patch.image, image[0][within])
        whole = ta.back_project(MODEL, image, "2", 1, patch.position, "guided").pictures[0, 0]
        assert torch.equal(patch.projection, whole[within])
        assert patch.projection.any()
        assert whole.count_nonzero() == patch.projection.count_nonzero()


def test_several_places_of_one_image() -> None:
    found = ta.top_patches(MODEL, IMAGES[:2], "2", 0, k=6, per_image=5)
    with torch.no_grad():
        maps = MODEL(IMAGES[:2])[:, 0]
    per_image = maps.flatten(1).topk(5).values.flatten()
    assert [p.activation for p in found] == pytest.approx(per_image.topk(6).values.tolist())


def test_sizes_may_differ_and_images_may_come_in_any_form() -> None:
    forms = [IMAGES[:2], IMAGES[2], Image.new("RGB", (12, 10), "red")]
    found = ta.top_patches(
        MODEL, forms, "2", 0, transform=lambda image: preprocess(image)[:, :11, :11]
    )
    assert found.seen == 4
    assert {patch.index for patch in found} == {0, 1, 2, 3}
    assert all(patch.source is None for patch in found)


def test_a_folder_is_searched() -> None:
    folder = examples()[0].path.parent
    found = ta.top_patches(collage(), folder, "stage1", 0, k=2, transform=preprocess)
    assert found.seen == 4
    assert {patch.source.parent for patch in found} == {folder}


def test_each_patch_has_its_projection_beside_it() -> None:
    found = ta.top_patches(MODEL, IMAGES, "2", 3, k=4)
    shown = found.draw(display=lambda patch: torch.full_like(patch, 0.25))
    pictures = [one for one in shown.elements if isinstance(one, Raster)][:-1]
    assert all({64} <= {*one.pixels.flat} <= {64, *LIGHT.colors.rule} for one in pictures[::2])
    signals = [[draw_signal(patch.projection)] for patch in found]
    windows = in_windows(signals, [patch.field for patch in found], LIGHT.colors.rule)
    for (window,), sent in zip(windows, pictures[1::2], strict=True):
        assert np.array_equal(sent.pixels, window)
    texts = [one.text for one in shown.elements if isinstance(one, TextLine)]
    assert texts[0] == "What excites channel 3 of 2 most"
    assert "4 strongest patches of 23 images, the strongest first" in texts[1]
    assert f"activation {found[0].activation:.3g}" in texts
    assert f"image {found[0].index}" in texts
    assert found.picture(columns=4).width > 8 * 192


def test_patches_at_borders_have_the_size_of_the_others() -> None:
    found = ta.top_patches(MODEL, IMAGES, "2", 3, k=4)
    first = found[0]
    cut = replace(
        first,
        field=(slice(0, first.image.shape[1] - 1), first.field[1]),
        image=first.image[:, 1:],
        projection=first.projection[:, 1:],
    )
    both = replace(found, patches=(cut, first))
    pictures = [one for one in both.draw().elements if isinstance(one, Raster)][:-1]
    assert len({one.pixels.shape for one in pictures}) == 1
    assert (pictures[0].pixels[0] == LIGHT.colors.rule).all()


def test_progress_counts_the_images(capsys: pytest.CaptureFixture[str]) -> None:
    ta.top_patches(MODEL, IMAGES, "2", 3, progress=True)
    assert "23image" in capsys.readouterr().err


def test_what_cannot_be_searched_is_refused(tmp_path: Path) -> None:
    with refused(ta.InputError, "no image"):
        ta.top_patches(MODEL, [], "2", 0)
    with refused(ta.InputError, "transform"):
        ta.top_patches(MODEL, [examples()[0].path], "2", 0)
    with refused(ImageError, "no picture"):
        ta.top_patches(MODEL, tmp_path, "2", 0, transform=preprocess)
    with refused(ta.InputError, "channel", "0 to 4", "5"):
        ta.top_patches(MODEL, IMAGES, "2", 5)
    with refused(ta.InputError, "k must be", "0"):
        ta.top_patches(MODEL, IMAGES, "2", 0, k=0)
    with refused(InputTypeError, "iterable", "int"):
        ta.top_patches(MODEL, 3, "2", 0)
    with refused(InputTypeError, "(9,)"):
        ta.top_patches(MODEL, [torch.zeros(9)], "2", 0)
    with refused(ta.LayerError, "no layer 'x'"):
        ta.top_patches(MODEL, IMAGES, "x", 0)
