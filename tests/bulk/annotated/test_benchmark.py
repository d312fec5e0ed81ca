"""Methods on annotated pictures: what is measured, killed and resumed, refused and left out."""

from __future__ import annotations

import signal
import time
from multiprocessing import get_context

import pytest
import torch
from bulk.annotated.drawn import COUNT, NAMES, draw, network

import torchattr as ta
from torchattr.bulk import DataBenchmark
from torchattr.bulk.annotated.pictures import AnnotatedPictures
from torchattr.bulk.annotated.seen_pictures import InputForm, SeenPictureReader, labelled
from torchattr.errors import FewSamplesWarning, FolderError, InputError, InputTypeError
from torchattr.evaluate import BenchmarkPlan, benchmark

pytest.importorskip("pyarrow")

METHODS, METRICS = ["saliency", "grad_cam"], ["mass", "pointing", "deletion"]


@pytest.fixture
def pictures(tmp_path):
    return draw(tmp_path)


def measured(pictures, out="out", **changed):
    options = {"methods": METHODS, "metrics": METRICS, **changed}
    model = options.pop("model", network())
    boxes = options.pop("boxes", pictures.parent / "boxes.csv")
    return ta.benchmark_data(model, pictures, boxes, out=pictures.parent / out, **options)


def test_values_are_those_of_the_benchmark_of_the_same_pictures(pictures) -> None:
    found = measured(pictures)
    source = AnnotatedPictures(pictures, pictures.parent / "boxes.csv")
    reader = SeenPictureReader(network(), source, InputForm((3, 16, 16), 3, "softmax"))
    own = labelled(network(), [reader.read(k) for k in range(COUNT)], "softmax")
    expected = benchmark(own, methods=METHODS, metrics=METRICS)
    assert found.methods == expected.methods
    torch.testing.assert_close(found.values, expected.values)
    assert found.ranking == expected.ranking


class Killed(BaseException):
    pass


def test_what_is_done_is_kept_and_the_rest_is_the_same(pictures, monkeypatch) -> None:
    whole = measured(pictures, "whole")
    original, calls = BenchmarkPlan.values, []

    def dying(plan, batch, **options):
        calls.append(len(batch))
        if len(calls) == 2:
            raise Killed
        return original(plan, batch, **options)

    monkeypatch.setattr(BenchmarkPlan, "values", dying)
    with pytest.raises(Killed):
        measured(pictures)
    again = measured(pictures)
    assert calls == [8, 2, 2]
    assert torch.equal(again.values, whole.values)
    assert again.refused == whole.refused
    assert measured(pictures).values.equal(whole.values)
    assert len(calls) == 3


def test_another_model_method_metric_or_box_is_refused_with_the_difference(pictures) -> None:
    measured(pictures)
    said = r"out: .*out was begun with other settings: "
    for changed, differs in [
        ({"model": network(1)}, "weights or layers, by their digest: "),
        ({"methods": ["lrp"]}, "methods: .*grad_cam.*, now .*lrp"),
        ({"options": {"grad_cam": {"relu_attributions": True}}}, "methods: .*relu_attributions"),
        ({"metrics": ["mass"]}, r"metrics: \['mass', 'pointing', 'deletion'\], now \['mass'\]"),
        ({"activation": "none"}, "meaning of the scores: 'softmax', now 'none'"),
    ]:
        with pytest.raises(FolderError, match=said + f".*{differs}"):
            measured(pictures, **changed)
    file = pictures.parent / "boxes.csv"
    file.write_text(file.read_text().replace(",12,6,", ",13,6,"))
    with pytest.raises(FolderError, match="pictures and their boxes"):
        measured(pictures)


def test_what_cannot_be_measured_is_left_out_with_its_reason(pictures) -> None:
    file = pictures.parent / "boxes.csv"
    extra = ["none.png,red,9,9,20,20,60,40", "00.png,pink,20,9,30,20,60,40"]
    extra += ["01.png,blue,0,0,4,9,60,40", "02.png,red,10,6,20,16,60,40"]
    file.write_text(file.read_text() + "\n".join(extra))
    found = measured(pictures)
    assert len(found.values) == COUNT + 1
    assert set(found.left_out) == {"none.png (red)", "00.png (pink)", "01.png (blue)"}
    notes = list(found.notes())
    assert any(one.startswith("Left out: none.png (red), ") for one in notes)
    assert any("sees only part of the boxes of" in one for one in notes)
    assert found.as_dict()["left_out"] == dict(found.left_out)
    assert measured(pictures).left_out == found.left_out


def test_many_that_are_left_out_are_counted(pictures) -> None:
    file = pictures.parent / "boxes.csv"
    file.write_text(file.read_text() + "".join(f"x{k}.png,red,9,9,20,20,60,40\n" for k in range(9)))
    assert "Left out: 4 more pictures" in list(measured(pictures).notes())


def test_the_file_of_coco_gives_the_same(pictures) -> None:
    import json

    from bulk.annotated.drawn import HEIGHT, WIDTH, box_of

    boxes = [box_of(number) for number in range(COUNT)]
    size = {"width": WIDTH, "height": HEIGHT}
    content = {
        "images": [{"id": k, "file_name": f"{k:02d}.png", **size} for k in range(COUNT)],
        "categories": [{"id": 10 + k, "name": name} for k, name in enumerate(NAMES)],
        "annotations": [
            {"image_id": k, "category_id": 10 + k % 3, "bbox": [x0, y0, x1 - x0, y1 - y0]}
            for k, (x0, y0, x1, y1) in enumerate(boxes)
        ],
    }
    file = pictures.parent / "boxes.json"
    file.write_text(json.dumps(content))
    assert torch.equal(measured(pictures, boxes=file).values, measured(pictures, "csv").values)


def test_a_module_with_a_transform_and_numbers_as_classes(pictures) -> None:
    file = pictures.parent / "boxes.csv"
    text = file.read_text()
    for number, name in enumerate(NAMES):
        text = text.replace(f",{name},", f",{number},")
    file.write_text(text)
    loaded = network()
    options = {"model": loaded.model, "transform": loaded.transform, "activation": "softmax"}
    found = measured(pictures, **options)
    assert len(found.values) == COUNT


@pytest.mark.filterwarnings("ignore::torchattr.errors.FewSamplesWarning")
def test_wrong_input_is_named(pictures) -> None:
    with pytest.raises(InputTypeError, match="methods must be names or classes"):
        measured(pictures, methods={"mine": ta.Saliency})
    with pytest.raises(InputError, match="metrics has only grid, measured on grids of fresh"):
        measured(pictures, metrics="grid")
    with pytest.raises(InputError, match="out is empty"):
        ta.benchmark_data(network(), pictures, pictures.parent / "boxes.csv", out=" ")
    with pytest.raises(InputError, match="no method fits the network: raw_attention"):
        measured(pictures, methods="raw_attention")
    file = pictures.parent / "none.csv"
    file.write_text("path,label,x0,y0,x1,y1\n00.png,pink,0,0,9,9\n01.png,red,0,0,1,1\n")
    with pytest.raises(InputError, match=r"none of the 2 annotated .* first is 00.png \(pink\): "):
        measured(pictures, boxes=file)
    assert not (pictures.parent / "out").exists()


def test_a_model_without_scores_of_classes_is_refused(pictures) -> None:
    loaded = network()
    maps = type(loaded)("maps", loaded.model[:2], loaded.transform, NAMES)
    with pytest.raises(InputError, match="needs a model that returns scores of classes"):
        measured(pictures, model=maps)


def test_progress_is_shown_on_request(pictures, capsys) -> None:
    measured(pictures, show_progress=True)
    assert "10 of 10 pictures" in capsys.readouterr().err


def test_a_single_picture_has_no_interval(pictures) -> None:
    file = pictures.parent / "one.csv"
    file.write_text("path,label,x0,y0,x1,y1\n00.png,red,12,6,26,18\n")
    found = measured(pictures, boxes=file)
    with pytest.warns(FewSamplesWarning, match="at least two samples"):
        assert bool(found.intervals.low.isnan().all())


def work(folder) -> None:
    """What is killed."""
    torch.set_num_threads(1)
    measured(folder / "pictures", "killed", metrics=["mass", "road"])


@pytest.mark.slow
def test_kills_at_random_moments_change_nothing(tmp_path) -> None:
    pictures = draw(tmp_path, 48)
    torch.set_num_threads(1)
    whole = measured(pictures, "whole", metrics=["mass", "road"])
    context = get_context("fork")
    for kill in range(200):
        process = context.Process(target=work, args=(tmp_path,))
        process.start()
        time.sleep(0.02 + 0.11 * (kill % 7))
        process.kill()
        process.join()
        if process.exitcode == 0:
            break
        assert process.exitcode == -signal.SIGKILL
    found = measured(pictures, "killed", metrics=["mass", "road"])
    assert torch.equal(found.values, whole.values)
    assert kill > 0


def test_it_is_begun_and_continued_in_parts(pictures) -> None:
    source = AnnotatedPictures(pictures, pictures.parent / "boxes.csv")
    plan = BenchmarkPlan.of([*METHODS, "raw_attention"], METRICS)
    begun = DataBenchmark.begin(network(), source, plan, pictures.parent / "out")
    assert list(begun.plan.refused) == ["raw_attention"]
    again = DataBenchmark.begin(network(), source, plan, pictures.parent / "out")
    assert again.plan.names == begun.plan.names
    assert again.form == begun.form
