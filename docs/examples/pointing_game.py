"""Which methods point at the object of the target class?

The bundled model sees new scenes of two or three objects with known boxes.
Each method explains each object; a hit is a map whose maximum lies in that object's box.

    python docs/examples/pointing_game.py --scenes 200
"""

import argparse

import torch

import torchattr as ta
from torchattr.evaluate import pointing_game
from torchattr.models.collage import CLASSES, collage, preprocess
from torchattr.models.collage.making.scenes import SIZE, scenes
from torchattr.show import reduce_channels

SEED = 20_260_401
METHODS = ("saliency", "deconvolution", "guided_backprop", "grad_cam", "guided_grad_cam")


def main(count: int) -> dict[str, float]:
    """Play the game; print and return the accuracy of each method."""
    model = collage()
    maps: dict[str, list[torch.Tensor]] = {name: [] for name in (*METHODS, "middle")}
    boxes, labels = [], []
    for scene in scenes(count, SEED):
        if len(scene.labels) < 2:
            continue
        x = preprocess.normalised(scene.image[None])
        targets = ta.Classes(*map(CLASSES.index, scene.labels))
        found = ta.explain(model, x, METHODS, targets, layer="stage3")
        for name in METHODS:
            maps[name].extend(reduce_channels(found[name][0]))
        middle = torch.zeros(3, 3)
        middle[1, 1] = 1
        maps["middle"].extend([middle] * len(scene.labels))
        boxes.extend(scene.boxes)
        labels.extend(scene.labels)
    played = {
        name: pointing_game(kept, boxes, labels, size=(SIZE, SIZE)) for name, kept in maps.items()
    }
    print(f"{len(boxes)} objects in {count} scenes")
    for name, one in played.items():
        print(f"{name:16}{one.accuracy:7.1%}")
    return {name: one.accuracy for name, one in played.items()}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scenes", type=int, default=200)
    main(parser.parse_args().scenes)
