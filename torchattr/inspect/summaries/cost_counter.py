"""Counting what each module of a forward costs: multiply-adds, operations, remembered bytes."""

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
    """Runs the model once, as an attribution would, and counts by the name of each module.

    Counts are those of a module's own, without its parts. Nothing that is remembered is kept: the
    run itself takes no more memory than inference.

    Attributes:
        shapes: what each call of a module gave: a shape, or several.
        sizes: the bytes of it, over all calls.
        operations: how often each operation ran.
        followed: how often each ran on the way that gradients take from the outputs to the inputs;
            of constants, or of what no output depends on, they take none. Inputs of whole numbers
            have no gradients: then all that ran.
        multiply_adds: of convolutions and matrix products, by PyTorch's own formulas.
        remembered: the bytes that a gradient keeps between forward and backward, besides
            parameters.
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
        self._given = _Given()
        self.shapes, self.sizes = self._given.shapes, self._given.sizes
        self.operations: dict[str, Counter[str]] = defaultdict(Counter)
        self.followed: dict[str, Counter[str]] = defaultdict(Counter)
        self.multiply_adds: Counter[str] = Counter()
        self._nodes: list[tuple[str, str, Any]] = []
        paths = ModuleStack(names, self._given)
        self._kept = kept = _Kept(paths, _storages(model))
        operations = OperationWatcher(names, paths, self._ran, self._begin)
        # No backward ever asks for what is packed.
        remembering = torch.autograd.graph.saved_tensors_hooks(kept.pack, _forgotten)
        with undone() as undo:
            pack_saved(undo, remembering)
            enter_dispatch_mode(undo, _Formulas(paths, self.multiply_adds))
            self.trace = Trace(operations.around(model), inputs, arguments, key=self._whole)
        self.remembered = kept.bytes()
        self._follow()

    def _begin(self) -> None:
        """Forget what was counted before: a model that takes gradients itself runs twice."""
        for counts in (self.shapes, self.sizes, self.operations, self.multiply_adds, self._nodes):
            counts.clear()
        self._kept.forget()

    def _whole(self, output: Any) -> Tensor:
        """Note what the model itself gave; give what the whole graph hangs on."""
        self._given("", output)
        ends = [tensor.sum() for tensor in tensors_of(output) if tensor.requires_grad]
        # A model may give tensors of several types, on several devices.
        return torch.stack([end.to(ends[0]) for end in ends]).sum() if ends else torch.empty(0)

    def _ran(self, ran: OperationCall, output: Tensor) -> None:
        self.operations[ran.path][ran.operation] += 1
        # A part of a tensor that is written over gets another node; the whole has that of the call.
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


class _Given:
    """Notes the shapes and sizes of what modules give."""

    def __init__(self) -> None:
        self.shapes: dict[str, list[Any]] = defaultdict(list)
        self.sizes: Counter[str] = Counter()

    def __call__(self, name: str, output: Any) -> None:
        tensors = tensors_of(output)
        shapes = [tuple(shape_of(tensor)) for tensor in tensors]
        self.shapes[name].append(shapes[0] if isinstance(output, Tensor) else tuple(shapes))
        counted = (one for one in tensors if one.layout == torch.strided and not one.is_nested)
        self.sizes[name] += sum(tensor.nbytes for tensor in counted)


class _Kept:
    """Notes the memory that a forward keeps for its backward.

    The graph holds what packs its tensors, where no garbage collector sees it. So this must not
    hold the graph.
    """

    def __init__(self, paths: ModuleStack, known: dict[int, StorageWeakRef]) -> None:
        self._paths = paths
        self._known = known
        self._storages: list[tuple[str, torch.UntypedStorage]] = []

    def pack(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        reference = StorageWeakRef(storage)
        # A storage is kept whole, and once, however many tensors look at it. The reference also
        # keeps its address from being used again.
        if reference.cdata not in self._known:
            self._known[reference.cdata] = reference
            self._storages.append((self._paths.current, storage))

    def forget(self) -> None:
        """Forget what an earlier run kept."""
        self._storages.clear()

    def bytes(self) -> Counter[str]:
        """Count what is kept when the forward has ended: some of it was given back by then."""
        count: Counter[str] = Counter()
        for name, storage in self._storages:
            count[name] += storage.nbytes()
        self._storages.clear()
        self._known.clear()
        return count


class _Formulas(TorchDispatchMode):
    """Counts the floating-point operations of everything that PyTorch has a formula for."""

    def __init__(self, paths: ModuleStack, counts: Counter[str]) -> None:
        # It imports Triton, which nothing but a summary needs.
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
    raise RuntimeError("this forward was run to be counted only; it has no backward")
