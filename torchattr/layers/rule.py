"""What a rule is: what to remember of a call, and what to send back through it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

from torch import Tensor

from torchattr.layers.operations.operation import Call


class LayerRule(ABC):
    """Replaces the backward function of an operation.

    A rule is stateless but for its parameters, which are plain fields set by `__init__`. Two short
    functions make it: :meth:`save` runs right after the operation, :meth:`backward` once for each
    backward pass. Register it with :func:`torchattr.register_rule`.

    The laws that a rule keeps:

    * `backward` never writes into what was saved, nor into `grad` unless `call.owns_grad`: others
      read them, too;
    * what `backward` returns has the shape of the operation's input;
    * what is not returned by `save` is not there at `backward`: remember the least.

    >>> import torch, torchattr as ta
    >>> class Halve(ta.LayerRule):
    ...     def backward(self, call, grad):
    ...         return grad / 2
    >>> model = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.ReLU())
    >>> halved = ta.InputXGradient(model, rules={"linear": Halve()})
    """

    needs_input: ClassVar[bool] = True
    """Whether `save` reads `x`. If not, an operation that writes over its input keeps no copy."""

    fresh: ClassVar[bool] = False
    """Whether what `backward` returns is always new, so that the rule below may write over it."""

    def save(self, call: Call, x: Tensor, y: Tensor) -> tuple[Tensor, ...]:
        """Give the tensors that :meth:`backward` needs; the default remembers nothing.

        Args:
            call: the operation's own arguments by name, such as `call.weight`.
            x: its input; an operation with several (`add`, `cat`) passes a tuple.
            y: its output; an operation with more outputs (`max_pool` has its indices) passes
                them after `y`.
        """
        return ()

    def run(self, call: Call, *inputs: Tensor) -> tuple[Any, tuple[Tensor, ...]] | None:
        """Run the operation and remember for :meth:`backward` in one go, if that can be done.

        `None`, the default, lets the model's own function run, and then :meth:`save`. What is
        given otherwise is the output that the function would give, and what `save` would.
        """
        return None

    @abstractmethod
    def backward(self, call: Call, grad: Tensor, *saved: Tensor) -> Tensor | tuple[Tensor, ...]:
        """Give what goes back to the input (a tuple, one for each, where there are several).

        Args:
            call: as for :meth:`save`; `call.shape` and `call.dtype` are the input's.
            grad: what came back from above, shaped like the output.
            saved: what :meth:`save` returned.
        """


class OwnGradient(LayerRule):
    """PyTorch's own gradient of an operation, found by running it again on the saved inputs."""

    def save(self, call: Call, x: Tensor, y: Tensor, *extras: Tensor) -> tuple[Tensor, ...]:
        return x if isinstance(x, tuple) else (x,)

    def backward(self, call: Call, grad: Tensor, *saved: Tensor) -> tuple[Tensor, ...]:
        return call.vjp(grad, *saved)
