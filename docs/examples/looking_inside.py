"""Draw the feature maps of a layer, and what in a picture makes the maps of another one respond.

python docs/examples/looking_inside.py --folder docs/images
"""

import argparse
from pathlib import Path

import torchattr as ta
from torchattr.models import load_model
from torchattr.results import Display
from torchattr.show import Drawing, FigureHead

PICTURE = "astronaut_cat"


def drawings(maps_of: str, projected: str) -> dict[str, Drawing]:
    """Return the drawings by the names of their files.

    maps_of: the layer whose maps are all drawn.
    projected: the layer whose nine strongest maps are projected back.
    """
    demo = load_model("demo")
    photo = demo.preprocess(ta.example(PICTURE))
    x, head = photo.tensor[None], FigureHead("demo", PICTURE, photo.original)
    maps = ta.feature_maps(demo.model, x, maps_of)
    projection = ta.back_project(demo.model, x, projected, channels="top9")
    shown = Display.of(demo.transform).picture
    return {
        "feature-maps.png": maps.draw(maps_of, columns=8, head=head),
        "back-projections.png": projection.draw(display=shown, head=head),
    }


def main(folder: str, maps_of: str = "stem.relu", projected: str = "stage1") -> list[Path]:
    """Write the drawings; return the files."""
    Path(folder).mkdir(parents=True, exist_ok=True)
    files = []
    for name, drawn in drawings(maps_of, projected).items():
        file = Path(folder) / name
        drawn.save(file)
        print(file)
        files.append(file)
    return files


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", default=".")
    main(parser.parse_args().folder)
