"""What the strongest maps after each pooling layer see: reconstructions by the deconvnet.

The classic figure: reconstructions from AlexNet's three max-pools, here of the strongest maps of
each. AlexNet downloads its weights; `--weights` accepts a file, or `random` for an untrained
network. `--model demo` is the bundled model, which has one max-pool and further stages.

    python docs/examples/maxpool_reconstructions.py --picture reconstructions.jpg
    python docs/examples/maxpool_reconstructions.py --model torchvision:alexnet
"""

import argparse

import numpy as np

import torchattr as ta
from torchattr.inspect import SIGNAL_NOTE, draw_signal, signal_legend
from torchattr.models import load_model, read_image
from torchattr.models.collage import examples
from torchattr.results import Display
from torchattr.show import LIGHT, CaptionedGrid, FigureHead, GridCell, short_number

LAYERS = {
    "demo": ("stem.pool", "stage1", "stage2"),
    "torchvision:alexnet": ("features.2", "features.5", "features.12"),
}
CELL = 160


def tile(picture: np.ndarray, caption: str) -> GridCell:
    return GridCell([picture], (CELL, CELL), [caption])


def row(found: ta.BackProjection, seen: np.ndarray) -> list[GridCell]:
    """Return the picture with the name of the layer, and what each of its maps sees."""
    tiles = [tile(seen, found.layer)]
    for signal, channel, value in zip(
        found.pictures[0], found.channels[0], found.activations[0], strict=True
    ):
        tiles.append(
            tile(draw_signal(signal), f"channel {int(channel)} · {short_number(float(value))}")
        )
    return tiles


def main(model: str, weights: str | None, image: str | None, picture: str, maps: int) -> list[str]:
    """Draw a row of images for each layer; print and return what each row shows."""
    loaded = load_model(model, weights)
    tensor = loaded.preprocess(read_image(image or examples()[0].path)).tensor
    seen = np.asarray(Display.of(loaded.transform).picture(tensor))
    tiles, captions = [], []
    for layer in LAYERS[model]:
        found = ta.back_project(loaded.model, tensor[None], layer, f"top{maps}", start="map")
        captions.append(f"{layer}: maps {', '.join(map(str, found.channels[0].tolist()))}")
        print(captions[-1])
        tiles += row(found, seen)
    body = CaptionedGrid(tiles, maps + 1)
    facts = ["deconvolution", "from whole maps", "below each its largest value"]
    legends, head = [signal_legend(len(tensor))], FigureHead(loaded.name)
    title = "What the strongest maps of each layer see"
    drawing = head.draw(body, title, facts, legends, SIGNAL_NOTE, LIGHT)
    drawing.image().save(picture, quality=90, optimize=True)
    return captions


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", choices=LAYERS, default="demo")
    parser.add_argument("--weights", help="a file, the name of published weights, or random")
    parser.add_argument("--image", help="an image file (default: a bundled sample)")
    parser.add_argument("--picture", default="reconstructions.png")
    parser.add_argument("--maps", type=int, default=6)
    options = parser.parse_args()
    main(options.model, options.weights, options.image, options.picture, options.maps)
