"""The number of copies to run at once: chosen from free memory, halved when it runs out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, TypeAlias, TypeVar

import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.overrides import TorchFunctionMode

from torchattr.core.device_faults import is_out_of_memory
from torchattr.core.free_memory import free_bytes
from torchattr.core.pytree import tensors_of
from torchattr.core.stepping import counted
from torchattr.core.torch_private import DisableTorchFunction, opened
from torchattr.core.types import Forward
from torchattr.core.undoing import Undo, undoing, undone
from torchattr.errors import OutOfMemory
from torchattr.incremental import run_by
from torchattr.layers import OPENED, enter_mode, modules_behind

T = TypeVar("T")
Keeps: TypeAlias = Callable[[Any, Sequence[Any], Mapping[str, Any]], Sequence[Tensor]]

# On a CPU more rows at once are no faster, but leave the caches.
CPU_ROWS = 64
CPU_BYTES = 2**29
# Beyond this many elements in one tensor many kernels fall back to slower ones, or fail.
LARGEST_ELEMENTS = 2**31 - 1
# The others on the machine, fragmentation and workspaces need room as well.
SHARE_OF_FREE = 0.5


class Footprint(TorchFunctionMode):
    """Records the sizes of the tensors that a forward makes, those inside attention included.

    What an operation writes over or only views is counted once: memory counts, not tensors.

    Args:
        keeps: returns what a method keeps of a call of a function, given its arguments.

    Attributes:
        total: bytes of all of them together.
        largest: bytes of the largest.
        elements: number of elements of the one that has most.
        peak: maximum bytes of all that were alive at the same time.
        kept: bytes of what the method keeps.
    """

    def __init__(self, keeps: Keeps = lambda function, args, kwargs: ()) -> None:
        super().__init__()
        self._keeps = keeps
        self.kept = 0
        self.total = 0
        self.largest = 0
        self.elements = 0
        self.peak = 0
        self._live: dict[int, tuple[StorageWeakRef, int]] = {}

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func in OPENED:
            return undoing(partial(self._run_opened, func, args, kwargs))
        # What shares its memory with an argument, such as a parameter, is not allocated.
        given = set(map(_storage_id, tensors_of((args, kwargs))))
        with DisableTorchFunction():
            self.kept += sum(
                one.numel() * one.element_size() for one in self._keeps(func, args, kwargs)
            )
        result = func(*args, **kwargs)
        for value in result if isinstance(result, (tuple, list)) else (result,):
            if isinstance(value, Tensor) and _storage_id(value) not in given:
                self.note(value)
        return result

    def _run_opened(self, func: Any, args: Any, kwargs: Any, undo: Undo) -> Any:
        """Run the body of a function of PyTorch under this mode."""
        enter_mode(undo, self)
        return opened(func)(*args, **kwargs)

    def around(self, model: Forward) -> Forward:
        """Return the model, recorded with what it is given.

        Entered after the modes of a trace, this one does not see what they ask tensors.
        """

        def record(run_model: Callable[..., Any], args: Sequence[Any]) -> Any:
            for tensor in args:
                if isinstance(tensor, Tensor):
                    self.note(tensor)
            with undone() as undo:
                enter_mode(undo, self)
                return run_model(*args)

        return run_by(model, record)

    def note(self, tensor: Tensor) -> None:
        """Count a tensor, if its size is known: some tensor classes have none."""
        with suppress(Exception), DisableTorchFunction():
            self._count(tensor)

    def _count(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        self.elements = max(self.elements, tensor.numel())
        # While it is referred to weakly, the identity of a storage that is gone is not used again.
        self._live = {key: one for key, one in self._live.items() if not one[0].expired()}
        if storage._cdata in self._live:
            return
        size = storage.nbytes()
        self._live[storage._cdata] = StorageWeakRef(storage), size
        self.total += size
        self.largest = max(self.largest, size)
        self.peak = max(self.peak, sum(size for _, size in self._live.values()))

    @property
    def bytes(self) -> int:
        """An estimate of what a forward without graph needs: few of its tensors live at a time."""
        return min(self.total, 8 * self.largest)

    @property
    def bytes_with_graph(self) -> int:
        """A bound on what a forward and backward need: all tensors, and a few gradients."""
        return self.total + 4 * self.largest

    @property
    def bytes_of_comparison(self) -> int:
        """An estimate for two forwards of which a method keeps its part, and one backward.

        The matrices of attention are made again in it, one layer's at a time: they count as some of
        the few gradients, so that this is too low where there are far more tokens than channels.
        """
        return 2 * self.kept + 4 * self.largest


def _storage_id(tensor: Tensor) -> int | None:
    """Return what identifies the memory of a tensor; `None` for classes that have none."""
    with suppress(Exception), DisableTorchFunction():
        return tensor.untyped_storage()._cdata
    return None


def fitting(needed: int, footprint: Footprint, batch_size: int, device: torch.device) -> int:
    """Return the number of copies of a batch to run at once, at least 1.

    Args:
        needed: bytes that one copy needs.
        footprint: the tensors that one copy makes.
        batch_size: examples in the batch.
        device: where it runs.
    """
    limits = [
        int(free_bytes(device) * SHARE_OF_FREE) // max(needed, 1),
        LARGEST_ELEMENTS // max(footprint.elements, 1),
    ]
    if device.type == "cpu":
        limits += [CPU_ROWS // max(batch_size, 1), CPU_BYTES // max(needed, 1)]
    return max(min(limits), 1)


def has_fixed_batch(forward: Forward) -> bool:
    """Whether a model takes only batches of the size that it was exported with."""
    graphs = [
        submodule.graph
        for module in modules_behind(forward)
        for submodule in module.modules()
        if isinstance(submodule, torch.fx.GraphModule)
    ]
    values = [
        node.meta.get("val") for graph in graphs for node in graph.nodes if node.op == "placeholder"
    ]
    return any(isinstance(v, Tensor) and v.dim() and isinstance(v.shape[0], int) for v in values)


def in_batches(total: int, size: int, evaluate: Callable[[int, int], T], what: str) -> Iterator[T]:
    """Evaluate `[0, total)` in ranges of at most `size`, halved whenever memory runs out.

    Raises:
        OutOfMemory: even a range of one does not fit.
    """
    start = 0
    with counted(total) as begin:
        while start < total:
            stop = min(start + size, total)
            begin(start, stop)
            try:
                result = evaluate(start, stop)
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                if stop - start == 1:
                    raise OutOfMemory(
                        f"not even a single {what} of the batch fits into memory; pass fewer"
                        " examples at once, smaller inputs, or use another device"
                        f" ({first_line(error)})"
                    ) from error
                size = (stop - start) // 2
                continue
            yield result
            start = stop


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message, or its class."""
    return (str(error) or type(error).__name__).splitlines()[0]
