"""Random classifiers of transformers, against `explain` and against its own pipeline."""

from importlib.util import find_spec

import numpy as np
import pytest
import torch
from PIL import Image

import torchattr as ta
from torchattr.errors import ImageError, InputError, InputTypeError, PackageError
from torchattr.integrations import AttributionPipeline, classifier_of

if find_spec("transformers") is None:
    pytest.skip("transformers is not installed", allow_module_level=True)

import transformers

# The layer that Grad-CAM chooses is named, as elsewhere.
pytestmark = pytest.mark.filterwarnings("ignore::torchattr.errors.LayerChoiceWarning")

SIZE = {"height": 32, "width": 32}


def vit(**config):
    torch.manual_seed(0)
    labels = config.pop("labels", ["cat", "dog", "owl"])
    return transformers.ViTForImageClassification(
        transformers.ViTConfig(
            hidden_size=16,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=32,
            image_size=32,
            patch_size=8,
            id2label=dict(enumerate(labels)),
            **config,
        )
    )


def resnet():
    torch.manual_seed(0)
    config = transformers.ResNetConfig(
        embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], num_labels=4
    )
    return transformers.ResNetForImageClassification(config)


@pytest.fixture(scope="module")
def processor():
    return transformers.ViTImageProcessor(size=SIZE)


@pytest.fixture(scope="module")
def images():
    rng = np.random.default_rng(0)
    return [Image.fromarray(rng.integers(0, 255, (40, 60, 3), np.uint8)) for _ in range(3)]


@pytest.mark.parametrize("problem", [None, "multi_label_classification"])
def test_labels_and_scores_are_those_of_the_pipeline(images, processor, problem):
    model = vit(problem_type=problem)
    theirs = transformers.pipeline("image-classification", model, image_processor=processor)
    for ours in (AttributionPipeline(theirs), AttributionPipeline(model, processor)):
        for expected, found in zip(theirs(images, top_k=2), ours(images, top_k=2), strict=True):
            assert [one["label"] for one in found] == [one["label"] for one in expected]
            scores = [one["score"] for one in expected]
            assert [one["score"] for one in found] == pytest.approx(scores, abs=1e-6)


def test_maps_are_those_of_explain(images, processor):
    model = vit()
    ours = AttributionPipeline(model, processor, ["saliency", "attention_rollout"])
    inputs = processor(images[0], return_tensors="pt")["pixel_values"]
    wanted = ta.explain(
        model, inputs, ["saliency", "attention_rollout"], ta.TopK(2), output="logits"
    )
    for place, found in enumerate(ours(images[0], top_k=2)):
        assert list(found["maps"]) == ["saliency", "attention_rollout"]
        for method, values in found["maps"].items():
            assert np.array_equal(values, wanted[method][0, place].detach().numpy())


def test_batches_give_what_single_images_do(images, processor):
    one, three = (
        AttributionPipeline(vit().double(), _Double(processor), batch_size=size) for size in (1, 3)
    )
    for first, second in zip(one(images, 1), three(images, 1), strict=True):
        assert first[0]["label"] == second[0]["label"]
        assert np.allclose(first[0]["maps"]["grad_cam"], second[0]["maps"]["grad_cam"], atol=1e-12)


class _Double:
    def __init__(self, processor):
        self._processor = processor

    def __call__(self, image, return_tensors):
        found = self._processor(image, return_tensors=return_tensors)
        return {"pixel_values": found["pixel_values"].double()}


def test_a_convolutional_classifier_is_explained(images, processor, tmp_path):
    images[0].save(tmp_path / "a.png")
    pipeline = AttributionPipeline(resnet(), processor)
    (found,) = pipeline(str(tmp_path / "a.png"), top_k=1)
    assert found["label"].startswith("LABEL_")
    assert found["maps"]["grad_cam"].ndim == 3
    assert pipeline.panel(tmp_path / "a.png", top_k=2, cell=64).width > 2 * 64


def test_a_classifier_runs_in_jobs(processor):
    loaded = classifier_of(vit(), processor)
    assert loaded.class_names == ("cat", "dog", "owl")
    prepared = loaded.preprocess(Image.new("RGB", (60, 40)))
    assert prepared.tensor.shape == (3, 32, 32)
    assert tuple(prepared.box) == (0, 0, 60, 40)


def test_a_damaged_file_is_named(processor, tmp_path):
    (tmp_path / "a.png").write_bytes(b"none")
    with pytest.raises(ImageError, match=r"a\.png"):
        AttributionPipeline(vit(), processor)([tmp_path / "a.png"])


def test_what_does_not_fit_is_refused(processor):
    with pytest.raises(InputError, match="must be an image classifier of transformers, got Linear"):
        AttributionPipeline(torch.nn.Linear(1, 1), processor)
    with pytest.raises(InputError, match="processor is missing"):
        AttributionPipeline(vit())
    with pytest.raises(InputError, match="batch_size must be positive, got 0"):
        AttributionPipeline(vit(), processor, batch_size=0)
    with pytest.raises(InputTypeError, match="must be paths or PIL images, got ndarray"):
        AttributionPipeline(vit(), processor)([np.zeros((4, 4, 3))])


def test_a_name_needs_the_package(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "transformers", None)
    with pytest.raises(PackageError, match="pip install transformers"):
        AttributionPipeline("some/name")
