"""Reading: order, shapes, failures, and processes that die."""

import multiprocessing
import os
import signal

import pytest
import torch
from PIL import Image

from torchattr.bulk import Pictures
from torchattr.bulk.reading import (
    PicturesToRead,
    ReadBatch,
    dying_is_a_sentence,
    end_reading,
    read_batches,
)
from torchattr.errors import ImageError, ModelError, OutOfMemory, WorkerError
from torchattr.models import LoadedModel


class Images(Pictures):
    def ids(self):
        return ["a", "b", "c", "d"]

    def read(self, position):
        if position == 1:
            raise ImageError("b: damaged or truncated")
        return Image.new("RGB", (10, 6), (position * 50, 0, 0))


class Deadly(Images):
    def read(self, position):
        if position == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().read(position)


@pytest.mark.parametrize("workers", [0, 2])
def test_batches_come_in_order_with_their_failures(loaded, workers) -> None:
    pictures = PicturesToRead(Images(), loaded, (3, 8, 8))
    first, second = read_batches(pictures, iter([[0, 1, 2], [3]]), workers)
    assert (first.positions, first.good, second.positions) == ([0, 1, 2], [0, 2], [3])
    assert first.pictures[1].reason == "b: damaged or truncated"
    assert torch.allclose(first.inputs[:, 0, 0, 0] * 255, torch.tensor([0.0, 100.0]))
    assert (second.pictures[0].size, second.pictures[0].box) == ((10, 6), (0, 0, 10, 6))
    assert second.pictures[0].inputs is None


def test_tensors_are_inputs_as_they_are(loaded, tensors) -> None:
    (batch,) = read_batches(PicturesToRead(tensors(), loaded), [[4]], 0)
    assert torch.equal(batch.inputs[0], tensors().read(4))


def test_an_input_of_another_shape_is_a_failure(loaded) -> None:
    (batch,) = read_batches(PicturesToRead(Images(), loaded, (3, 9, 9)), [[0]], 0)
    assert batch.inputs is None
    assert "the shape (3, 8, 8), and the arrays of this run are for (3, 9, 9)" in (
        batch.pictures[0].reason
    )


def test_an_input_that_is_not_finite_is_a_failure(loaded, tensors) -> None:
    class Infinite(tensors):
        def read(self, position):
            return super().read(position) / (0 if position else 1)

    (batch,) = read_batches(PicturesToRead(Infinite(), loaded), [[0, 1]], 0)
    assert batch.good == [0]
    assert batch.pictures[1].reason == "its input holds NaN or infinite values"


def test_a_transform_that_fails_on_a_picture_is_its_failure() -> None:
    def fail(image):
        raise RuntimeError("too small")

    loaded = LoadedModel("tiny", torch.nn.Flatten(), fail)
    (batch,) = read_batches(PicturesToRead(Images(), loaded), [[0]], 0)
    assert batch.pictures[0].reason == "the transform of tiny fails: too small"


def test_a_transform_that_returns_no_tensor_ends_the_run() -> None:
    loaded = LoadedModel("tiny", torch.nn.Flatten(), lambda image: image)
    with pytest.raises(ModelError, match="must turn a PIL image into a tensor"):
        next(read_batches(PicturesToRead(Images(), loaded), [[0]], 0))


def test_batches_are_asked_for_only_a_few_ahead(loaded, tensors) -> None:
    asked = []

    def batches():
        for position in range(100):
            asked.append(position)
            yield [position]

    found = read_batches(PicturesToRead(tensors(100), loaded), batches(), 1)
    next(found)
    assert len(asked) < 10


class Niceness(Pictures):
    """Pictures that hold how far the process that reads them steps back."""

    def ids(self):
        return ["0"]

    def read(self, position):
        return torch.full((1, 1, 1), float(os.nice(0)))


@pytest.mark.parametrize(("device", "further"), [("cpu", 10), ("meta", 0)])
def test_only_where_threads_compute_processes_step_back(loaded, device, further) -> None:
    pictures = PicturesToRead(Niceness(), loaded)
    (batch,) = read_batches(pictures, [[0]], 1, device)
    assert batch.inputs.item() == min(os.nice(0) + further, 19)


def test_a_process_that_dies_is_a_sentence(loaded) -> None:
    found = read_batches(PicturesToRead(Deadly(), loaded), [[0], [2], [3]], 1)
    with pytest.raises(WorkerError, match="shards that are done are kept"), dying_is_a_sentence():
        list(found)
    end_reading(found)


def test_reading_ends_for_good_whether_a_process_has_died_or_not(loaded, tensors) -> None:
    found = read_batches(PicturesToRead(tensors(100), loaded), [[k] for k in range(100)], 2)
    next(found)
    first, second = multiprocessing.active_children()
    os.kill(first.pid, signal.SIGKILL)
    end_reading(found)
    assert not first.is_alive()
    assert not second.is_alive()
    end_reading(found)


@pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="processes cannot be stopped here")
@pytest.mark.parametrize("another_died", [True, False])
def test_a_process_that_cannot_end_is_killed(loaded, tensors, another_died) -> None:
    found = read_batches(PicturesToRead(tensors(100), loaded), [[k] for k in range(100)], 2)
    next(found)
    first, second = multiprocessing.active_children()
    # What is stopped does not see that it is told to end.
    os.kill(second.pid, signal.SIGSTOP)
    try:
        if another_died:
            os.kill(first.pid, signal.SIGKILL)
        end_reading(found)
        assert not first.is_alive()
        assert not second.is_alive()
    finally:
        second.kill()


def test_where_this_process_reads_nothing_has_to_end(loaded, tensors) -> None:
    found = read_batches(PicturesToRead(tensors(), loaded), [[0], [1]], 0)
    end_reading(found)
    assert [batch.positions for batch in found] == [[0], [1]]


@pytest.mark.parametrize("error", [ConnectionResetError(104, "reset"), EOFError()])
def test_a_connection_that_breaks_is_a_process_that_died(error) -> None:
    with pytest.raises(WorkerError, match="run the same again"), dying_is_a_sentence():
        raise error


class Failing(Pictures):
    """Pictures whose reading ends with an error."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def ids(self):
        return ["0"]

    def read(self, position):
        raise self.error


@pytest.mark.parametrize("workers", [0, 1])
def test_memory_that_runs_out_is_a_sentence(loaded, workers) -> None:
    pictures = PicturesToRead(Failing(MemoryError()), loaded)
    with pytest.raises(OutOfMemory, match="smaller batches"), dying_is_a_sentence():
        next(read_batches(pictures, [[0]], workers))


def test_an_error_in_a_process_is_not_its_death(loaded) -> None:
    pictures = PicturesToRead(Failing(RuntimeError("its own")), loaded)
    with pytest.raises(RuntimeError, match="its own"), dying_is_a_sentence():
        next(read_batches(pictures, [[0]], 1))


def test_other_errors_stay_what_they_are() -> None:
    with pytest.raises(RuntimeError, match=r"^another$"), dying_is_a_sentence():
        raise RuntimeError("another")


def test_pictures_are_taken_out_of_a_batch() -> None:
    batch = ReadBatch.of([(k, one) for k, one in enumerate(map(_read, (0, None, 2, 3)))])
    left = batch.without([0, 1], "no label")
    assert (left.good, left.inputs.flatten().tolist()) == ([2, 3], [2, 3])
    assert [one.reason for one in left.pictures] == ["no label", "broken", None, None]
    assert batch.without([1], "no label") is batch
    assert batch.without([0, 2, 3], "no label").inputs is None


def _read(value):
    from torchattr.bulk.reading import ReadPicture

    if value is None:
        return ReadPicture(reason="broken")
    return ReadPicture(torch.full((1, 1, 1), float(value)))
