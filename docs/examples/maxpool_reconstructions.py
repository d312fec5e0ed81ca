"""What the strongest maps after each pooling layer see: reconstructions by the deconvnet.

The classic figure: reconstructions from AlexNet's three max-pools, here of the strongest maps of
each. AlexNet downloads its weights; `--weights` accepts a file, or `random` for an untrained
network. `--model demo` is the bundled model, which has one max-pool and further stages.

    python docs/examples/maxpool_reconstructions.py --picture reconstructions.png
    python docs/examples/maxpool_reconstructions.py --model torchvision:alexnet
"""

import argparse

import numpy as np
from PIL import Image, ImageOps

import torchattr as ta
from torchattr.models import load_model, read_image
from torchattr.models.collage import examples
from torchattr.results.display import Display
from torchattr.show import grid

LAYERS = {
    "demo": ("stem.pool", "stage1", "stage2"),
    "torchvision:alexnet": ("features.2", "features.5", "features.12"),
}


def main(model: str, weights: str | None, image: str | None, picture: str, maps: int) -> list[str]:
    """Draw a row of images for each layer; print and return their captions."""
    loaded = load_model(model, weights)
    tensor = loaded.preprocess(read_image(image or examples()[0].path)).tensor
    side = tensor.shape[1]
    seen = np.asarray(Display.of(loaded.transform).picture(tensor))
    pictures, captions = [], []
    for layer in LAYERS[model]:
        found = ta.back_project(loaded.model, tensor[None], layer, f"top{maps}", start="map")
        drawn = np.asarray(found.picture(columns=maps, cell=side))
        captions.append(f"{layer}: maps {', '.join(map(str, found.channels[0].tolist()))}")
        print(captions[-1])
        pictures += [ImageOps.pad(Image.fromarray(seen), (side, drawn.shape[0]), color="white")]
        pictures += [Image.fromarray(drawn)]
    rows = [
        np.concatenate([np.asarray(a), np.asarray(b)], axis=1)
        for a, b in zip(pictures[::2], pictures[1::2], strict=True)
    ]
    Image.fromarray(grid(rows, columns=1, captions=captions)).save(picture)
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
