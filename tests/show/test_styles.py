import numpy as np
import pytest

from torchattr.errors import InputError, ShapeError
from torchattr.show import STYLES, colormap, style_of, title_of
from torchattr.show.styles import COLOR, HEAT, OVERLAY, SIGNED_OVERLAY

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
