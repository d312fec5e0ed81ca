"""Cut the objects and backgrounds out of scikit-image's images.

``python -m torchattr.models.collage.making.cut`` writes ``sources/``. Only this module needs
scikit-image, since the files that it writes are part of the repository.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter
from skimage import data

SOURCES = Path(__file__).parents[1] / "sources"
OBJECT_SIDE = 200
BACKGROUND_SIDE = 256
SUPERSAMPLING = 4

RGB = NDArray[np.uint8]


@dataclass(frozen=True)
class Outline:
    """Closed outlines in pixels of the original, as ``"x,y x,y ..."``, and the holes in them."""

    parts: tuple[str, ...]
    holes: tuple[str, ...] = ()

    def alpha(self, size: tuple[int, int]) -> Image.Image:
        """An anti-aliased mask, 255 inside and 0 outside."""
        large = Image.new("L", (size[0] * SUPERSAMPLING, size[1] * SUPERSAMPLING))
        draw = ImageDraw.Draw(large)
        for outlines, value in ((self.parts, 255), (self.holes, 0)):
            for outline in outlines:
                draw.polygon(_points(outline), fill=value)
        smooth = large.filter(ImageFilter.GaussianBlur(1.2 * SUPERSAMPLING))
        return smooth.resize(size, Image.Resampling.BOX)


def _points(outline: str) -> list[tuple[float, float]]:
    pairs = (point.split(",") for point in outline.split())
    return [(float(x) * SUPERSAMPLING, float(y) * SUPERSAMPLING) for x, y in pairs]


ASTRONAUT = Outline(
    (
        "230,18 255,20 275,29 289,45 297,65 300,85 298,100 292,112 284,122 276,130 272,136 267,138 "
        "265,150 261,165 257,172 262,178 280,191 294,208 302,225 305,237 318,243 330,253 340,267 "
        "347,281 353,300 357,320 360,334 362,347 375,347 390,344 405,344 425,348 445,359 464,378 "
        "479,399 489,421 494,440 495,455 503,459 507,470 509,490 509,512 62,512 50,502 37,485 "
        "29,465 26,440 25,420 25,400 25,380 27,350 32,328 37,305 44,286 52,266 62,251 77,236 "
        "97,221 113,208 116,200 115,189 120,187 125,179 131,170 141,160 156,154 175,150 185,150 "
        "182,133 175,130 173,120 166,110 158,95 154,75 157,58 164,49 178,43 190,39 201,29 215,20",
    )
)
CAT = Outline(
    (
        "39,36 44,16 52,5 60,1 72,4 92,16 114,28 140,20 175,12 220,8 260,10 295,18 318,30 334,36 "
        "348,22 366,8 384,1 393,2 390,14 381,29 378,41 371,55 362,68 357,80 355,95 357,110 361,122 "
        "361,135 358,155 352,175 344,191 334,204 325,213 317,221 315,236 311,250 304,262 294,271 "
        "280,278 258,283 238,284 215,281 195,276 172,268 148,257 124,244 101,228 84,212 71,196 "
        "59,178 50,159 44,141 39,124 35,108 35,88 36,60",
    )
)
COFFEE = Outline(
    (
        "181,76 150,93 120,119 96,151 83,180 79,210 82,248 92,279 110,309 135,337 165,359 200,375 "
        "240,384 285,387 330,384 370,375 405,357 434,331 457,299 471,265 477,230 476,200 469,170 "
        "454,141 437,119 420,106 417,101 423,78 420,70 410,67 399,70 394,71 385,62 370,48 345,33 "
        "315,23 285,19 255,21 225,31 200,47 186,62",
    )
)
ROCKET = Outline(
    (
        "322,127 327,131 331,138 333,147 334,158 334,171 331,177 330.5,182 330.5,240 331,330 "
        "313,330 313.5,240 314,182 313,177 311,171 311,158 312,147 314,138 318,131",
    )
)
SHUTTLE = Outline(
    (
        "405,0 428,0 432,10 435,20 437,30 438,45 441,40 444,39 448,42 451,50 454,60 454,205 "
        "456,215 456,233 454,238 455,252 458,262 434,262 437,250 437,236 428,234 418,234 414,246 "
        "408,254 405,262 400,267 392,267 388,257 384,251 378,261 372,269 367,270 368,262 374,245 "
        "379,232 366,229 356,225 355,218 358,210 364,202 373,192 379,184 379,115 381,108 381,62 "
        "384,50 388,43 392,48 396,58 396.5,45 397,30 399,18",
    )
)
PHOTOGRAPHER = Outline(
    (
        "0,258 22,231 36,206 51,180 61,159 73,146 91,134 115,126 130,125 138,116 150,108 158,107 "
        "163,95 172,81 185,71 195,65 210,64 225,68 240,77 255,87 265,98 270,110 269,122 264,131 "
        "258,133 253,141 262,140 280,141 322,140 324,143 324,152 319,157 319,169 329,171 332,180 "
        "331,195 324,212 314,220 307,232 305,245 301,250 303,272 297,281 289,285 270,299 247,311 "
        "230,305 207,294 195,312 175,335 158,355 143,378 147,400 149,440 151,480 152,512 0,512",
        "289,280 297,280 297,312 304,314 316,310 330,301 338,301 338,307 330,308 316,318 312,326 "
        "355,405 397,482 407,512 396,512 386,482 305,336 299,345 299,485 288,485 288,345 280,370 "
        "256,485 246,498 240,512 232,512 232,490 241,484 279,335 279,314 289,313",
    ),
    (
        "257,172 262,182 272,188 274,200 283,203 272,212 262,224 250,244 244,232 241,215 241,198 "
        "248,190 252,180",
    ),
)


def _rgb(pixels: NDArray[np.generic]) -> Image.Image:
    return Image.fromarray(np.asarray(pixels, dtype=np.uint8)).convert("RGB")


def _outlined(pixels: NDArray[np.generic], outline: Outline) -> Image.Image:
    picture = _rgb(pixels)
    picture.putalpha(outline.alpha(picture.size))
    return picture


def _above(threshold: int) -> Callable[[int], float]:
    return lambda value: 255 * (value > threshold)


def _retina() -> Image.Image:
    picture = _rgb(data.retina())
    disc = picture.convert("L").filter(ImageFilter.MedianFilter(9)).point(_above(24))
    alpha = disc.filter(ImageFilter.MinFilter(9)).filter(ImageFilter.GaussianBlur(4))
    picture.putalpha(alpha)
    return picture


def _horse() -> Image.Image:
    """The silhouette, filled brown; the shading follows the distance from its edge."""
    inside = Image.fromarray(np.where(data.horse(), 0, 255).astype(np.uint8))
    depth = np.asarray(inside.filter(ImageFilter.GaussianBlur(14)), dtype=np.float64) / 255
    height = np.linspace(1.1, 0.8, depth.shape[0])[:, None]
    shade = np.clip((0.35 + 0.75 * depth) * height, 0, 1)[..., None]
    picture = _rgb(np.asarray([168, 108, 62]) * shade)
    picture.putalpha(inside.filter(ImageFilter.MinFilter(3)).filter(ImageFilter.GaussianBlur(1)))
    return picture


def _trimmed(picture: Image.Image) -> Image.Image:
    """Cropped to what is visible, at most `OBJECT_SIDE` pixels on its longer side."""
    box = picture.getchannel("A").point(_above(8)).getbbox()
    cut = picture.crop(box)
    factor = min(1.0, OBJECT_SIDE / max(cut.size))
    size = (max(1, round(cut.width * factor)), max(1, round(cut.height * factor)))
    return cut.resize(size, Image.Resampling.LANCZOS)


def objects() -> dict[str, Image.Image]:
    """Return every object as an RGBA image, by its class name."""
    whole = {
        "astronaut": _outlined(data.astronaut(), ASTRONAUT),
        "cat": _outlined(data.chelsea(), CAT),
        "coffee": _outlined(data.coffee(), COFFEE),
        "horse": _horse(),
        "photographer": _outlined(data.camera(), PHOTOGRAPHER),
        "retina": _retina(),
        "rocket": _outlined(data.rocket(), ROCKET),
        "shuttle": _outlined(data.astronaut(), SHUTTLE),
    }
    return {name: _trimmed(picture) for name, picture in whole.items()}


def _mirrored(strip: Image.Image) -> Image.Image:
    """Return the strip next to its mirror image, so that a narrow texture fills a square."""
    both = Image.new("RGB", (2 * strip.width, strip.height))
    both.paste(strip, (0, 0))
    both.paste(strip.transpose(Image.Transpose.FLIP_LEFT_RIGHT), (strip.width, 0))
    return both


def _tinted(pixels: NDArray[np.generic], gains: tuple[float, float, float]) -> Image.Image:
    """Return a grey image in a natural colour."""
    return _rgb(np.clip(np.asarray(pixels, dtype=np.float64)[..., None] * gains, 0, 255))


def backgrounds() -> dict[str, Image.Image]:
    """Return every background as a square RGB image, by its name."""
    whole = {
        "brick": _tinted(data.brick(), (1.45, 0.95, 0.75)),
        "galaxies": _rgb(data.hubble_deep_field()).crop((200, 150, 712, 662)),
        "grass": _tinted(data.grass(), (0.8, 1.05, 0.5)),
        "gravel": _tinted(data.gravel(), (1.05, 1.0, 0.92)),
        "handwriting": _tinted(data.text(), (1.35, 1.3, 1.15)).crop((0, 0, 172, 172)),
        "lawn": _mirrored(_tinted(data.camera(), (0.65, 0.85, 0.45)).crop((410, 250, 512, 512))),
        "wood": _mirrored(_rgb(data.coffee()).crop((484, 60, 600, 292))),
    }
    side = (BACKGROUND_SIDE, BACKGROUND_SIDE)
    return {name: image.resize(side, Image.Resampling.LANCZOS) for name, image in whole.items()}


def main() -> None:
    """Write every object as PNG and every background as JPEG below ``sources/``."""
    SOURCES.mkdir(exist_ok=True)
    for name, picture in objects().items():
        picture.save(SOURCES / f"{name}.png", optimize=True)
    for name, picture in backgrounds().items():
        picture.save(SOURCES / f"{name}.jpg", quality=85, optimize=True)


if __name__ == "__main__":
    main()
