"""Captum's `visualization`: pictures of an attribution as Matplotlib figures.

`from captum.attr import visualization as viz` becomes
`from torchattr.captum import visualization as viz`. Arguments, their order and their defaults are
Captum's. A map that is all zero is drawn blank, where Captum raises.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from torchattr.core.arguments import check_choice
from torchattr.core.checked_numbers import as_number, checked_share
from torchattr.core.rounding import unit
from torchattr.errors import InputError, InputTypeError, ShapeError
from torchattr.show import add_channels, as_array

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap
    from matplotlib.figure import Figure

SIGNS = ("positive", "absolute_value", "negative", "all")


def visualize_image_attr(
    attr: np.ndarray,
    original_image: np.ndarray | None = None,
    method: str = "heat_map",
    sign: str = "absolute_value",
    plt_fig_axis: tuple[Figure, Axes] | None = None,
    outlier_perc: float = 2,
    cmap: str | Colormap | None = None,
    alpha_overlay: float = 0.5,
    show_colorbar: bool = False,
    title: str | None = None,
    fig_size: tuple[int, int] = (6, 6),
    use_pyplot: bool = True,
) -> tuple[Figure, Axes]:
    """Draw one picture of an attribution.

    The channels of `attr` are summed, with zero where they cancel up to rounding. Values are
    divided by the one below which the smallest make up `100 - outlier_perc` percent of the total
    magnitude, and clipped to -1..1.

    attr: `(H, W, C)` or `(H, W)`.
    original_image: `(H, W, C)`, floats in 0..1 or integers in 0..255; optional for `heat_map` only.
    method: `heat_map`, `blended_heat_map` (over the grey picture), `original_image`,
        `masked_image` (the picture times the map) or `alpha_scaling` (the map as opacity).
    sign: `positive`, `negative`, `absolute_value` or `all`.
    use_pyplot: show the figure with pyplot.

    Raises ``InputError`` for an unknown method or sign, a missing picture, or a masked picture of
    both signs, and ``ShapeError`` for arrays that do not fit.

    >>> from torchattr.captum import visualization as viz
    >>> attr = np.array([[[1.0], [-2.0]], [[0.0], [0.5]]])
    >>> figure, axes = viz.visualize_image_attr(attr, sign="all", use_pyplot=False)
    >>> axes.images[0].get_array().tolist()
    [[0.5, -1.0], [0.0, 0.25]]
    """
    _check(method, sign, original_image)
    alpha_overlay = checked_share(alpha_overlay, "alpha_overlay")
    image = None if original_image is None else _as_shown(_pixels(original_image))
    scaled = _scaled(as_array(attr, "attr"), sign, outlier_perc)
    if image is not None and image.shape[:2] != scaled.shape:
        raise ShapeError(
            f"attr and original_image must have the same height and width, got {scaled.shape} and"
            f" {image.shape[:2]}"
        )
    figure, axes = plt_fig_axis or _new(fig_size, use_pyplot)
    colors = {"cmap": _default_colors(sign) if cmap is None else cmap, "vmax": 1}
    colors["vmin"] = -1 if sign == "all" else 0
    drawn = METHODS[method](axes, scaled, image, colors, alpha_overlay)
    _finish(figure, axes, drawn, show_colorbar, title)
    if use_pyplot:
        _show()
    return figure, axes


def visualize_image_attr_multiple(
    attr: np.ndarray,
    original_image: np.ndarray | None,
    methods: Sequence[str],
    signs: Sequence[str],
    titles: Sequence[str] | None = None,
    fig_size: tuple[int, int] = (8, 6),
    use_pyplot: bool = True,
    **kwargs: Any,
) -> tuple[Figure, Axes | list[Axes]]:
    """Draw several pictures of an attribution side by side; see :func:`visualize_image_attr`.

    Also raises ``InputError`` if methods, signs and titles differ in number.

    >>> attr, image = np.ones((4, 4, 3)), np.zeros((4, 4, 3))
    >>> figure, axes = visualize_image_attr_multiple(
    ...     attr, image, ["original_image", "heat_map"], ["all", "positive"], use_pyplot=False
    ... )
    >>> len(axes)
    2
    """
    for name, entries in (("methods", methods), ("signs", signs), ("titles", titles)):
        if isinstance(entries, str):
            raise InputTypeError(f"{name} must be a list, got {entries!r}; pass [{entries!r}]")
        if not isinstance(entries, (tuple, list)) and not (name == "titles" and entries is None):
            raise InputTypeError(f"{name} must be a list, got {type(entries).__name__}")
        if entries is not None and len(entries) != len(methods):
            raise InputError(f"{name} has {len(entries)} entries for {len(methods)} methods")
    figure = _new_figure(fig_size, use_pyplot)
    axes = list(figure.subplots(1, len(methods), squeeze=False)[0])
    for number, (method, sign) in enumerate(zip(methods, signs, strict=True)):
        visualize_image_attr(
            attr,
            original_image,
            method,
            sign,
            (figure, axes[number]),
            title=titles[number] if titles else None,
            use_pyplot=False,
            **kwargs,
        )
    figure.tight_layout()
    if use_pyplot:
        _show()
    return figure, axes[0] if len(axes) == 1 else axes


Draw = Callable[[Any, np.ndarray, Any, Mapping[str, Any], float], Any]


def _heat_map(axes: Any, scaled: np.ndarray, image: Any, colors: Any, alpha: float) -> Any:
    return axes.imshow(scaled, **colors)


def _blended(axes: Any, scaled: np.ndarray, image: Any, colors: Any, alpha: float) -> Any:
    axes.imshow(image.mean(2) if image.ndim == 3 else image, cmap="gray")
    return axes.imshow(scaled, alpha=alpha, **colors)


def _original(axes: Any, scaled: np.ndarray, image: Any, colors: Any, alpha: float) -> None:
    axes.imshow(image, cmap=None if image.ndim == 3 else "gray")


def _masked(axes: Any, scaled: np.ndarray, image: Any, colors: Any, alpha: float) -> None:
    mask = scaled[..., None] if image.ndim == 3 else scaled
    axes.imshow(_as_bytes(image * mask))


def _opacity(axes: Any, scaled: np.ndarray, image: Any, colors: Any, alpha: float) -> None:
    opacity = _as_bytes(scaled * 255)[..., None]
    channels = image if image.ndim == 3 else image[..., None].repeat(3, 2)
    axes.imshow(np.concatenate([channels, opacity], 2))


METHODS: Mapping[str, Draw] = {
    "heat_map": _heat_map,
    "blended_heat_map": _blended,
    "original_image": _original,
    "masked_image": _masked,
    "alpha_scaling": _opacity,
}


def _check(method: str, sign: str, image: Any) -> None:
    check_choice("method", method, METHODS)
    check_choice("sign", sign, SIGNS)
    if image is None and method != "heat_map":
        raise InputError(f"original_image is missing: {method} needs it; heat_map does not")
    if sign == "all" and method in ("masked_image", "alpha_scaling"):
        raise InputError(
            f"{method} cannot show both signs at once; choose sign='positive', 'negative' or"
            " 'absolute_value'"
        )


def _scaled(attr: np.ndarray, sign: str, outlier_perc: float) -> np.ndarray:
    if attr.ndim not in (2, 3):
        raise ShapeError(f"attr must be (H, W) or (H, W, C), got the shape {attr.shape}")
    outlier_perc = as_number(outlier_perc, "outlier_perc")
    if not 0 <= outlier_perc <= 100:
        raise InputError(f"outlier_perc must lie in 0..100, got {outlier_perc}")
    flat = add_channels(np.moveaxis(attr, 2, 0), unit(attr)) if attr.ndim == 3 else attr
    kept = {
        "positive": np.maximum(flat, 0),
        "negative": np.maximum(-flat, 0),
        "absolute_value": np.abs(flat),
    }.get(sign, flat)
    scale = _threshold(np.abs(kept), 100 - outlier_perc)
    return np.clip(kept / scale, -1, 1) if scale else np.zeros_like(kept)


def _threshold(magnitude: np.ndarray, percent: float) -> float:
    """Return the value below which the smallest values make up `percent` of the sum."""
    ordered = np.sort(magnitude, axis=None)
    sums = np.cumsum(ordered)
    if not sums.size or sums[-1] == 0:
        return 0.0
    place = int(np.searchsorted(sums, sums[-1] * 0.01 * percent))
    return float(ordered[min(place, ordered.size - 1)])


def _pixels(image: Any) -> np.ndarray:
    pixels = as_array(image, "original_image")
    if pixels.ndim not in (2, 3):
        raise ShapeError(
            f"original_image must be (H, W) or (H, W, C), got the shape {pixels.shape}"
        )
    return pixels


def _as_shown(image: np.ndarray) -> np.ndarray:
    return _as_bytes(image * 255) if image.size and image.max() <= 1 else image


def _as_bytes(values: np.ndarray) -> np.ndarray:
    return np.clip(values.astype(int), 0, 255)


def _default_colors(sign: str) -> Any:
    from matplotlib.colors import LinearSegmentedColormap

    if sign == "all":
        return LinearSegmentedColormap.from_list("RdWhGn", ["red", "white", "green"])
    return {"positive": "Greens", "negative": "Reds", "absolute_value": "Blues"}[sign]


def _new_figure(size: tuple[int, int], use_pyplot: bool) -> Any:
    if use_pyplot:
        from matplotlib import pyplot

        return pyplot.figure(figsize=size)
    from matplotlib.figure import Figure

    return Figure(figsize=size)


def _new(size: tuple[int, int], use_pyplot: bool) -> tuple[Any, Any]:
    figure = _new_figure(size, use_pyplot)
    return figure, figure.add_subplot()


def _show() -> None:
    from matplotlib import pyplot

    pyplot.show()


def _finish(figure: Any, axes: Any, drawn: Any, bar: bool, title: str | None) -> None:
    axes.set_xticks([])
    axes.set_yticks([])
    if title:
        axes.set_title(title)
    if not bar:
        return
    from mpl_toolkits.axes_grid1 import make_axes_locatable

    # Without a mappable the space stays empty, so that neighbouring axes have the same size.
    below = make_axes_locatable(axes).append_axes("bottom", size="5%", pad=0.1)
    if drawn is None:
        below.axis("off")
    else:
        figure.colorbar(drawn, orientation="horizontal", cax=below)
