import subprocess
import sys

import matplotlib
import numpy as np
import pytest
import torch

from torchattr.errors import InputError, ShapeError
from torchattr.show import DIVERGING, SEQUENTIAL, color_bar, colormap
from torchattr.show.colors import table


@pytest.mark.parametrize("name", SEQUENTIAL + DIVERGING)
def test_colours_are_matplotlibs(name):
    expected = matplotlib.colormaps[name](np.arange(256), bytes=True)[:, :3]
    low = -1 if name in DIVERGING else 0
    colors = colormap(np.linspace(low, 1, 256), name)
    assert colors.dtype == np.uint8
    np.testing.assert_array_equal(colors, expected)


def test_the_default_follows_the_sign():
    np.testing.assert_array_equal(colormap([0.0, 1.0]), colormap([0.0, 1.0], "viridis"))
    np.testing.assert_array_equal(colormap([-1.0, 1.0]), colormap([-1.0, 1.0], "RdBu_r"))


@pytest.mark.parametrize("name", DIVERGING)
def test_zero_is_neutral_in_a_diverging_map(name):
    red, green, blue = colormap(torch.zeros(()), name).astype(int)
    assert min(red, green, blue) > 200
    assert max(red, green, blue) - min(red, green, blue) < 12


def test_unknown_values_get_their_own_colour():
    assert colormap([np.nan, 0.0], "gray", unknown=(1, 2, 3)).tolist() == [[1, 2, 3], [0, 0, 0]]


def test_wrong_arguments_are_named():
    with pytest.raises(InputError, match="colour map must be one of"):
        colormap([0.0], "jet")
    with pytest.raises(InputError, match=r"0\.\.1, got 0 to 2; use rescale first"):
        colormap([2.0])
    with pytest.raises(InputError, match=r"-1\.\.1, got -1\.5"):
        colormap([-1.5])
    with pytest.raises(InputError, match=r"'viridis' must lie in 0\.\.1, got -0\.5"):
        colormap([-0.5], "viridis")
    with pytest.raises(ShapeError, match="got 0×3"):
        color_bar(0, 3, "gray")


def test_a_bar_runs_from_low_to_high():
    bar = color_bar(300, 2, "viridis")
    assert bar.shape == (2, 300, 3)
    np.testing.assert_array_equal(bar[0, [0, -1]], table("viridis")[[0, 255]])


def test_a_table_cannot_be_changed():
    with pytest.raises(ValueError, match="read-only"):
        table("gray")[0] = 1


def test_importing_the_room_leaves_matplotlib_alone():
    code = "import sys, torchattr.show; sys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("unknown", ["a", None, (1, 2), (0.5, 0, 0), -1])
def test_what_is_no_colour_is_named(unknown):
    with pytest.raises(InputError, match="unknown must be a grey level"):
        colormap(np.zeros(2), unknown=unknown)
