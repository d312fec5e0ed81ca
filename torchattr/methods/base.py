"""The base classes of all attribution methods."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from torch import Tensor, nn

from torchattr.core.arguments import check_arguments, check_model
from torchattr.core.inputs import Inputs, as_arguments, as_inputs
from torchattr.core.targets import Target
from torchattr.core.types import Forward, OutputKey, Tensors, TensorsT
from torchattr.errors import InputTypeError
from torchattr.layers import RuleTable, rule_table
from torchattr.methods._gradient.backward_pass import Pass, PassResult
from torchattr.methods._gradient.memory import Memory, checked_memory
from torchattr.methods._gradient.passes import MethodCall, solve


class Attribution(ABC):
    """Attributes one value of a model's output to the elements of its input.

    Args:
        model: an `nn.Module`, or any function from the inputs to scores of shape `(N, ...)`. It
            runs unmodified and is left unchanged: no hook, flag, gradient or buffer of it is
            altered.
        output: which entry of the model's output holds the scores, if it returns a dict, tuple
            or dataclass; a name, a position or a callable.

    Calls share these arguments:

    * `inputs`: a tensor or a tuple of tensors, the batch first. The result has the same form.
    * `target`: which value of the output is explained: a class index for all examples, one per
      example in a list or tensor, a tuple (or list of tuples) of indices for outputs of more
      dimensions, a callable from the output to one value per example, :class:`TopK`,
      :class:`Classes`, :class:`Neuron`, or `None` for the predicted class of each example; or a
      function of the output: :class:`Mask`, :class:`Segment`, :class:`Boxes`, :class:`Similarity`,
      :class:`Difference`, :class:`Probability`, :class:`Loss`, :class:`Binary`.
    * `additional_forward_args`: further positional arguments of the forward, not attributed.
    """

    missing_target: ClassVar[Target] = None
    """What is explained without a target: `None`, the predicted class of each example."""

    def __init__(self, model: Forward, *, output: OutputKey = None) -> None:
        check_model(model)
        self.model = model
        self.output = output

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        check_arguments(cls, "__init__", "attribute")

    @abstractmethod
    def attribute(self, *args: Any, **kwargs: Any) -> Any:
        """Attribute the target's value to the inputs: `(inputs, target, ...)`."""

    @property
    def title(self) -> str:
        """Name of this method in messages."""
        return type(self).__name__

    def serves_copies(self, batch_size: int) -> bool:
        """Whether it may be given several copies of a batch at once; it may by default.

        Not if it holds values of each example itself.
        """
        return True

    def __repr__(self) -> str:
        shown = [f"{name}={value}" for name, value in described(self._settings()).items()]
        return f"{type(self).__name__}({', '.join([_shown(self.model), *shown])})"

    def _settings(self) -> dict[str, Any]:
        """Return the arguments that `repr` shows after the model, by name; without `None`."""
        return {"output": self.output}


class GradientAttribution(Attribution):
    """A method that runs one forward and one or more backwards under rules.

    A subclass states its `rules`, `{operation: name of a rule}`, and a `finish` from the inputs
    and their gradients. That is all a method like guided backpropagation needs.

    Args:
        rules: rules that this object adds or replaces: `{"gelu": "guided"}`; `None` restores an
            operation's own gradient.
        strict: whether rules that matched nothing raise :class:`NoRuleMatched` or only warn.
        memory: how much the forward may remember: `"native"` differentiates on PyTorch's own graph,
            which is fast for small inputs; `"lean"` remembers what the rules need, a fraction of
            that; `"auto"` chooses by the size of the inputs. Promises about memory are of `"lean"`.
            A model that PyTorch's graph does not describe with certainty runs lean.

    Raises:
        NoRuleMatched: the rules rewrote nothing, so the result would be the plain gradient.

    >>> import torch, torchattr as ta
    >>> class Doubled(ta.GradientAttribution):
    ...     def finish(self, inputs, grads):
    ...         return 2 * grads
    >>> Doubled(torch.nn.Linear(3, 2)).attribute(torch.ones(1, 3), target=0).shape
    torch.Size([1, 3])
    """

    rules: ClassVar[Mapping[str, Any]] = {}
    differentiates_inputs: ClassVar[bool] = True
    """Whether gradients reach the inputs, which must then have a floating dtype."""

    def __init__(
        self,
        model: Forward,
        *,
        rules: Mapping[str, Any] | None = None,
        output: OutputKey = None,
        strict: bool = True,
        memory: Memory = "auto",
    ) -> None:
        super().__init__(model, output=output)
        if not (rules is None or isinstance(rules, Mapping)):
            raise InputTypeError(
                "rules must name a rule for each operation, such as {'gelu': 'guided'}, got"
                f" {type(rules).__name__}"
            )
        self._further_rules = rules or None
        self._table = rule_table({**self.rules, **(rules or {})})
        self.strict = strict
        self.memory: Memory = checked_memory(memory)

    def attribute(
        self, inputs: TensorsT, target: Target = None, additional_forward_args: Any = None
    ) -> TensorsT:
        """Return the attributions, shaped like the inputs."""
        return self._attribute(inputs, target, additional_forward_args)

    def finish(self, inputs: Tensor, grads: Tensor, *args: Any, **options: Any) -> Tensor:
        """Return the attribution of one input from its gradient; the gradient by default."""
        return grads

    @property
    def combines_at_once(self) -> bool:
        """Whether :meth:`combine` may be mapped over targets: functions of PyTorch alone."""
        return False

    def shares_forward(self, **options: Any) -> bool:
        """Whether a forward of :func:`torchattr.explain` may serve a call with these options."""
        return True

    @property
    def table(self) -> RuleTable:
        """The rules in force, by operation."""
        return self._table

    def passes(
        self, inputs: Inputs, arguments: Sequence[Any], *, target: Any = None, **options: Any
    ) -> Sequence[Pass]:
        """Return the backward passes that this method needs; by default one, read at the inputs."""
        return [Pass(self.table)]

    def combine(self, inputs: Inputs, results: Sequence[PassResult], **options: Any) -> Any:
        """Combine the results of the passes; by default :meth:`finish` of each input."""
        grads = results[0].gradients[0]
        pairs = zip(inputs.tensors, grads, strict=True)
        return inputs.restore([self.finish(x, grad, **options) for x, grad in pairs])

    def _settings(self) -> dict[str, Any]:
        strict = None if self.strict else False
        memory = None if self.memory == "auto" else self.memory
        settings = {"rules": self._further_rules, **super()._settings()}
        return {**settings, "strict": strict, "memory": memory}

    def _attribute(
        self,
        inputs: Tensors,
        target: Any,
        additional_forward_args: Any,
        *,
        allow_unused: bool = False,
        **options: Any,
    ) -> Any:
        given = as_inputs(inputs, differentiable=self.differentiates_inputs)
        arguments = as_arguments(additional_forward_args)
        call = MethodCall(self, options, allow_unused)
        solved = solve(
            self.model,
            given,
            target,
            arguments,
            [call],
            key=self.output,
            memory=self.memory,
        )
        return solved.results[0]


def described(settings: Mapping[str, Any]) -> dict[str, str]:
    """Return settings for `repr`, without those that are `None`."""
    return {name: _shown(value) for name, value in settings.items() if value is not None}


def _shown(value: Any) -> str:
    """Return a value for `repr`: short, and without the contents of tensors or models."""
    if isinstance(value, nn.Module):
        return type(value).__name__
    if value is None or isinstance(value, (Attribution, str, int, float, slice, re.Pattern)):
        return repr(value)
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{key!r}: {_shown(item)}' for key, item in value.items())}}}"
    if isinstance(value, (list, tuple)):
        first = [_shown(item) for item in value[:_MOST_SHOWN]]
        return f"[{', '.join(first + ['...'] * (len(value) > _MOST_SHOWN))}]"
    return getattr(value, "__name__", type(value).__name__)


_MOST_SHOWN = 3
