import pytest

from torchattr.errors import InputError
from torchattr.show import Look


def luminance(color):
    parts = [c / 3294.6 if c <= 10 else ((c / 255 + 0.055) / 1.055) ** 2.4 for c in color]
    return sum(w * part for w, part in zip((0.2126, 0.7152, 0.0722), parts, strict=True))


def contrast(one, other):
    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_texts_are_readable(theme):
    colors = Look(theme).colors
    assert contrast(colors.ink, colors.paper) > 12
    assert contrast(colors.muted, colors.paper) >= 4.5
    assert contrast(colors.accent, colors.paper) >= 3


def test_lengths_become_at_least_one_pixel():
    assert [Look(scale=s).pixels(10) for s in (0.1, 1, 2.55)] == [1, 10, 26]
    assert Look(scale=0.1).pixels(1) == 1


@pytest.mark.parametrize("given", [{"theme": "sepia"}, {"scale": 0}, {"scale": 17}])
def test_other_looks_are_refused(given):
    with pytest.raises(InputError, match=f"got {next(iter(given.values()))!r}"):
        Look(**given)
