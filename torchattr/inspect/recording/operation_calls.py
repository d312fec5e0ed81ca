"""Watching the operations of a forward, functional ones included, each with a name."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MethodType
from typing import Any
from weakref import ref

from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized
from torch.overrides import TorchFunctionMode

from torchattr.core.types import Forward
from torchattr.core.undoing import undone
from torchattr.inspect.recording.module_stack import ModuleStack
from torchattr.layers import Call, MaskOrigins, enter_mode, parse_call


@dataclass(frozen=True)
class OperationCall:
    """One call of an operation.

    Attributes:
        origin: where it ran: the name of the layer that is this operation (`layer1.0.relu`), or
            else the names of the enclosing module and the operation (`inception3a.branch1.relu`).
        number: number of the call of this origin, from 1.
        path: the name of the module in which it ran; empty for the model itself.
        call: the operation and its arguments.
    """

    origin: str
    number: int
    path: str
    call: Call

    @property
    def name(self) -> str:
        """The origin, with the number of the call from the second on: `layer1.0.relu#2`."""
        return numbered(self.origin, self.number)

    @property
    def operation(self) -> str:
        return self.call.operation.name


def numbered(origin: str, number: int) -> str:
    """Return the name of one call of an origin.

    >>> numbered("layer1.0.relu", 1), numbered("layer1.0.relu", 2)
    ('layer1.0.relu', 'layer1.0.relu#2')
    """
    return origin if number == 1 else f"{origin}#{number}"


Ran = Callable[[OperationCall, Tensor], None]


class OperationWatcher(TorchFunctionMode):
    """Watches the known operations of a forward in this thread, each with its name and output.

    It wraps the model by :meth:`around`, so that the model can still run under a rule mode: outputs
    are those that the rules see, connected to the graph.

    Args:
        names: the layers of the model, by name.
        paths: the stack of running modules.
        ran: called after each operation, before anything can write over its output.
        begun: called when the model starts; a model that takes gradients itself may start twice.
    """

    def __init__(
        self,
        names: Mapping[str, nn.Module],
        paths: ModuleStack,
        ran: Ran,
        begun: Callable[[], None] | None = None,
    ) -> None:
        super().__init__()
        self._names = names
        self._paths = paths
        self._ran = ran
        self._begun = begun
        self._counts: Counter[str] = Counter()
        self._masks = MaskOrigins()

    def around(self, model: Forward) -> Forward:
        """Return the model wrapped so that it is watched as long as this object lives.

        It remains a method of its module, so that errors can name the module's children. It does
        not keep this object alive: a trace holds the model, and the callback may hold the trace.
        """
        this = ref(self)

        def run(owner: Any, *args: Any, **kwargs: Any) -> Any:
            watching = this()
            if watching is None:
                return model(*args, **kwargs)
            watching._begin()
            with watching._paths.following(), undone() as undo:
                enter_mode(undo, watching)
                return model(*args, **kwargs)

        return MethodType(run, getattr(model, "__self__", model))

    def _begin(self) -> None:
        """Start over: a model that takes gradients itself may run a second time."""
        self._counts.clear()
        if self._begun is not None:
            self._begun()

    def __torch_function__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        understood = parse_call(func, args, kwargs, self._masks)
        output = func(*args, **kwargs)
        self._masks.note(func, args, kwargs, output)
        if understood is not None:
            # An assignment such as `x[x < 0] = 0` returns nothing: its output is what it wrote to.
            self._note(understood[0], args[0] if output is None else output)
        return output

    def _note(self, call: Call, output: Any) -> None:
        first = output[0] if isinstance(output, (tuple, list)) else output
        path = self._paths.current
        origin = self._origin(path, call.operation.name)
        self._counts[origin] += 1
        self._ran(OperationCall(origin, self._counts[origin], path, call), first)

    def _origin(self, path: str, operation: str) -> str:
        if path and _is_one_operation(self._names[path]):
            return path
        origin = f"{path}.{operation}" if path else operation
        # A block with a layer called relu may also call a functional one.
        return f"{origin}()" if origin in self._names else origin


def _is_one_operation(module: nn.Module) -> bool:
    """Whether a module is one of PyTorch's own layers, parametrised or not."""
    if is_parametrized(module):
        return _is_layer(type(module).__bases__[0]) and len(list(module.children())) == 1
    return _is_layer(type(module)) and next(module.children(), None) is None


def _is_layer(kind: type) -> bool:
    return kind.__module__.startswith("torch.nn.modules.")
