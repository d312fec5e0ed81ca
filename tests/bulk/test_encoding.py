import numpy as np
import pytest
import torch
from torch import Tensor

from torchattr.bulk.encoding import ENCODINGS, EncodedMaps, checked_dtype, decoded
from torchattr.errors import InputError

MAPS = torch.randn(4, 2, 5, 5, generator=torch.Generator().manual_seed(0))


def round_trip(maps: Tensor, dtype: str) -> np.ndarray:
    found = ENCODINGS[dtype].encode(maps)
    assert found.values.dtype == getattr(torch, dtype)
    scaling = (None if one is None else one.numpy() for one in (found.scale, found.zero))
    return decoded(found.values.numpy(), *scaling)


def test_float32_is_exact() -> None:
    assert np.array_equal(round_trip(MAPS, "float32"), MAPS.numpy())


@pytest.mark.parametrize("size", [1e-30, 1e-12, 1e-3, 1.0, 1e3, 1e6, 1e30])
def test_float16_keeps_eleven_bits_of_maps_of_any_size(size: float) -> None:
    found = round_trip(MAPS * size, "float16")
    largest = (MAPS * size).abs().amax((2, 3), keepdim=True).numpy()
    assert (np.abs(found - (MAPS * size).numpy()) <= largest * 2**-11).all()


def test_float16_of_usual_maps_needs_no_scale() -> None:
    found = ENCODINGS["float16"].encode(MAPS)
    assert found.scale is not None
    assert (found.scale == 1).all()
    assert torch.equal(found.values, MAPS.half())


@pytest.mark.parametrize("size", [1e-30, 1.0, 1e30])
@pytest.mark.parametrize("maps", [MAPS, MAPS.abs(), -MAPS.abs(), MAPS.abs() + 3])
def test_uint8_is_off_by_a_level_at_most(maps: Tensor, size: float) -> None:
    whole = (maps * size).double()
    found = round_trip(maps * size, "uint8")
    spread = whole.amax((2, 3)).clamp(min=0) - whole.amin((2, 3)).clamp(max=0)
    assert (np.abs(found - whole.numpy()) <= 1.01 * spread[..., None, None].numpy() / 255).all()


@pytest.mark.parametrize("dtype", list(ENCODINGS))
def test_zero_stays_zero(dtype: str) -> None:
    maps = MAPS.clone()
    maps[:, :, 0] = 0
    maps[1] = 0
    found = round_trip(maps, dtype)
    assert (found[:, :, 0] == 0).all()
    assert (found[1] == 0).all()


def test_a_constant_map_survives() -> None:
    assert np.allclose(round_trip(torch.full((1, 1, 2, 2), -3.0), "uint8"), -3)


def test_what_is_missing_is_nan() -> None:
    values = np.zeros((1, 1, 2, 2), "uint8")
    assert np.isnan(decoded(values, np.array([[np.nan]]), np.array([[np.nan]]))).all()


@pytest.mark.parametrize("dtype", list(ENCODINGS))
def test_parts_are_joined(dtype: str) -> None:
    encode = ENCODINGS[dtype].encode
    whole, parts = encode(MAPS), EncodedMaps.joined([encode(MAPS[:1]), encode(MAPS[1:])])
    assert torch.equal(whole.values, parts.values)
    for one, other in ((whole.scale, parts.scale), (whole.zero, parts.zero)):
        assert (one is None) == (other is None)
        assert one is None or other is None or torch.equal(one, other)


def test_another_dtype_is_refused() -> None:
    with pytest.raises(InputError, match="'float32', 'float16', 'uint8', got 'int4'"):
        checked_dtype("int4")
