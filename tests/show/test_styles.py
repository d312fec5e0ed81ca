import numpy as np
import pytest

from torchattr.errors import InputError, ShapeError
from torchattr.show import STYLES, colormap, style_of, title_of
from torchattr.show.styles import COLOR, HEAT, OVERLAY, SIGNED_HEAT, SIGNED_OVERLAY, recolored

PICTURE = np.full((2, 3, 3), 100, np.uint8)


@pytest.mark.parametrize(
    ("name", "title", "style"),
    [
        ("saliency", "Saliency", "heat"),
        ("GuidedBackprop", "Guided backprop", "color"),
        ("deconvolution", "Deconvolution", "color"),
        ("grad_cam", "Grad-CAM", "overlay"),
        ("GradCAM", "Grad-CAM", "overlay"),
        ("guided_grad_cam", "Guided Grad-CAM", "color"),
        ("feature_ablation", "Feature ablation", "signed_overlay"),
        ("rise", "RISE", "deviation_overlay"),
        ("integrated_gradients", "Integrated gradients", "signed_heat"),
        ("gradient_shap", "Gradient SHAP", "signed_heat"),
    ],
)
def test_known_methods(name, title, style):
    assert title_of(name) == title
    assert style_of(name, np.zeros((1, 3, 2, 2))) is STYLES[style]


def test_unknown_methods_are_judged_by_their_maps():
    assert style_of("mine", np.zeros((1, 3, 2, 2))) is HEAT
    assert style_of("mine", np.zeros((1, 1, 2, 2))) is OVERLAY
    assert style_of("mine", -np.ones((1, 1, 2, 2))) is SIGNED_OVERLAY
    assert title_of("my_method") == "My method"
    assert title_of("layer4 – Grad-CAM") == "layer4 – Grad-CAM"


def test_a_style_can_be_asked_for():
    assert style_of("saliency", np.zeros((3, 2, 2)), "overlay") is OVERLAY
    assert style_of("saliency", np.zeros((3, 2, 2)), COLOR) is COLOR
    with pytest.raises(InputError, match=r"style must be one of.*got 'jet'"):
        style_of("saliency", np.zeros((3, 2, 2)), "jet")


def test_zero_is_mid_grey_in_a_colour_gradient():
    values = np.zeros((3, 2, 3))
    values[0, 0, 0], values[2, 1, 2] = 4, -4
    drawn = COLOR.paint(PICTURE, values)
    assert drawn[0, 0].tolist() == [255, 128, 128]
    assert drawn[1, 2].tolist() == [128, 128, 0]
    assert drawn[0, 1].tolist() == [128, 128, 128]
    assert COLOR.paint(PICTURE, values[:1])[0, 0].tolist() == [255, 255, 255]


def test_heat_shows_the_magnitude():
    values = np.zeros((3, 2, 3))
    values[1, 0, 0] = -4
    drawn = HEAT.paint(PICTURE, HEAT.reduce(values))
    np.testing.assert_array_equal(drawn[0, 0], colormap(1.0, "inferno"))
    np.testing.assert_array_equal(drawn[1, 1], colormap(0.0, "inferno"))


@pytest.mark.parametrize("name", STYLES)
def test_pixels_that_were_not_seen_show_the_faded_picture(name):
    values = np.full((1, 2, 3), np.nan)
    values[..., 0] = 1
    drawn = STYLES[name].paint(PICTURE, values)
    assert drawn.dtype == np.uint8
    assert (drawn[:, 1:] > 200).all()
    assert (drawn[:, 1:] < 255).all()


@pytest.mark.parametrize("name", STYLES)
def test_an_empty_map_is_drawn_without_complaint(name):
    style = STYLES[name]
    assert style.paint(PICTURE, style.reduce(np.zeros((3, 2, 3)))).shape == (2, 3, 3)


def test_colours_need_one_or_three_channels():
    with pytest.raises(ShapeError, match="1 or 3 channels, got 4; use 'heat'"):
        COLOR.reduce(np.zeros((4, 2, 2)))


def test_a_bar_shows_what_is_drawn():
    heat = HEAT.bar((0, 1), 1, 100, 4)
    np.testing.assert_array_equal(heat[:, 0], np.tile(colormap(0.0, "inferno"), (4, 1)))
    np.testing.assert_array_equal(heat[:, -1], np.tile(colormap(1.0, "inferno"), (4, 1)))
    over = OVERLAY.bar((0, 1), 1, 100, 4).astype(int)
    assert np.ptp(over[0, 0]) < 20, "where the map is zero, only the picture is seen"
    assert np.ptp(over[0, -1]) > 100
    stripes = COLOR.bar((-1, 1), 3, 100, 6)
    assert stripes[0, -1].tolist() == [255, 128, 128]
    assert stripes[-1, 0].tolist() == [128, 128, 0]
    assert COLOR.bar((-1, 1), 1, 100, 6)[0, -1].tolist() == [255, 255, 255]


@pytest.mark.parametrize("name", STYLES)
def test_every_style_has_a_bar(name):
    style = STYLES[name]
    values = style.reduce(np.random.default_rng(0).normal(size=(3, 4, 4)))
    bar = style.bar(style.span(values), len(values), 120, 12)
    assert bar.shape == (12, 120, 3)
    assert len(np.unique(bar[0], axis=0)) > 30


def test_a_colour_map_recolours_the_styles_that_it_fits():
    assert recolored(OVERLAY, "turbo").cmap == "turbo"
    assert recolored(SIGNED_HEAT, "turbo") is SIGNED_HEAT
    assert recolored(SIGNED_HEAT, "PuOr_r").cmap == "PuOr_r"
    assert recolored(COLOR, "turbo") is COLOR
    assert recolored(HEAT, None) is HEAT
    with pytest.raises(InputError, match="colour map must be one of"):
        recolored(HEAT, "jet")


@pytest.mark.parametrize("picture", [(255, 255, 255), (0, 0, 0), (253, 231, 37), (33, 145, 140)])
@pytest.mark.parametrize("style", [OVERLAY, SIGNED_OVERLAY], ids=["overlay", "signed"])
def test_a_map_stands_out_from_any_picture(style, picture):
    values = np.zeros((1, 2, 3))
    values[0, 0, 0] = 1
    drawn = style.paint(np.full((2, 3, 3), picture, np.uint8), values).astype(int)
    assert np.abs(drawn[0, 0] - drawn[1, 1]).max() > 80
    assert np.ptp(drawn[1, 1]) < 80, "little of the picture's colour is left"
