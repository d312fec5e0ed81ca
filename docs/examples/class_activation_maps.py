"""The same class and layer, seen by the class activation maps, and the layer's concepts.

python docs/examples/class_activation_maps.py --picture class-activation-maps.jpg
"""

import argparse
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

import torchattr as ta
from torchattr.methods import Concepts
from torchattr.models import LoadedModel, PreparedImage, load_model, read_image
from torchattr.models.collage import examples
from torchattr.show import (
    BAR,
    LIGHT,
    OVERLAY,
    CaptionedGrid,
    Drawing,
    FigureHead,
    GridCell,
    Legend,
    concept_picture,
    resize_map,
    score_text,
    title_of,
    value_range,
)

LAYER = "stage3"
CELL = 192
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


def small(photo: PreparedImage) -> np.ndarray:
    return np.asarray(photo.original.resize((CELL, CELL)).convert("RGB"))


def maps_drawing(
    photo: PreparedImage, maps: Mapping[str, Tensor], head: FigureHead, name: str
) -> Drawing:
    """Draw each map over its picture."""
    alike, picture = likeness(maps), small(photo)
    tiles = []
    for method, values in maps.items():
        drawn = OVERLAY.paint(picture, resize_map(values.numpy(), picture.shape[:2]))
        said = value_range(values.numpy(), signed=False)
        if method in alike:
            said += f" · r {alike[method]:.2f}"
        tiles.append(GridCell([drawn], (CELL, CELL), [title_of(method), said]))
    legend = Legend(OVERLAY.bar((0, 1), 1, *BAR), ("0", "max"), OVERLAY.meaning.capitalize())
    note = (
        "Each map is scaled independently; its largest value is below it. r is the correlation of"
        " its positive part with that of Grad-CAM."
    )
    title = f"Class activation maps of {name}"
    facts = [f"layer: {LAYER}", f"{len(maps)} methods"]
    return head.draw(CaptionedGrid(tiles, 5), title, facts, [legend], note, LIGHT)


def concepts_drawing(
    loaded: LoadedModel, photo: PreparedImage, concepts: Concepts, head: FigureHead
) -> Drawing:
    """Draw all concepts in one picture, then each alone."""
    maps, picture = concepts.maps[0].numpy(), small(photo)
    names = [loaded.class_name(number) for number in range(concepts.scores.shape[1])]
    chances = loaded.probabilities(concepts.scores).max(1).values.tolist()
    tiles = [GridCell([concept_picture(picture, maps)], (CELL, CELL), ["all of them"])]
    for number, label in enumerate(concepts.labels(names, top=1)):
        alone = np.zeros_like(maps)
        alone[number] = maps[number]
        said = f"{label}: {score_text(chances[number], 'sigmoid')}"
        caption = [f"concept {number + 1}", said]
        tiles.append(GridCell([concept_picture(picture, alone)], (CELL, CELL), caption))
    note = (
        "Each place has the colour of its strongest concept, the more of it the stronger. A concept"
        " is named for the class that the rest of the model finds in a layer that holds this"
        " concept alone, everywhere; the percentage is the probability of that class."
    )
    title, facts = f"{len(maps)} concepts of {LAYER}", ["deep feature factorization"]
    return head.draw(CaptionedGrid(tiles, len(tiles)), title, facts, [], note, LIGHT)


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
    head = FigureHead("demo", path.stem, photo.original)
    if picture:
        drawing = maps_drawing(photo, maps, head, demo.class_name(target))
        drawing.image().save(picture, quality=88)
    if concepts:
        parts = ta.deep_feature_factorization(demo.model, x, LAYER, n_concepts=4)
        concepts_drawing(demo, photo, parts, head).save(concepts)
    return alike


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--picture", help="file for a figure of the maps")
    parser.add_argument("--concepts", help="file for a figure of the layer's concepts")
    arguments = parser.parse_args()
    main(arguments.picture, arguments.concepts)
