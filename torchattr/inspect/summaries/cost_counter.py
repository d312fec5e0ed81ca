"""Cost of each module in a forward: multiply-adds, operations, memory saved for backward."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef

from torchattr.core.pytree import shape_of, tensors_of
from torchattr.core.torch_private import TorchDispatchMode
from torchattr.core.types import Forward
from torchattr.core.undoing import undone
from torchattr.inspect.recording.module_stack import ModuleStack
from torchattr.inspect.recording.operation_calls import OperationCall, OperationWatcher
from torchattr.layers import Trace, enter_dispatch_mode, nodes_of, pack_saved, refuse_scripted

Shape = tuple[int, ...]


class CostCounter:
    """One forward of a model, as an attribution runs it, with costs by module name.

    Counts are a module's own, without its children. Saved tensors are not kept: the run takes no
    more memory than inference.

    Attributes:
        shapes: the output shape, or shapes, of each call of a module.
        sizes: bytes of the outputs, over all calls.
        operations: number of calls of each operation.
        followed: number of calls of each operation on the gradient path from the outputs to the
            inputs, without constants and what no output depends on. Integer inputs have no
            gradients: then all calls.
        multiply_adds: of convolutions and matrix products, by PyTorch's formulas.
        remembered: bytes that a gradient saves for backward, besides parameters.
        trace: the forward.
    """

    def __init__(
        self,
        model: Forward,
        names: Mapping[str, nn.Module],
        inputs: Sequence[Tensor],
        arguments: Sequence[Any],
    ) -> None:
        refuse_scripted(model)
        self._outputs = _Outputs()
        self.shapes, self.sizes = self._outputs.shapes, self._outputs.sizes
        self.operations: dict[str, Counter[str]] = defaultdict(Counter)
        self.followed: dict[str, Counter[str]] = defaultdict(Counter)
        self.multiply_adds: Counter[str] = Counter()
        self._nodes: list[tuple[str, str, Any]] = []
        paths = ModuleStack(names, self._outputs)
        self._saved = saved = _Saved(paths, _storages(model))
        operations = OperationWatcher(names, paths, self._ran, self._begin)
        # No backward ever unpacks what is packed.
        remembering = torch.autograd.graph.saved_tensors_hooks(saved.pack, _forgotten)
        with undone() as undo:
            pack_saved(undo, remembering)
            enter_dispatch_mode(undo, _Formulas(paths, self.multiply_adds))
            self.trace = Trace(operations.around(model), inputs, arguments, key=self._whole)
        self.remembered = saved.bytes()
        self._follow()

    def _begin(self) -> None:
        """Reset the counts: a model that takes gradients itself runs twice."""
        for counts in (self.shapes, self.sizes, self.operations, self.multiply_adds, self._nodes):
            counts.clear()
        self._saved.forget()

    def _whole(self, output: Any) -> Tensor:
        """Record the output of the model itself; return a scalar that depends on all of it."""
        self._outputs("", output)
        ends = [tensor.sum() for tensor in tensors_of(output) if tensor.requires_grad]
        # Outputs may have several dtypes and devices.
        return torch.stack([end.to(ends[0]) for end in ends]).sum() if ends else torch.empty(0)

    def _ran(self, ran: OperationCall, output: Tensor) -> None:
        self.operations[ran.path][ran.operation] += 1
        # A view that is written in place gets another node; its base has that of the call.
        whole = output._base if ran.call.inplace and output._base is not None else output
        if whole.grad_fn is not None:
            self._nodes.append((ran.path, ran.operation, whole.grad_fn))

    def _follow(self) -> None:
        """Count the operations that the graph of the outputs reaches."""
        if not any(self.trace.input_edges):
            self.followed = self.operations
        reached = set(nodes_of(self.trace.output))
        for path, operation, node in self._nodes:
            self.followed[path][operation] += node in reached
        self._nodes.clear()


class _Outputs:
    """Records the shapes and sizes of module outputs."""

    def __init__(self) -> None:
        self.shapes: dict[str, list[Any]] = defaultdict(list)
        self.sizes: Counter[str] = Counter()

    def __call__(self, name: str, output: Any) -> None:
        tensors = tensors_of(output)
        shapes = [tuple(shape_of(tensor)) for tensor in tensors]
        self.shapes[name].append(shapes[0] if isinstance(output, Tensor) else tuple(shapes))
        counted = (one for one in tensors if one.layout == torch.strided and not one.is_nested)
        self.sizes[name] += sum(tensor.nbytes for tensor in counted)


class _Saved:
    """Records the memory that a forward saves for its backward.

    The graph holds its pack hook, invisibly to the garbage collector, so this must not hold the
    graph.
    """

    def __init__(self, paths: ModuleStack, known: dict[int, StorageWeakRef]) -> None:
        self._paths = paths
        self._known = known
        self._storages: list[tuple[str, torch.UntypedStorage]] = []

    def pack(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        reference = StorageWeakRef(storage)
        # A storage is saved whole, and once, however many tensors share it. The reference also
        # keeps its address from being reused.
        if reference.cdata not in self._known:
            self._known[reference.cdata] = reference
            self._storages.append((self._paths.current, storage))

    def forget(self) -> None:
        """Forget what an earlier run saved."""
        self._storages.clear()

    def bytes(self) -> Counter[str]:
        """Return the bytes that are still saved at the end of the forward."""
        count: Counter[str] = Counter()
        for name, storage in self._storages:
            count[name] += storage.nbytes()
        self._storages.clear()
        self._known.clear()
        return count


class _Formulas(TorchDispatchMode):
    """Counts the multiply-adds of everything that PyTorch has a flop formula for."""

    def __init__(self, paths: ModuleStack, counts: Counter[str]) -> None:
        # It imports Triton, which only a summary needs.
        from torch.utils.flop_counter import flop_registry

        super().__init__()
        self._formulas = dict(flop_registry)
        self._paths = paths
        self._counts = counts

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        output = func(*args, **kwargs)
        formula = self._formulas.get(getattr(func, "overloadpacket", func))
        if formula is not None:
            flops = int(formula(*args, **kwargs, out_val=output))
            self._counts[self._paths.current] += flops // 2
        return output


def _storages(model: Forward) -> dict[int, StorageWeakRef]:
    module = getattr(model, "__self__", model)
    if not isinstance(module, nn.Module):
        return {}
    own = (*module.parameters(), *module.buffers())
    found = [StorageWeakRef(tensor.untyped_storage()) for tensor in own]
    return {reference.cdata: reference for reference in found}


def _forgotten(packed: None) -> Tensor:
    raise RuntimeError("this forward was only run to count its cost; it has no backward")
