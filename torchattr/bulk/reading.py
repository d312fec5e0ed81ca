"""Read and preprocess pictures in processes of their own, as batches of a single shard."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from multiprocessing.process import BaseProcess
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, Sampler

from torchattr.bulk.sources import Pictures
from torchattr.core.device_faults import is_out_of_memory
from torchattr.core.inputs import all_finite
from torchattr.errors import ImageError, OutOfMemory, TorchattrError, WorkerError
from torchattr.models import LoadedModel

_AHEAD = 2
"""Batches that each process has ready."""

_NICENESS = 10
"""How far processes that read step back behind the threads that compute on the same cores."""

_ENDING_S = 2.0
"""Seconds that a process gets to end after PyTorch has told it to."""

_LOST = "DataLoader worker (pid"
"""What PyTorch says of a process that died; not of an error in one, which it names otherwise."""


@dataclass(frozen=True, eq=False)
class ReadPicture:
    """One picture, or why it could not be read.

    Attributes:
        inputs: the model's input `(C, H, W)`.
        reason: why there is none.
        size: width and height of the picture as it was read.
        box: the part of it, in its pixels, that the input shows.
    """

    inputs: Tensor | None = None
    reason: str | None = None
    size: tuple[int, int] | None = None
    box: tuple[float, ...] | None = None


@dataclass(frozen=True, eq=False)
class ReadBatch:
    """Pictures of one shard, in order.

    Attributes:
        positions: those of all of them in the data set.
        pictures: what was read, without the inputs.
        inputs: the inputs `(M, C, H, W)` of those that could be read; `None` if none could.
    """

    positions: list[int]
    pictures: list[ReadPicture]
    inputs: Tensor | None

    @classmethod
    def of(cls, read: Sequence[tuple[int, ReadPicture]]) -> ReadBatch:
        """Return the batch of these positions and pictures."""
        tensors = [one.inputs for _, one in read if one.inputs is not None]
        return cls(
            [position for position, _ in read],
            [replace(one, inputs=None) for _, one in read],
            torch.stack(tensors) if tensors else None,
        )

    def without(self, places: Sequence[int], reason: str) -> ReadBatch:
        """Return the batch without the pictures at these places, for this reason."""
        dropped = {place for place in places if self.pictures[place].reason is None}
        if not dropped or self.inputs is None:
            return self
        kept = [row for row, place in enumerate(self.good) if place not in dropped]
        pictures = [
            replace(one, reason=reason) if place in dropped else one
            for place, one in enumerate(self.pictures)
        ]
        return ReadBatch(self.positions, pictures, self.inputs[kept] if kept else None)

    @property
    def good(self) -> list[int]:
        """The places in the batch of the pictures that could be read."""
        return [place for place, one in enumerate(self.pictures) if one.reason is None]


class PicturesToRead(Dataset):
    """Reads and preprocesses the picture at a position.

    Args:
        source: the pictures.
        loaded: the model whose preprocessing is used.
        shape: what all inputs must have, if it is known.
    """

    def __init__(
        self, source: Pictures, loaded: LoadedModel, shape: Sequence[int] | None = None
    ) -> None:
        self._source = source
        # A process that reads needs only the preprocessing.
        self._loaded = replace(loaded, model=nn.Identity())
        self._shape = None if shape is None else tuple(shape)

    def __getitem__(self, position: int) -> tuple[int, ReadPicture]:
        try:
            return position, self._read(position)
        except ImageError as error:
            return position, ReadPicture(reason=str(error))

    def _read(self, position: int) -> ReadPicture:
        picture = self._source.read(position)
        if isinstance(picture, Tensor):
            return ReadPicture(self._checked(picture))
        prepared = self._preprocessed(picture)
        tensor = self._checked(prepared.tensor)
        return ReadPicture(tensor, None, picture.size, tuple(prepared.box))

    def _preprocessed(self, picture: Image.Image) -> Any:
        try:
            return self._loaded.preprocess(picture)
        except (RuntimeError, ArithmeticError, OSError) as error:
            raise ImageError(f"the transform of {self._loaded.name} fails: {error}") from error

    def _checked(self, inputs: Tensor) -> Tensor:
        shape = tuple(inputs.shape)
        if self._shape not in (None, shape):
            raise ImageError(
                f"its input has the shape {shape}, and the arrays of this run are for"
                f" {self._shape}; use a transform that makes all inputs equally large"
            )
        if not all_finite(inputs):
            raise ImageError("its input holds NaN or infinite values")
        return inputs


class _GivenBatches(Sampler):
    """The positions of each batch, taken from an iterator as they are needed."""

    def __init__(self, batches: Iterable[list[int]]) -> None:
        self._batches = batches

    def __iter__(self) -> Iterator[list[int]]:
        return iter(self._batches)


def read_batches(
    pictures: PicturesToRead,
    batches: Iterable[list[int]],
    workers: int,
    device_type: str = "cpu",
) -> Iterator[ReadBatch]:
    """Return batches of pictures, read some batches ahead by other processes.

    Args:
        pictures: what reads them.
        batches: the positions of each batch; asked for as they are needed.
        workers: number of processes that read; 0 reads in this one.
        device_type: of what computes. A GPU gets batches in memory that it can copy from while it
            computes; to threads of this process, those that read leave the cores.

    Returns:
        the batches; whoever takes them calls `end_reading` afterwards.
    """
    options: dict[str, Any] = {}
    if workers:
        forks = "fork" in multiprocessing.get_all_start_methods()
        options = {
            "multiprocessing_context": "fork" if forks else None,
            "prefetch_factor": _AHEAD,
            "worker_init_fn": _step_back if device_type == "cpu" else None,
        }
    loader: DataLoader = DataLoader(
        pictures,
        batch_sampler=_GivenBatches(batches),
        num_workers=workers,
        collate_fn=ReadBatch.of,
        pin_memory=device_type == "cuda",
        **options,
    )
    # Processes are forked here, before the caller starts threads.
    return iter(loader)


def end_reading(batches: Iterator[ReadBatch]) -> None:
    """End the processes that read, whether all batches were taken or not.

    PyTorch ends them when the iterator is deleted. That may be anywhere, and what the handler of
    its signal raises there for a process that had died cannot be caught. If it raises, PyTorch does
    not wait for the others.
    """
    end = getattr(batches, "_shutdown_workers", None)
    if end is None:  # This process reads.
        return
    try:
        end()
    except RuntimeError as error:
        if _LOST not in str(error):
            raise
    finally:
        _see_dead(batches._workers)  # type: ignore[attr-defined]


def _see_dead(processes: Iterable[BaseProcess]) -> None:
    """Wait for these processes, which were told to end, and kill those that do not."""
    for process in processes:
        process.join(_ENDING_S)
        if process.is_alive():
            process.kill()
            process.join()


def _step_back(worker: int) -> None:
    """Let the threads that compute go first: each operation ends when the last of them has."""
    del worker
    if hasattr(os, "nice"):  # Not on Windows.
        os.nice(_NICENESS)


@contextmanager
def dying_is_a_sentence() -> Iterator[None]:
    """Raise a sentence if a process that reads dies, or memory runs out, during a `with` block.

    PyTorch raises it from the handler of a signal, wherever the main thread is; or a connection to
    the process breaks first.

    Raises:
        WorkerError: one died.
        OutOfMemory: memory ran out, wherever.
    """
    try:
        yield
    except TorchattrError:
        raise
    except (RuntimeError, MemoryError, ConnectionError, EOFError) as error:
        if is_out_of_memory(error):
            raise OutOfMemory(
                "memory ran out while pictures were read or maps written; shards that are done are"
                " kept: run the same again, with fewer workers or smaller batches"
            ) from error
        if isinstance(error, RuntimeError) and _LOST not in str(error):
            raise
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise WorkerError(
            f"a process that reads pictures died ({first}), often because memory ran out, or shared"
            " memory (/dev/shm) in a container; shards that are done are kept: run the same again,"
            " with fewer workers or smaller batches"
        ) from error
