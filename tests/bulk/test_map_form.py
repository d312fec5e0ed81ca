import pytest
import torch
import torch.nn.functional as F

from torchattr.bulk.map_form import MapForm
from torchattr.errors import InputError, ShapeError

RESULT = torch.randn(2, 2, 3, 4, 4, generator=torch.Generator().manual_seed(0))


def test_channels_are_reduced() -> None:
    assert torch.equal(MapForm("sum").of(RESULT, "m", (8, 8)), RESULT.sum(2))
    assert torch.equal(MapForm("max_abs").of(RESULT, "m", (8, 8)), RESULT.abs().amax(2))
    red, green, blue = RESULT.unbind(2)
    luma = 0.299 * red + 0.587 * green + 0.114 * blue
    assert torch.allclose(MapForm("luma").of(RESULT, "m", (8, 8)), luma)
    assert torch.equal(MapForm("none").of(RESULT, "m", (8, 8)), RESULT)


@pytest.mark.parametrize("reduce", ["sum", "luma"])
def test_a_single_channel_stays_as_it_is(reduce) -> None:
    assert torch.equal(MapForm(reduce).of(RESULT[:, :, :1], "m", (8, 8)), RESULT[:, :, 0])


@pytest.mark.parametrize("reduce", ["sum", "none"])
def test_pixels_are_those_of_the_input(reduce) -> None:
    form = MapForm(reduce, "pixels")
    found = form.of(RESULT, "m", (8, 6))
    plain = MapForm(reduce).of(RESULT, "m", (8, 6))
    expected = F.interpolate(plain.reshape(-1, 1, 4, 4), (8, 6), mode="bilinear")
    assert torch.equal(found, expected.reshape(*plain.shape[:-2], 8, 6))


def test_half_precision_is_reduced_in_single() -> None:
    assert MapForm("sum").of(RESULT.half(), "m", (8, 8)).dtype == torch.float32


def test_results_without_channels_name_the_way_out() -> None:
    with pytest.raises(ShapeError, match="pass reduce='none'"):
        MapForm("sum").of(RESULT[:, :, 0], "m", (8, 8))
    with pytest.raises(ShapeError, match="pass keep='layer'"):
        MapForm("none", "pixels").of(RESULT[:, :, 0, 0], "m", (8, 8))


def test_luma_of_other_channels_is_refused() -> None:
    with pytest.raises(ShapeError, match="three channels or a single one, but m returns 2"):
        MapForm("luma").of(RESULT[:, :, :2], "m", (8, 8))


def test_unknown_forms_are_refused() -> None:
    with pytest.raises(InputError, match="reduce must be one of 'sum', 'luma', 'max_abs', 'none'"):
        MapForm("mean")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="keep must be one of 'layer', 'pixels'"):
        MapForm("sum", "grid")  # type: ignore[arg-type]
