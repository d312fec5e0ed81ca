"""The base class of rules: what to save in the forward, and what to propagate in the backward."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, TypeAlias, TypeVar

from torch import Tensor

from torchattr.layers.ledger import Reason
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

    rectifies: ClassVar[bool] = False
    """Whether it sends back nothing where a rectifier without an upper bound did not pass."""

    reads_rectified: ClassVar[bool] = False
    """Whether `backward` reads what `save` returned only where the gradient is not zero, so that a
    rectifier may write over the output that it saved."""

    fresh: ClassVar[bool] = False
    """Whether `backward` always returns a new tensor, which the next rule may write over."""

    passes_to: ClassVar[Sequence[int] | None] = None
    """The positions of the inputs that anything goes back to; `None` stands for all of them."""

    merges: ClassVar[bool] = False
    """Whether a batch-norm that alone reads the output is treated as a part of the operation."""

    mergeable: ClassVar[bool] = False
    """Whether the rule of an operation that merges may stand for this one, too."""

    terminal: ClassVar[bool] = False
    """Whether `backward` returns relevance: the share of each input, not of a unit of it."""

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
    def backward(
        self, call: Call, grad: Tensor, *saved: Tensor
    ) -> Tensor | tuple[Tensor | None, ...]:
        """Return the gradient of the input; for several inputs, a tuple with one tensor for each.

        In a tuple, `None` stands for zeros.

        Args:
            call: as for :meth:`save`; `call.shape` and `call.dtype` are the input's, `call.place`
                tells of its neighbours.
            grad: the gradient of the output, in its shape.
            saved: what :meth:`save` returned.
        """

    def absorbed(self, call: Call, grad: Tensor, *saved: Tensor) -> Mapping[Reason, Tensor]:
        """Return the relevance that stays at the call: nothing by default.

        With `R = y · g` of the output and `x · g` of the inputs, it is the difference, by reason.

        Args:
            call: as for :meth:`backward`.
            grad: as for :meth:`backward`.
            saved: as for :meth:`backward`.
        """
        return {}

    def of_relevance(self) -> LayerRule:
        """Return the rule to use where relevance itself arrives, below a terminal rule."""
        return self

    def of_example(self, number: int, count: int) -> LayerRule:
        """Return the rule for one example of a batch, where that is run by itself.

        It is this rule by default, as for all whose parameters are the same for each example.

        Args:
            number: the position of the example.
            count: number of examples of the batch.
        """
        return self

    def has_rows(self, count: int) -> bool:
        """Whether the rule holds values of each of `count` examples, so that it serves no others.

        By default it does not, as :meth:`of_example`.
        """
        return False


NodeHook: TypeAlias = Callable[[Any], Any]
"""Hangs a rule on a node of PyTorch's own graph; returns a handle whose `remove` undoes that."""

_NATIVE_FORMS: dict[type[LayerRule], NodeHook | None] = {}
_R = TypeVar("_R", bound=type[LayerRule])


def native_form(hook: NodeHook | None = None) -> Callable[[_R], _R]:
    """Declare how the decorated rule acts on PyTorch's own node of the operation.

    A rule without such a declaration, a subclass of a declared one included, needs the forward to
    run under the mode.

    Args:
        hook: hangs the rule on the node; `None` for a rule that is the node's own gradient.
    """

    def declare(rule: _R) -> _R:
        _NATIVE_FORMS[rule] = hook
        return rule

    return declare


def has_native_form(rule: LayerRule) -> bool:
    """Whether a rule can hang on PyTorch's own graph."""
    return type(rule) in _NATIVE_FORMS


def hook_of(rule: LayerRule) -> NodeHook | None:
    """Return what hangs a rule with a native form on a node, if it changes the gradient at all."""
    return _NATIVE_FORMS[type(rule)]


_BATCHABLE: set[type[LayerRule]] = set()


def batchable(rule: _R) -> _R:
    """Declare that the decorated rule's backward calls only functions of PyTorch that `vmap` maps.

    A backward from several targets at once may then run through it. A subclass declares it anew.
    """
    _BATCHABLE.add(rule)
    return rule


def is_batchable(rule: LayerRule) -> bool:
    """Whether several gradients may pass through a rule at once."""
    return type(rule) in _BATCHABLE


@native_form()
class OwnGradient(LayerRule):
    """PyTorch's own gradient of an operation, computed by running it again on the saved inputs."""

    def save(self, call: Call, x: Tensor, y: Tensor, *extras: Tensor) -> tuple[Tensor, ...]:
        return x if isinstance(x, tuple) else (x,)

    def backward(self, call: Call, grad: Tensor, *saved: Tensor) -> tuple[Tensor, ...]:
        return call.vjp(grad, *saved)


@batchable
class Merged(LayerRule):
    """Hands the gradient on: what the operation does counts as a part of the one below it."""

    needs_input: ClassVar[bool] = False

    def backward(self, call: Call, grad: Tensor, *saved: Tensor) -> Tensor:
        if call.place.completes is not None:
            call.place.completes.arrive(passes_norm=True)
        return grad
