import pytest
import torch

from torchattr.errors import WeightsError
from torchattr.models import load_model, read_image
from torchattr.models.collage import CLASSES, collage, examples


def test_the_demo_knows_its_classes_and_shows_the_whole_picture():
    loaded = load_model("demo", weights="random")
    assert (loaded.name, loaded.activation) == ("demo", "sigmoid")
    assert loaded.class_names == CLASSES
    assert not any(module.training for module in loaded.model.modules())
    image = read_image(examples()[0].path)
    prepared = loaded.preprocess(image)
    assert prepared.box == (0, 0, *image.size)
    probabilities = loaded.probabilities(loaded.model(prepared.tensor[None]))
    assert probabilities.shape == (1, len(CLASSES))


def test_the_demo_is_trained():
    example = examples()[0]
    loaded = load_model("demo")
    scores = loaded.model(loaded.preprocess(read_image(example.path)).tensor[None])
    found = {CLASSES[i] for i in torch.nonzero(loaded.probabilities(scores)[0] > 0.5).flatten()}
    assert found == set(example.labels)


def test_weights_from_a_file(tmp_path):
    state = {k: torch.zeros_like(v) for k, v in collage(weights=False).state_dict().items()}
    torch.save(state, tmp_path / "w.pth")
    loaded = load_model("demo", weights=tmp_path / "w.pth")
    assert all((p == 0).all() for p in loaded.model.parameters())
    with pytest.raises(WeightsError, match="there is no file"):
        load_model("demo", weights=tmp_path / "none.pth")
