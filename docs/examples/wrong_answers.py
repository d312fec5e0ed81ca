"""What an explanation is good for: find out what misled a model, and verify it.

The bundled model was trained on colour images, and here sees grey scenes. Where it predicts an
object that is not there, Grad-CAM shows what it mistook for it. If that is right, covering this
region must remove the prediction, and covering an equally large region elsewhere must not.

    python docs/examples/wrong_answers.py --scenes 300 --picture wrong-answers.png
"""

import argparse
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch
from PIL import Image

import torchattr as ta
from torchattr.models.collage import CLASSES, collage, preprocess
from torchattr.models.collage.making.scenes import SIZE, CollageScene, scenes
from torchattr.show import (
    BAR,
    LIGHT,
    OVERLAY,
    CaptionedGrid,
    FigureHead,
    GridCell,
    Legend,
    box_from_map,
    percent,
    resize_map,
)

SEED = 20_260_402
SHOWN = 4
CELL = 192
HEADINGS = ("Scene", "What misled the model", "Covered there")


def wrong_answers(model: torch.nn.Module, count: int) -> Iterator[tuple[CollageScene, int]]:
    """Yield grey scenes, each with a class that the model predicts though it is not there."""
    for coloured in scenes(count, SEED):
        gray = np.asarray(Image.fromarray(coloured.image).convert("L").convert("RGB"))
        scene = replace(coloured, image=gray)
        with torch.no_grad():
            scores = model(preprocess.normalised(scene.image[None]))[0]
        for index, name in enumerate(CLASSES):
            if scores[index] > 0 and name not in scene.labels:
                yield scene, index


def covered(image: np.ndarray, box: tuple[int, int, int, int]) -> np.ndarray:
    """Fill a box with the mean colour of the image."""
    left, top, right, bottom = box
    painted = image.copy()
    painted[top:bottom, left:right] = image.mean((0, 1)).astype(np.uint8)
    return painted


def elsewhere(box: tuple[int, int, int, int]) -> tuple[int, int, int, int]:
    """Move a box as far away as the image allows."""
    left, top, right, bottom = box
    x = 0 if left > SIZE - right else SIZE - (right - left)
    y = 0 if top > SIZE - bottom else SIZE - (bottom - top)
    return x, y, x + right - left, y + bottom - top


def chance(model: torch.nn.Module, image: np.ndarray, index: int) -> float:
    with torch.no_grad():
        return float(model(preprocess.normalised(image[None]))[0, index].sigmoid())


def tile(picture: np.ndarray, caption: str) -> GridCell:
    return GridCell([picture], (CELL, CELL), [caption], smooth=True)


def save(tiles: list[GridCell], wrong: int, picture: str) -> None:
    legend = Legend(OVERLAY.bar((0, 1), 1, *BAR), ("0", "max"), f"Grad-CAM: {OVERLAY.meaning}")
    note = (
        "Below each scene are the objects in it; the percentages are the probability (sigmoid) of a"
        " class that is not, before and after the largest region where Grad-CAM exceeds 30 % of its"
        " maximum is covered by the mean grey."
    )
    shown = f"the first {len(tiles) // 3} of {wrong} wrong answers"
    body = CaptionedGrid(tiles, 6, HEADINGS * 2)
    title, head = "What misled a model", FigureHead("demo")
    head.draw(body, title, [shown], [legend], note, LIGHT).save(picture)


def main(count: int, picture: str | None) -> dict[str, int]:
    """Print and return the number of wrong answers, and of those that each covering removes."""
    model = collage()
    cam = ta.GradCAM(model, layer="stage3")
    found = {"wrong": 0, "there": 0, "elsewhere": 0}
    tiles: list[GridCell] = []
    for scene, index in wrong_answers(model, count):
        x = preprocess.normalised(scene.image[None])
        values = resize_map(cam.attribute(x, target=index)[0, 0].relu().numpy(), (SIZE, SIZE))
        box = box_from_map(values, 0.3)
        if box is None:
            continue
        before = chance(model, scene.image, index)
        there = chance(model, covered(scene.image, box), index)
        other = chance(model, covered(scene.image, elsewhere(box)), index)
        found["wrong"] += 1
        found["there"] += there < 0.5
        found["elsewhere"] += other < 0.5
        if len(tiles) < 3 * SHOWN:
            name = CLASSES[index]
            tiles += [
                tile(scene.image, ", ".join(scene.labels)),
                tile(OVERLAY.paint(scene.image, values[None]), f"{name}: {percent(before)}"),
                tile(covered(scene.image, box), f"{name}: {percent(there)}"),
            ]
    print(f"{found['wrong']} wrong answers in {count} scenes")
    print(f"covering where Grad-CAM points removes      {found['there']:4}")
    print(f"covering as much elsewhere removes          {found['elsewhere']:4}")
    if picture:
        save(tiles, found["wrong"], picture)
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scenes", type=int, default=300)
    parser.add_argument("--picture", help="file for a figure of the first ones")
    options = parser.parse_args()
    main(options.scenes, options.picture)
