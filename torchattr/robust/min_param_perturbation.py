"""The smallest parameter of an attack with which it succeeds."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from math import ceil
from typing import Any

import torch
from torch import Tensor

from torchattr.core.arguments import check_choice, check_function, check_functions, check_model
from torchattr.core.checked_numbers import described
from torchattr.core.types import Forward
from torchattr.errors import InputError, InputTypeError, OutputError, TargetError
from torchattr.methods import checked_count, checked_number
from torchattr.robust.attack import AttackFunction
from torchattr.robust.variants import Variants, prepared

Found = tuple[Any, float | None]


class MinParamPerturbation:
    """Finds the smallest parameter of an attack, such as ε, that makes a prediction wrong.

    The candidates are `arg_min + k · arg_step` below `arg_max`. `mode="linear"` tries all from the
    smallest on; `"binary"` bisects them, which is right if every parameter above one that succeeds
    does so, too.

    It is *not* the distance to the decision boundary, but to where this attack finds it.

    Args:
        model: from prepared inputs and further arguments to any output.
        attack: an :class:`Attack` or a function of inputs that takes the parameter by name.
        arg_name: name of the parameter.
        arg_min: smallest candidate.
        arg_max: exclusive end of the candidates.
        arg_step: distance between candidates.
        mode: `"linear"` or `"binary"`.
        num_attempts: how often an attack with random numbers is tried with each parameter.
        preproc_fn: turns inputs into what the model takes.
        apply_before_preproc: attack the inputs before it; otherwise what it returns.
        correct_fn: from the output, the target and further arguments to whether the prediction is
            right; by default whether each row's largest score is at the target.

    Raises:
        InputError: an unknown mode, or fewer than two candidates.

    >>> def brighter(x, by):
    ...     return x + by
    >>> model = lambda x: torch.stack([x.mean(1), 1 - x.mean(1)], 1)
    >>> search = MinParamPerturbation(model, brighter, "by", 0.0, 1.0, 0.125, mode="binary")
    >>> search.evaluate(torch.zeros(1, 4), target=1)[1]
    0.5
    """

    def __init__(
        self,
        model: Forward,
        attack: AttackFunction,
        arg_name: str,
        arg_min: float,
        arg_max: float,
        arg_step: float,
        mode: str = "linear",
        num_attempts: int = 1,
        preproc_fn: Callable[[Any], Any] | None = None,
        apply_before_preproc: bool = False,
        correct_fn: Callable[..., Any] | None = None,
    ) -> None:
        arg_min, arg_max = checked_number(arg_min, "arg_min"), checked_number(arg_max, "arg_max")
        arg_step = checked_number(arg_step, "arg_step")
        if arg_step <= 0 or not arg_max > arg_min + arg_step:
            raise InputError(
                f"arg_min={arg_min}, arg_max={arg_max} and arg_step={arg_step} leave fewer than"
                " two candidates; arg_max must be above arg_min + arg_step, and arg_step above 0"
            )
        check_choice("mode", mode.lower() if isinstance(mode, str) else mode, _MODES)
        check_model(model)
        check_function("attack", attack)
        check_functions(preproc_fn=preproc_fn, correct_fn=correct_fn)
        if not isinstance(arg_name, str):
            raise InputTypeError(f"arg_name must be a name, got {described(arg_name)}")
        self.model, self.attack = model, attack
        self.arg_name, self.mode = arg_name, mode.lower()
        self.arg_min, self.arg_max, self.arg_step = arg_min, arg_max, arg_step
        self.num_attempts = checked_count(num_attempts, "num_attempts")
        self.preproc_fn, self.apply_before_preproc = preproc_fn, apply_before_preproc
        self.correct_fn = correct_fn or largest_at_target

    def evaluate(
        self,
        inputs: Any,
        additional_forward_args: Any = None,
        target: Any = None,
        perturbations_per_eval: int = 1,
        attack_kwargs: Mapping[str, Any] | None = None,
        correct_fn_kwargs: Mapping[str, Any] | None = None,
    ) -> Found:
        """Return the attacked inputs and the parameter; `(None, None)` if no candidate succeeds.

        Args:
            inputs: inputs, of any type that `attack` and `preproc_fn` take.
            additional_forward_args: further positional arguments of the model.
            target: passed to `correct_fn`, if given.
            perturbations_per_eval: number of attacked inputs in one forward; halved when memory
                runs out.
            attack_kwargs: further arguments of the attack.
            correct_fn_kwargs: further arguments of `correct_fn`.

        Raises:
            TrainingModeError: a part of the model is in training mode.
            OutOfMemory: not even the inputs of one candidate fit.
        """
        checked_count(perturbations_per_eval, "perturbations_per_eval")
        arguments = dict(correct_fn_kwargs or {})
        if target is not None:
            arguments["target"] = target
        elif self.correct_fn is largest_at_target and "target" not in arguments:
            raise TargetError(
                "target is missing: the default correct_fn compares the largest score with it;"
                " pass the right classes, or a correct_fn that needs none"
            )
        before = inputs if self.apply_before_preproc else prepared(inputs, self.preproc_fn)
        variants = Variants(self.model, additional_forward_args)

        def attacked(number: int) -> Any:
            return self.attack(before, **(attack_kwargs or {}), **{self.arg_name: self._at(number)})

        def first_success(numbers: Iterator[int]) -> Found:
            tried = ((number, attacked(number)) for number in numbers)
            while batch := list(islice(tried, perturbations_per_eval)):
                outputs = variants.outputs([self._for_model(changed) for _, changed in batch])
                for (number, changed), output in zip(batch, outputs, strict=True):
                    if not self.correct_fn(output, **arguments):
                        return changed, self._at(number)
            return None, None

        return _MODES[self.mode](first_success, self._count(), self.num_attempts)

    def _at(self, number: int) -> float:
        # Not summed step by step, which would sum rounding errors.
        return self.arg_min + number * self.arg_step

    def _count(self) -> int:
        count = ceil((self.arg_max - self.arg_min) / self.arg_step)
        return count - (self._at(count - 1) >= self.arg_max)

    def _for_model(self, changed: Any) -> Any:
        return prepared(changed, self.preproc_fn if self.apply_before_preproc else None)


Search = Callable[[Iterator[int]], Found]


def _linear(first_success: Search, count: int, attempts: int) -> Found:
    return first_success(number for number in range(count) for _ in range(attempts))


def _binary(first_success: Search, count: int, attempts: int) -> Found:
    low, high = 0, count
    best: Found = (None, None)
    while low < high:
        middle = (low + high) // 2
        found = first_success(middle for _ in range(attempts))
        if found[1] is None:
            low = middle + 1
        else:
            high, best = middle, found
    return best


_MODES: Mapping[str, Callable[[Search, int, int], Found]] = {"linear": _linear, "binary": _binary}


def largest_at_target(output: Any, target: Any) -> bool:
    """Whether the largest score of every example is at its target.

    Raises:
        OutputError: the output is not `(N, classes)`.
        TargetError: the target names no class of each example.

    >>> largest_at_target(torch.tensor([[0.1, 0.9]]), target=1)
    True
    """
    if not isinstance(output, Tensor) or output.dim() != 2:
        form = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
        raise OutputError(
            f"the default correct_fn needs an output (N, classes), got {form}; pass correct_fn"
        )
    try:
        wanted = torch.as_tensor(target, device=output.device).reshape(-1).expand(len(output))
    except (TypeError, ValueError, RuntimeError) as error:
        raise TargetError(
            f"target must be a class, or one for each of {len(output)} examples, got {target!r}"
        ) from error
    return bool((output.argmax(1) == wanted).all())
