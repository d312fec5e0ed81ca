"""The base class of rules: what to save in the forward, and what to propagate in the backward."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

from torch import Tensor

from torchattr.layers.operations.operation import Call


class LayerRule(ABC):
    """Replaces the backward function of an operation.

    A rule is stateless except for its parameters, which are plain fields set by `__init__`.
    :meth:`save` runs right after the operation, :meth:`backward` once for each backward pass;
    :meth:`run` may replace the operation and `save`. Register a rule with
    :func:`torchattr.register_rule`.

    The contract of a rule:

    * `backward` never writes into saved tensors, nor into `grad` unless `call.owns_grad`: others
      read them, too;
    * `backward` returns a tensor of the shape of the operation's input;
    * `backward` gets what `save` returned and nothing else, so save as little as possible.

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
    """Whether `backward` always returns a new tensor, which the next rule may write over."""

    def save(self, call: Call, x: Tensor, y: Tensor) -> tuple[Tensor, ...]:
        """Return the tensors that :meth:`backward` needs; none by default.

        Args:
            call: the operation's own arguments by name, such as `call.weight`.
            x: its input; an operation with several (`add`, `cat`) passes a tuple.
            y: its output; an operation with more outputs (`max_pool` has its indices) passes
                them after `y`.
        """
        return ()

    def run(self, call: Call, *inputs: Tensor) -> tuple[Any, tuple[Tensor, ...]] | None:
        """Run the operation and save for :meth:`backward` in one pass over memory, where possible.

        Return the output that the model's own function would return, and what :meth:`save` would.
        `None`, the default, runs that function and then `save`. This method is not used where rules
        that save different tensors share a forward, so a rule that overrides it overrides `save`,
        too.
        """
        return None

    @abstractmethod
    def backward(self, call: Call, grad: Tensor, *saved: Tensor) -> Tensor | tuple[Tensor, ...]:
        """Return the gradient of the input; for several inputs, a tuple with one tensor for each.

        Args:
            call: as for :meth:`save`; `call.shape` and `call.dtype` are the input's.
            grad: the gradient of the output, in its shape.
            saved: what :meth:`save` returned.
        """


class OwnGradient(LayerRule):
    """PyTorch's own gradient of an operation, computed by running it again on the saved inputs."""

    def save(self, call: Call, x: Tensor, y: Tensor, *extras: Tensor) -> tuple[Tensor, ...]:
        return x if isinstance(x, tuple) else (x,)

    def backward(self, call: Call, grad: Tensor, *saved: Tensor) -> tuple[Tensor, ...]:
        return call.vjp(grad, *saved)
