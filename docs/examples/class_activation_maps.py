"""The same class and layer, seen by the class activation maps, and the layer's concepts.

python docs/examples/class_activation_maps.py --picture class-activation-maps.png
"""

import argparse
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

import torchattr as ta
from torchattr.models import load_model, read_image
from torchattr.models.collage import examples
from torchattr.show import concept_picture, grid, overlay, rescale, title_of

LAYER = "stage3"
SIZE = 160
SHARED = (
    *("grad_cam", "grad_cam_plus_plus", "xgrad_cam", "hires_cam", "grad_cam_elementwise"),
    *("layer_cam", "eigen_cam", "eigen_grad_cam", "kpca_cam", "fem", "random_cam"),
)
"""From one forward and one backward, together. CAM itself needs another head than this model's."""
OTHERS = (
    *("refine_cam", "finer_cam", "shapley_cam", "smooth_grad_cam_plus_plus", "full_grad"),
    *("score_cam", "ss_cam", "is_cam", "ablation_cam"),
)
OPTIONS: Mapping[str, Mapping[str, int]] = {"ss_cam": {"n_samples": 4}, "is_cam": {"n_steps": 4}}


def drawn(image: Image.Image, values: Tensor) -> np.ndarray:
    """Lay the positive part of a map over its picture."""
    small = image.resize((SIZE, SIZE)).convert("L").convert("RGB")
    return overlay(np.asarray(small), rescale(values[0].numpy(), sign="positive"), alpha=0.8)


def likeness(maps: Mapping[str, Tensor]) -> dict[str, float]:
    """Return the correlation of the positive part of each map with Grad-CAM's."""
    rows = {name: one.relu().flatten().double() for name, one in maps.items()}
    own = rows["grad_cam"]
    return {
        name: float(torch.corrcoef(torch.stack([own, row]))[0, 1])
        for name, row in rows.items()
        if row.shape == own.shape
    }


def main(picture: str | None, concepts: str | None) -> dict[str, float]:
    """Print and return how alike each map is to Grad-CAM's, and draw them all."""
    demo = load_model("demo")
    path = examples()[0].path
    photo = demo.preprocess(read_image(path))
    x = photo.tensor[None]
    target = int(demo.model(x).argmax())
    methods = {name: OPTIONS.get(name, {}) for name in (*SHARED, *OTHERS)}
    found = ta.explain(demo.model, x, methods, target, layer=LAYER)
    maps = {name: found[name][0, 0].detach() for name in methods}
    alike = likeness(maps)
    print(f"{path.stem}, {demo.class_name(target)}, at {LAYER}: correlation with Grad-CAM")
    for name, value in alike.items():
        print(f"{title_of(name):<22}{value:6.2f}")
    if picture:
        cells = [drawn(photo.original, one) for one in maps.values()]
        captions = [title_of(name) for name in maps]
        Image.fromarray(grid(cells, columns=7, captions=captions)).save(picture)
    if concepts:
        parts = ta.deep_feature_factorization(demo.model, x, LAYER, n_concepts=4)
        names = [demo.class_name(number) for number in range(parts.scores.shape[1])]
        shown = photo.original.resize((3 * SIZE, 3 * SIZE))
        drawing = concept_picture(shown, parts.maps[0].numpy(), parts.labels(names, top=1))
        Image.fromarray(drawing).save(Path(concepts))
    return alike


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--picture", help="file for a figure of the maps")
    parser.add_argument("--concepts", help="file for a figure of the layer's concepts")
    arguments = parser.parse_args()
    main(arguments.picture, arguments.concepts)
