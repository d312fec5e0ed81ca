"""What every attribution method is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from torch import Tensor

from torchattr.core.inputs import Inputs, as_arguments, as_inputs
from torchattr.core.types import Forward, OutputKey, Tensors
from torchattr.errors import InputTypeError
from torchattr.layers import RuleTable, rule_table
from torchattr.methods._gradient.passes import MethodCall, Pass, PassResult, solve


class Attribution(ABC):
    """Says how much each part of an input contributes to one value of a model's output.

    Args:
        model: an `nn.Module`, or any function from the inputs to scores of shape `(N, ...)`. It
            is run as it is and comes back as it was: no hook, flag, gradient or buffer of it
            is changed.
        output: which entry of the model's output holds the scores, if it returns a dict, tuple
            or dataclass; a name, a position or a callable.

    Calls share these arguments:

    * `inputs`: a tensor or a tuple of tensors, the batch first. The result has the same form.
    * `target`: which value of the output is explained: a class index for all examples, one per
      example in a list or tensor, a tuple (or list of tuples) of indices for outputs of more
      dimensions, a callable from the output to one value per example, :class:`TopK`,
      :class:`Classes`, :class:`Neuron`, or `None` for the predicted class of each example.
    * `additional_forward_args`: further positional arguments of the forward, not attributed.
    """

    def __init__(self, model: Forward, *, output: OutputKey = None) -> None:
        if not callable(model):
            raise InputTypeError(
                f"model must be an nn.Module or a function, got {type(model).__name__}"
            )
        self.model = model
        self.output = output

    @abstractmethod
    def attribute(self, *args: Any, **kwargs: Any) -> Any:
        """Attribute the target's value to the inputs: `(inputs, target, ...)`."""

    @property
    def title(self) -> str:
        return type(self).__name__


class GradientAttribution(Attribution):
    """A method that is one forward and one or more backwards under rules.

    A subclass states its `rules`, `{operation: name of a rule}`, and a `finish` from the inputs
    and what came back to them. That is all a method like guided backpropagation needs.

    Args:
        rules: further rules, or other ones, for this object: `{"gelu": "guided"}`; `None` gives
            an operation its own gradient back.
        strict: whether rules that matched nothing raise :class:`NoRuleMatched` or only warn.

    Raises:
        NoRuleMatched: the rules found nothing to rewrite, so the result would be the gradient.

    >>> import torch, torchattr as ta
    >>> class Doubled(ta.GradientAttribution):
    ...     def finish(self, inputs, grads):
    ...         return 2 * grads
    >>> Doubled(torch.nn.Linear(3, 2)).attribute(torch.ones(1, 3), target=0).shape
    torch.Size([1, 3])
    """

    rules: ClassVar[Mapping[str, Any]] = {}
    differentiates_inputs: ClassVar[bool] = True
    """Whether gradients are followed down to the inputs, which must then be of a floating type."""

    def __init__(
        self,
        model: Forward,
        *,
        rules: Mapping[str, Any] | None = None,
        output: OutputKey = None,
        strict: bool = True,
    ) -> None:
        super().__init__(model, output=output)
        self._table = rule_table({**self.rules, **(rules or {})})
        self.strict = strict

    def attribute(
        self, inputs: Tensors, target: Any = None, additional_forward_args: Any = None
    ) -> Any:
        return self._attribute(inputs, target, additional_forward_args)

    def finish(self, inputs: Tensor, grads: Tensor, *args: Any, **options: Any) -> Tensor:
        """Give the attribution of one input from what came back to it; itself by default."""
        return grads

    @property
    def table(self) -> RuleTable:
        """The rules in force, by operation."""
        return self._table

    def passes(
        self, inputs: Inputs, arguments: Sequence[Any], *, target: Any = None, **options: Any
    ) -> Sequence[Pass]:
        """Return the backward passes that this method asks for; one, read at the inputs."""
        return [Pass(self._table)]

    def combine(self, inputs: Inputs, results: Sequence[PassResult], **options: Any) -> Any:
        """Combine the results of the passes; by default :meth:`finish` of each input."""
        grads = results[0].gradients[0]
        pairs = zip(inputs.tensors, grads, strict=True)
        return inputs.restore([self.finish(x, grad, **options) for x, grad in pairs])

    def _attribute(
        self, inputs: Tensors, target: Any, additional_forward_args: Any, **options: Any
    ) -> Any:
        given = as_inputs(inputs, differentiable=self.differentiates_inputs)
        arguments = as_arguments(additional_forward_args)
        call = MethodCall(self, options)
        return solve(self.model, given, target, arguments, [call], key=self.output).results[0]
