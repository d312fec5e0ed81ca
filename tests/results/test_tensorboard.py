import sys

import numpy as np
import pytest
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from torchattr.errors import FolderError, PackageError
from torchattr.results import Entry, TensorBoard
from torchattr.show import Drawing


def entry(index, value):
    pixels = np.full((6, 8, 3), value, np.uint8)
    pixels[0, 0] = (1, 2, 3)
    drawing = Drawing(8, 6)
    drawing.place(pixels, (0, 0, 8, 6))
    return Entry(
        f"picture-{index}",
        drawing,
        {"maps": np.ones(3)},
        {"source": f"{index}.png"},
        group="activations/features.3",
        index=index,
        singles=lambda: [("0007", pixels // 2)],
    )


def read_back(folder):
    log = EventAccumulator(str(folder), size_guidance={"images": 0, "tensors": 0})
    log.Reload()
    return log


def pixels(event, folder):
    file = folder / "back.png"
    file.write_bytes(event.encoded_image_string)
    with Image.open(file) as image:
        return np.asarray(image)


def test_grids_and_single_maps_are_read_back_with_the_index_as_step(tmp_path):
    entries = [entry(0, 40), entry(1, 200)]
    with TensorBoard(tmp_path / "log") as sink:
        for one in entries:
            assert sink.add(one) == []
    log = read_back(tmp_path / "log")
    tags = ["activations features.3/0007", "activations features.3/grid"]
    assert sorted(log.Tags()["images"]) == tags
    grids = log.Images("activations features.3/grid")
    assert [event.step for event in grids] == [0, 1]
    for event, one in zip(grids, entries, strict=True):
        np.testing.assert_array_equal(pixels(event, tmp_path), np.asarray(one.picture))
    single = log.Images("activations features.3/0007")[1]
    np.testing.assert_array_equal(pixels(single, tmp_path), np.asarray(entries[1].picture) // 2)


def test_which_file_a_step_is_can_be_read(tmp_path):
    with TensorBoard(tmp_path) as sink:
        sink.add(entry(3, 9))
        sink.add(Entry("summary", None, {}, text="a table"))
        sink.skip("broken.png", "truncated")
    log = read_back(tmp_path)
    texts = {
        tag: log.Tensors(tag)[0].tensor_proto.string_val[0].decode()
        for tag in log.Tags()["tensors"]
    }
    assert '"source": "3.png"' in texts["activations features.3/record/text_summary"]
    assert "a table" in texts["explanations/record/text_summary"]
    assert "broken.png: truncated" in texts["skipped/text_summary"]


def test_nothing_is_made_before_something_is_written(tmp_path):
    with TensorBoard(tmp_path / "log"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_written_to_is_named_at_once(tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(FolderError, match=r"logdir: cannot write to .*is not a folder"):
        TensorBoard(tmp_path / "file" / "log")


def test_a_disk_that_fills_up_is_named(tmp_path):
    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    sink = TensorBoard(tmp_path)
    sink._make = full
    with pytest.raises(FolderError, match=r"logdir: .*No space left on device"):
        sink.add(entry(0, 1))


def test_without_tensorboard_the_way_to_it_is_said(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(PackageError, match="pip install tensorboard"):
        TensorBoard(tmp_path)
