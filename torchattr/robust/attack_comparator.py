"""What several attacks do to a metric, summed up over batches."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from torch import Tensor

from torchattr.core.arguments import check_function, check_functions, check_model
from torchattr.core.checked_numbers import described
from torchattr.core.types import Forward
from torchattr.core.warn import warn
from torchattr.errors import InputError, InputTypeError, TorchattrWarning
from torchattr.evaluate import Max, Mean, Min, Statistic, Summarizer
from torchattr.methods import checked_count
from torchattr.robust.attack import AttackFunction
from torchattr.robust.variants import Variants, prepared

ORIGINAL = "Original"


@dataclass(frozen=True)
class AttackEntry:
    """An attack, and how it is applied; see :meth:`AttackComparator.add_attack`."""

    attack: AttackFunction
    attempts: int
    before_preproc: bool
    options: Mapping[str, Any]
    shared: Sequence[str]

    @property
    def stats(self) -> list[Statistic]:
        return [Mean(), Min(), Max()] if self.attempts > 1 else [Mean()]


class AttackComparator:
    """Compares a metric on inputs with that on inputs changed by attacks.

    Args:
        model: from prepared inputs and further arguments to any output.
        metric: from the output and the arguments of :meth:`evaluate` to a number, a tensor with
            one for each example, or a tuple of such, named or not.
        preproc_fn: turns inputs into what the model takes.

    >>> import torch
    >>> comparator = AttackComparator(lambda x: x, lambda output: output.mean())
    >>> comparator.add_attack(lambda x: 2 * x, name="doubled")
    >>> comparator.evaluate(torch.ones(1, 3))
    {'Original': tensor(1.), 'doubled': {'mean': tensor(2.)}}
    """

    def __init__(
        self,
        model: Forward,
        metric: Callable[..., Any],
        preproc_fn: Callable[[Any], Any] | None = None,
    ) -> None:
        check_model(model)
        check_function("metric", metric, "a function of the model's output")
        check_functions(preproc_fn=preproc_fn)
        self.model, self.metric, self.preproc_fn = model, metric, preproc_fn
        self.attacks: dict[str, AttackEntry] = {}
        self._totals: dict[str, _Total] = {}

    def add_attack(
        self,
        attack: AttackFunction,
        name: str | None = None,
        num_attempts: int = 1,
        apply_before_preproc: bool = True,
        attack_kwargs: Mapping[str, Any] | None = None,
        additional_attack_arg_names: Sequence[str] | None = None,
    ) -> None:
        """Add an attack.

        Args:
            attack: an :class:`Attack`, or a function from inputs to changed inputs.
            name: its name in results; that of its class by default.
            num_attempts: how often an attack with random numbers is tried on each batch.
            apply_before_preproc: attack the inputs before `preproc_fn`; otherwise what it returns.
            attack_kwargs: further arguments of the attack.
            additional_attack_arg_names: the arguments of :meth:`evaluate` that it gets, too.

        Raises:
            InputTypeError: an attack that cannot be called, or a name that is none.
            InputError: the name is taken.
        """
        check_function("attack", attack, "an Attack or a function from inputs to changed inputs")
        name = type(attack).__name__ if name is None else name
        if not isinstance(name, str):
            raise InputTypeError(f"name must be a text, got {described(name)}")
        if name in self.attacks:
            raise InputError(f"name={name!r} is taken by another attack; pass another name")
        self.attacks[name] = AttackEntry(
            attack,
            checked_count(num_attempts, "num_attempts"),
            apply_before_preproc,
            dict(attack_kwargs or {}),
            tuple(additional_attack_arg_names or ()),
        )

    def evaluate(
        self,
        inputs: Any,
        additional_forward_args: Any = None,
        perturbations_per_eval: int = 1,
        **kwargs: Any,
    ) -> dict[str, Any]:
        """Return the metric of a batch as it is, and its statistics over each attack's attempts.

        Args:
            inputs: a batch, of any type that the attacks and `preproc_fn` take.
            additional_forward_args: further positional arguments of the model.
            perturbations_per_eval: number of changed batches in one forward; halved when memory
                runs out.
            **kwargs: arguments of the metric, and of the attacks that name them.

        Raises:
            TrainingModeError: a part of the model is in training mode.
            OutOfMemory: not even one changed batch fits.
        """
        checked_count(perturbations_per_eval, "perturbations_per_eval")
        variants = Variants(self.model, additional_forward_args)
        totals = {ORIGINAL: _Total([Mean()])}
        totals |= {name: _Total(entry.stats) for name, entry in self.attacks.items()}
        pending = self._changed(inputs, kwargs)
        while batch := list(islice(pending, perturbations_per_eval)):
            outputs = variants.outputs([changed for _, changed in batch])
            for (name, _), output in zip(batch, outputs, strict=True):
                totals[name].add(self.metric(output, **kwargs))
        results = {name: total.statistics for name, total in totals.items()}
        self._include(results)
        return {**results, ORIGINAL: results[ORIGINAL]["mean"]}

    def summary(self) -> dict[str, dict[str, Any]]:
        """Return the mean over all batches, of the metric's mean over their examples."""
        return {name: total.statistics for name, total in self._totals.items()}

    def reset(self) -> None:
        """Forget the batches so far."""
        self._totals = {}

    def _changed(self, inputs: Any, given: Mapping[str, Any]) -> Any:
        """Yield the name and the changed inputs of every attempt, as the model takes them."""
        plain = prepared(inputs, self.preproc_fn)
        yield ORIGINAL, plain
        for name, entry in self.attacks.items():
            options = {**_shared(name, entry, given), **entry.options}
            for _ in range(entry.attempts):
                if entry.before_preproc:
                    yield name, prepared(entry.attack(inputs, **options), self.preproc_fn)
                else:
                    yield name, entry.attack(plain, **options)

    def _include(self, results: Mapping[str, Mapping[str, Any]]) -> None:
        """Include the results of a batch in the summary over all."""
        for name, statistics in results.items():
            for stat, value in statistics.items():
                key = name if len(statistics) == 1 else f"{name} {stat.title()} Attempt"
                self._totals.setdefault(key, _Total([Mean()])).add(_batch_mean(value))


class _Total:
    """Statistics of a metric, in the form of its values."""

    def __init__(self, stats: Sequence[Statistic]) -> None:
        self._summarizer = Summarizer(stats)
        self._form: Any = None

    def add(self, value: Any) -> None:
        self._form = value
        self._summarizer.update(tuple(value) if isinstance(value, tuple) else value)

    @property
    def statistics(self) -> dict[str, Any]:
        """Each statistic by name, in the form of the metric."""
        found = self._summarizer.summary or {}
        if isinstance(found, Mapping):
            return dict(found)
        names = found[0]
        return {name: _like(self._form, [part[name] for part in found]) for name in names}


def _like(form: Any, values: Sequence[Any]) -> Any:
    """Return values as a tuple of the type of another."""
    return type(form)(*values) if hasattr(form, "_fields") else tuple(values)


def _batch_mean(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.mean(0) if value.dim() else value
    if isinstance(value, tuple):
        return _like(value, [_batch_mean(part) for part in value])
    return value


def _shared(name: str, entry: AttackEntry, given: Mapping[str, Any]) -> dict[str, Any]:
    missing = [argument for argument in entry.shared if argument not in given]
    if missing:
        warn(
            f"evaluate was not given {', '.join(missing)} for the attack {name!r}, which runs"
            " without",
            TorchattrWarning,
        )
    return {argument: given[argument] for argument in entry.shared if argument in given}
