"""What is run on each picture: the methods, with options for the model, and their layer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from torchattr.core.inputs import as_inputs
from torchattr.core.select import find_layers
from torchattr.core.targets import Classes, Target
from torchattr.core.types import Activation, Layers, OutputKey
from torchattr.errors import Hint, InputError, LayerError, Message, RuleError, WayOut
from torchattr.explanation import METHODS, Explanation, explain
from torchattr.layers import rule_table
from torchattr.methods import (
    Attribution,
    Ledger,
    Memory,
    RelevanceAttribution,
    build,
    find_method,
    last_spatial_layer,
    name_of,
    takes,
)
from torchattr.models import LoadedModel
from torchattr.runs.forms import Form
from torchattr.runs.method_form import MethodForm, options_by_method
from torchattr.runs.named_target import Asked, NamedTarget, asked_of
from torchattr.runs.score_reader import Answer, ScoreReader


@dataclass(frozen=True)
class ExplainSettings:
    """What to run.

    methods: names; empty for the defaults, without those that refuse the model.
    targets: see :func:`torchattr.runs.function_selector.parse_selectors`; empty for the classes
        that are present, or the best three.
    layers: names or patterns; empty for the last spatial layer.
    rules: additional rules for the rule-based methods, such as `{"gelu": "guided"}`.
    output: the entry of the model's output that holds the scores.
    memory: how much the forward may remember.
    ledger: say where the score went, for the methods that distribute it.
    composite: the rules of the methods that are made of such, by the name of a composite.
    options: further options, such as `n_steps=20` for all methods that have it, or
        `rise.n_masks=40` for one.
    """

    methods: tuple[str, ...] = ()
    targets: tuple[str, ...] = ()
    layers: tuple[str, ...] = ()
    rules: Mapping[str, str] = field(default_factory=dict)
    output: str | int | None = None
    memory: Memory = "auto"
    ledger: bool = False
    composite: str | None = None
    options: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(self.methods)) or METHODS


@dataclass
class ExplainPlan:
    """The methods of a run, and the options of each for its constructor and its `attribute`.

    `dropped` maps the methods that were left out to their reasons.
    """

    loaded: LoadedModel
    settings: ExplainSettings
    reader: ScoreReader
    layers: list[str]
    made: Mapping[str, Mapping[str, Any]]
    called: Mapping[str, Mapping[str, Any]]
    dropped: dict[str, Message] = field(default_factory=dict)

    @classmethod
    def of(cls, loaded: LoadedModel, settings: ExplainSettings) -> ExplainPlan:
        """Check everything that can be checked before a picture is read.

        Raises:
            RuleError: an unknown method, operation or rule.
            LayerError: an unknown layer.
        """
        for name in settings.names:
            find_method(name)
        rule_table(settings.rules)
        if settings.composite is not None and not any(map(_has_composite, settings.names)):
            raise InputError(
                "{setting} is for methods that are made of rules, and none of"
                f" {', '.join(settings.names)} is; add one such as lrp",
                hint=Hint("composite", settings.composite),
            )
        if settings.ledger and not any(map(_has_ledger, settings.names)):
            raise InputError(
                "{setting} is for methods that distribute the score, and none of"
                f" {', '.join(settings.names)} does; add one such as lrp",
                hint=Hint("ledger", True),
            )
        if settings.rules and not any(map(_rules, settings.names)):
            raise RuleError(
                "{setting} is for methods that rewrite single operations, and none of"
                f" {', '.join(settings.names)} does; leave it out, or add one such as"
                " guided_backprop",
                hint=Hint("rules", dict(settings.rules)),
            )
        layers = list(find_layers(loaded.model, settings.layers)) if settings.layers else []
        made, called = _read(settings, loaded)
        reader = ScoreReader(loaded, settings.output)
        plan = cls(loaded, settings, reader, layers, made, called)
        for name in settings.names:  # A composite is checked where it is made.
            plan._method(name, plan.reader.scores)
        return plan

    @property
    def needs_layer(self) -> bool:
        return not self.layers and any(takes(name, "layer") for name in self._names)

    def choose_layer(self, inputs: Tensor) -> str | None:
        """Choose the last spatial layer; if there is none, drop the default methods that need one.

        Raises:
            LayerError: there is none, and an explicitly requested method needs one.
        """
        try:
            name, _ = last_spatial_layer(
                self.loaded.model, as_inputs(inputs), (), self.reader.scores
            )
        except LayerError as reason:
            if self.settings.methods:
                raise
            needing = [name for name in self._names if takes(name, "layer")]
            self.dropped.update(dict.fromkeys(needing, reason.message))
            return None
        self.layers = [name]
        return name

    def explain(
        self, inputs: Tensor, targets: Sequence[NamedTarget], answer: Answer
    ) -> Explanation:
        """Run the methods for these targets of one picture, given the model's answer to it.

        Raises:
            NoRuleMatched: an explicitly requested method found nothing to rewrite.
        """
        asked = self._asked(targets, answer)
        activation = self.reader.activation(answer)
        return self.attribute(inputs, Classes(asked.targets), asked.output, activation)

    def attribute(
        self,
        inputs: Tensor,
        target: Target,
        output: OutputKey,
        activation: Activation,
        names: Sequence[str] | None = None,
        options: Mapping[str, Mapping[str, Any]] | None = None,
        seed: int | None = None,
    ) -> Explanation:
        """Run methods on a batch, all that can share it from one forward.

        Args:
            inputs: the pictures, `(N, C, H, W)`.
            target: what is explained of each of them.
            output: returns what the target indexes from the model's output.
            activation: what turns scores into probabilities.
            names: those of the methods to run; `None` for all.
            options: further options of the `attribute` of each method.
            seed: of the methods that draw random numbers; `None` for their own.

        Raises:
            NoRuleMatched: an explicitly requested method found nothing to rewrite.
        """
        methods = self.methods(inputs, output, activation, names, seed)
        for method, own in methods.items():
            own.update((options or {}).get(name_of(method), {}))
        return explain(
            self.loaded.model,
            inputs,
            methods,
            target,
            layer=self.layer,
            rules=self.settings.rules,
            output=output,
            skip_refused=not self.settings.methods,
            memory=self.settings.memory,
        )

    def methods(
        self,
        inputs: Tensor,
        output: OutputKey,
        activation: Activation,
        names: Sequence[str] | None = None,
        seed: int | None = None,
    ) -> dict[str | Attribution, dict[str, Any]]:
        """Return the methods with the options of the `attribute` of each, for a batch.

        Args:
            inputs, output, activation, names, seed: as for :meth:`attribute`.
        """
        made = {}
        for name in self._names if names is None else names:
            form = MethodForm.of(name)
            called = _seeded(form.called, self.called[name], seed)
            method = self._method(name, output, seed)
            made[method] = form.call_options(called, inputs, activation)
        return made

    def ledgers(
        self, inputs: Tensor, targets: Sequence[NamedTarget], answer: Answer
    ) -> Iterator[tuple[str, str, Ledger]]:
        """Yield for each method that distributes the score where it went, for each target's name.

        Args:
            inputs: the picture.
            targets: the targets.
            answer: the model's answer to it.
        """
        for name in self._names if self.settings.ledger else ():
            asked = self._asked(targets, answer)
            method = build(self._method(name, asked.output), self.loaded.model, output=asked.output)
            if isinstance(method, RelevanceAttribution):
                for named, target in zip(targets, asked.targets, strict=True):
                    yield name, named.name, method.ledgers(inputs, target)[0]

    def _asked(self, targets: Sequence[NamedTarget], answer: Answer) -> Asked:
        return asked_of(targets, answer, self.reader)

    def _method(self, name: str, output: OutputKey, seed: int | None = None) -> str | Attribution:
        """Return a method, made with the options of its constructor if there are any."""
        form = MethodForm.of(name)
        made = _seeded(form.made, self.made[name], seed)
        if not made:
            return name
        return form.build(
            self.loaded, made, layer=self.layer, rules=self.settings.rules, output=output
        )

    @property
    def layer(self) -> Layers | None:
        return (self.layers[0] if len(self.layers) == 1 else self.layers) or None

    @property
    def _names(self) -> Sequence[str]:
        return [name for name in self.settings.names if name not in self.dropped]

    def coverage(self, explanation: Explanation) -> Message | None:
        """Return what the rules rewrote and how to rewrite the rest; `None` without any rules."""
        rules: dict[str, Any] = {}
        for name in explanation:
            rules |= _rules(name)
        if not rules:
            return None
        table = rule_table({**rules, **self.settings.rules})
        further = dict.fromkeys(explanation.coverage.left(table), "guided")
        advice = WayOut("to treat them like a ReLU, pass {setting}", "rules", further)
        return Message(
            f"coverage: {explanation.coverage.describe(table)}",
            Hint(ways_out=[advice] if further else []),
        )


def _read(settings: ExplainSettings, loaded: LoadedModel) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the options of each method for its constructor, and those for its `attribute`."""
    made, called = {}, {}
    for name, options in options_by_method(settings.options, settings.names).items():
        form = MethodForm.of(name)
        made[name], called[name] = form.read(options)
        if settings.composite is not None and _has_composite(name):
            made[name].setdefault("composite", settings.composite)
        if made[name]:  # Found once, not for each picture.
            made[name] = form.bounded(loaded, made[name])
    return made, called


def _has_composite(name: str) -> bool:
    return takes(name, "composite")


def _seeded(form: Form, options: Mapping[str, Any], seed: int | None) -> Mapping[str, Any]:
    """Return the options, with a seed if there is one and the form has a field for it."""
    if seed is None or all(field.name != "seed" for field in form.fields):
        return options
    return {"seed": seed, **options}


def draws_numbers(name: str) -> bool:
    """Whether a method draws random numbers, from a seed.

    >>> draws_numbers("rise"), draws_numbers("random_cam"), draws_numbers("saliency")
    (True, True, False)
    """
    return any(field.name == "seed" for field in MethodForm.of(name).fields)


def _has_ledger(name: str) -> bool:
    return issubclass(find_method(name), RelevanceAttribution)


def default_layer_note(layer: str) -> Message:
    """Return the note that a layer was chosen automatically."""
    return Message("no layer given; using {setting}, the last spatial one", Hint("layer", layer))


def _rules(name: str) -> Mapping[str, Any]:
    """Return the rules of a method; most have none."""
    return getattr(find_method(name), "rules", {})
