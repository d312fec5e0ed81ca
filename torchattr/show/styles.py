"""Drawing styles, and the default style and title of each method."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from torchattr.core.arguments import check_choice
from torchattr.errors import ShapeError
from torchattr.show.arrays import as_floats
from torchattr.show.channels import How, reduce_channels
from torchattr.show.colors import colormap, is_diverging, table
from torchattr.show.overlay import overlay
from torchattr.show.scaling import Sign, kept, rescale, scale_of

FADE = 0.72
"""How far the part of a picture that the model did not see turns white."""

DIM = 0.5
"""How far the picture beneath a map turns to the grey of the map's zero."""

_EACH_COLOUR = "negative to positive in each colour; mid grey is zero"


class Style(ABC):
    """A way of drawing one map ``(C, h, w)`` for one picture."""

    percentile: float
    """Magnitudes beyond this percentile of a map are clipped; 100 clips nothing."""
    cmap: str
    """The colour map that a colour bar explains."""
    meaning: str
    """The meaning of the colours, from the left end of the colour bar to its right."""
    sign: Sign = "all"
    """The values that are drawn; see ``rescale``."""

    def span(self, values: np.ndarray) -> tuple[int, int]:
        """Return the ends of the colour bar of reduced maps, −1, 0 or 1: no colour without a use.

        1 stands for the largest magnitude.
        """
        negative, positive = bool((values < 0).any()), bool((values > 0).any())
        if self.sign == "all":
            return (-int(negative), int(positive))
        drawn = {"positive": positive, "negative": negative, "absolute": negative or positive}
        return (0, int(drawn[self.sign]))

    def bar(self, span: tuple[int, int], channels: int, width: int, height: int) -> np.ndarray:
        """Return the colour bar, uint8 ``(height, width, 3)``, as drawn over a grey picture."""
        ramp = np.linspace(*span, width) * (-1 if self.sign == "negative" else 1)
        values = np.broadcast_to(ramp, (1, height, width))
        return self.paint(np.full((height, width, 3), 128, np.uint8), values)

    def scale(self, values: np.ndarray) -> float:
        """Return the magnitude of the strongest colour of a reduced map; larger ones have it, too.

        values: as they are painted.
        """
        return float(scale_of(kept(values, self.sign), self.percentile))

    def explained(self, span: tuple[int, int], channels: int) -> str:
        """Return the meaning of the colours of a colour bar with these ends."""
        meaning = _OF_ONE_CHANNEL.get(self.meaning, self.meaning) if channels == 1 else self.meaning
        return _ONE_SIDED.get((meaning, span), meaning)

    @abstractmethod
    def reduce(self, values: np.ndarray) -> np.ndarray:
        """Return the map ``(C, h, w)`` with the channels to draw, before it is resized."""

    @abstractmethod
    def paint(self, picture: np.ndarray, values: np.ndarray) -> np.ndarray:
        """Draw a reduced map, NaN where the model did not see the picture, as uint8 RGB.

        picture: uint8 ``(H, W, 3)``. values: ``(C, H, W)``.
        """


@dataclass(frozen=True)
class Heat(Style):
    """The map alone, as colours; a percentile keeps single pixels from darkening the rest."""

    how: How = "max_abs"
    sign: Sign = "absolute"
    percentile: float = 99.5
    cmap: str = "inferno"
    meaning: str = "zero to largest magnitude"

    def reduce(self, values: np.ndarray) -> np.ndarray:
        return reduce_channels(values, self.how)[None]

    def paint(self, picture: np.ndarray, values: np.ndarray) -> np.ndarray:
        scaled = rescale(values[0], self.sign, self.percentile)
        return _inside(picture, colormap(scaled, self.cmap), np.isnan(scaled))


@dataclass(frozen=True)
class Color(Style):
    """A gradient of the picture's own colours around mid grey, which stands for zero."""

    percentile: float = 99.9
    cmap: str = "gray"
    meaning: str = _EACH_COLOUR

    def reduce(self, values: np.ndarray) -> np.ndarray:
        if len(values) not in (1, 3):
            raise ShapeError(
                f"style 'color' needs maps with 1 or 3 channels, got {len(values)}; use 'heat'"
            )
        return values

    def paint(self, picture: np.ndarray, values: np.ndarray) -> np.ndarray:
        scaled = np.broadcast_to(rescale(values, "all", self.percentile, shared=True), _rgb(values))
        gray = np.nan_to_num(np.moveaxis(scaled, 0, -1)) * 127.5 + 127.5
        return _inside(picture, np.rint(gray).astype(np.uint8), np.isnan(scaled[0]))

    def bar(self, span: tuple[int, int], channels: int, width: int, height: int) -> np.ndarray:
        if channels == 1:
            return super().bar(span, channels, width, height)
        # A stripe for each colour, since no pixel of the maps needs to be grey.
        values = np.zeros((3, height, width))
        for channel, rows in enumerate(np.array_split(np.arange(height), 3)):
            values[channel, rows] = np.linspace(*span, width)
        return self.paint(np.full((height, width, 3), 128, np.uint8), values)


@dataclass(frozen=True)
class Overlay(Style):
    """The map overlaid on the picture, which stays visible where the map is weak."""

    how: How = "sum"
    sign: Sign = "positive"
    percentile: float = 100.0
    cmap: str = "viridis"
    meaning: str = "zero to largest value; negative values are not drawn"
    alpha: float = 0.8
    dim: float = 0.0

    def reduce(self, values: np.ndarray) -> np.ndarray:
        return reduce_channels(values, self.how)[None]

    def paint(self, picture: np.ndarray, values: np.ndarray) -> np.ndarray:
        scaled = rescale(values[0], self.sign, self.percentile)
        return overlay(picture, scaled, self.alpha, cmap=self.cmap, fade=FADE, dim=self.dim)


_OF_ONE_CHANNEL = {_EACH_COLOUR: "negative to positive; mid grey is zero"}
"""What is said of maps that are drawn in grey."""

_SIGNED = "negative values lower the score, positive ones raise it"
_DEVIATION = "below to above the mean of the map"
_ONE_SIDED = {
    (_SIGNED, (0, 1)): "positive values raise the score; none is negative",
    (_SIGNED, (-1, 0)): "negative values lower the score; none is positive",
}
"""What is said of colours of which one half has no use."""

HEAT = Heat()
SIGNED_HEAT = Heat("sum", "all", 99.5, "RdBu_r", _SIGNED)
COLOR = Color()
OVERLAY = Overlay(alpha=0.9, dim=DIM)
SIGNED_OVERLAY = Overlay("sum", "all", 99.5, "RdBu_r", _SIGNED, 0.9, DIM)

DEVIATION_OVERLAY = Overlay("deviation", "all", 99.5, "RdBu_r", _DEVIATION, 0.9, DIM)

STYLES: dict[str, Style] = {
    "heat": HEAT,
    "signed_heat": SIGNED_HEAT,
    "color": COLOR,
    "overlay": OVERLAY,
    "signed_overlay": SIGNED_OVERLAY,
    "deviation_overlay": DEVIATION_OVERLAY,
}
"""The styles by name."""

_CAMS = {
    "ablationcam": "Ablation-CAM",
    "cam": "CAM",
    "eigencam": "EigenCAM",
    "eigengradcam": "EigenGrad-CAM",
    "fem": "FEM",
    "finercam": "Finer-CAM",
    "fullgrad": "FullGrad",
    "gradcamelementwise": "Elementwise Grad-CAM",
    "gradcamplusplus": "Grad-CAM++",
    "hirescam": "HiResCAM",
    "iscam": "IS-CAM",
    "kpcacam": "KPCA-CAM",
    "layercam": "LayerCAM",
    "randomcam": "RandomCAM",
    "refinecam": "RefineCAM",
    "scorecam": "Score-CAM",
    "shapleycam": "ShapleyCAM",
    "smoothgradcamplusplus": "Smooth Grad-CAM++",
    "sscam": "SS-CAM",
    "xgradcam": "XGrad-CAM",
}
"""The titles of Grad-CAM's relatives, which are drawn as it is."""

_METHODS: dict[str, tuple[str, Style]] = {
    "saliency": ("Saliency", HEAT),
    "smoothgrad": ("SmoothGrad", HEAT),
    "inputxgradient": ("Input × gradient", SIGNED_HEAT),
    "integratedgradients": ("Integrated gradients", SIGNED_HEAT),
    "gradientshap": ("Gradient SHAP", SIGNED_HEAT),
    "deconvolution": ("Deconvolution", COLOR),
    "guidedbackprop": ("Guided backprop", COLOR),
    "guidedgradcam": ("Guided Grad-CAM", COLOR),
    "gradcam": ("Grad-CAM", OVERLAY),
    **{name: (title, OVERLAY) for name, title in _CAMS.items()},
    "layeractivation": ("Layer activation", OVERLAY),
    "featureablation": ("Feature ablation", SIGNED_OVERLAY),
    "featurepermutation": ("Feature permutation", SIGNED_OVERLAY),
    "shapleyvaluesampling": ("Shapley value sampling", SIGNED_OVERLAY),
    "shapleyvalues": ("Shapley values", SIGNED_OVERLAY),
    "kernelshap": ("KernelSHAP", SIGNED_OVERLAY),
    "lime": ("LIME", SIGNED_OVERLAY),
    "layerfeatureablation": ("Layer feature ablation", SIGNED_OVERLAY),
    "layerfeaturepermutation": ("Layer feature permutation", SIGNED_OVERLAY),
    "occlusion": ("Occlusion", SIGNED_OVERLAY),
    "rise": ("RISE", DEVIATION_OVERLAY),
    "lrp": ("LRP", SIGNED_HEAT),
    "attnlrp": ("AttnLRP", SIGNED_HEAT),
    "libragrad": ("LibraGrad", SIGNED_HEAT),
    "excitationbackprop": ("Excitation backprop", SIGNED_HEAT),
    "deeplift": ("DeepLIFT", SIGNED_HEAT),
    "deepliftshap": ("DeepLIFT SHAP", SIGNED_HEAT),
    "rawattention": ("Raw attention", OVERLAY),
    "attentionrollout": ("Attention rollout", OVERLAY),
    "attentiongradient": ("Attention × gradient", OVERLAY),
    "legrad": ("LeGrad", OVERLAY),
}


def title_of(method: str) -> str:
    """Return the display name of a method.

    >>> title_of("guided_grad_cam")
    'Guided Grad-CAM'
    >>> title_of("lrp (composite='zero')")
    "LRP (composite='zero')"
    """
    name, apart, settings = method.partition(" (")
    known = _METHODS.get(_key(name))
    if known:
        return f"{known[0]}{apart}{settings}"
    return method if any(c in method for c in " -") else method.replace("_", " ").capitalize()


def style_of(method: str, values: Any, style: str | Style | None = None) -> Style:
    """Return the requested style, or the default of the method.

    An unknown method uses ``"heat"`` for several channels, and for one channel
    ``"overlay"``, or ``"signed_overlay"`` if a value is negative.

    Raises ``InputError`` for an unknown name.
    """
    if isinstance(style, Style):
        return style
    if style is not None:
        check_choice("style", style, STYLES)
        return STYLES[style]
    known = _METHODS.get(_key(method.partition(" (")[0]))
    if known:
        return known[1]
    array = as_floats(values)
    if array.ndim >= 3 and array.shape[-3] > 1:
        return HEAT
    return SIGNED_OVERLAY if (array < 0).any() else OVERLAY


def recolored(style: Style, cmap: str | None) -> Style:
    """Return a style in another colour map; one for the other kind of values leaves it as it is.

    A sequential map recolours styles without a sign, a diverging one those with a sign.

    Raises ``InputError`` for an unknown name.

    >>> recolored(OVERLAY, "turbo").cmap, recolored(SIGNED_HEAT, "turbo").cmap
    ('turbo', 'RdBu_r')
    """
    if cmap is None:
        return style
    table(cmap)  # Refuses an unknown name.
    if isinstance(style, (Heat, Overlay)) and is_diverging(cmap) == (style.sign == "all"):
        return replace(style, cmap=cmap)
    return style


def faded(
    picture: np.ndarray, unseen: np.ndarray, paper: tuple[int, int, int] = (255, 255, 255)
) -> np.ndarray:
    """Return a picture with its unseen pixels faded towards the colour of the paper."""
    mixed = picture + (np.array(paper, float) - picture) * (FADE * unseen[..., None])
    return np.rint(mixed).astype(np.uint8)


def _inside(picture: np.ndarray, drawn: np.ndarray, unseen: np.ndarray) -> np.ndarray:
    return np.where(unseen[..., None], faded(picture, unseen), drawn)


def _rgb(values: np.ndarray) -> tuple[int, ...]:
    return (3, *values.shape[-2:]) if len(values) == 1 else values.shape


def _key(method: str) -> str:
    return "".join(c for c in method.lower() if c.isalnum())
