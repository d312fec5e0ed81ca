"""The job of `torchattr explain`: the evidence for each class, by several methods."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from torchattr.core.printable import printable
from torchattr.errors import Message, ModelError
from torchattr.results import Entry, Subject, entry_of, heading_of, model_title, with_rows
from torchattr.runs.class_selector import ClassSelector, default_targets
from torchattr.runs.explain_settings import ExplainPlan, ExplainSettings, default_layer_note
from torchattr.runs.function_selector import FunctionSelector, parse_selectors
from torchattr.runs.job import (
    Account,
    InputPicture,
    JobProgress,
    JobResult,
    Note,
    OutputGroups,
    PictureJob,
    Prediction,
    made_by,
    settings_of,
    told_to,
)
from torchattr.runs.named_target import NamedTarget
from torchattr.runs.score_reader import Answer
from torchattr.show import View, title_of


@dataclass(frozen=True, eq=False)
class ExplainJob(PictureJob):
    """A panel with a row for each class and a column for each method, and the raw maps.

    settings: what to run.
    view, cmap: how the panel is drawn; see `torchattr.show.panel`.

    Raises:
        TorchattrError: a setting that does not fit the model.
    """

    settings: ExplainSettings = field(default_factory=ExplainSettings)
    view: View = "crop"
    cmap: str | None = None
    plan: ExplainPlan = field(init=False)
    wanted: list[ClassSelector | FunctionSelector] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "plan", ExplainPlan.of(self.loaded, self.settings))
        wanted = parse_selectors(self.settings.targets, self.loaded.class_names)
        object.__setattr__(self, "wanted", wanted)

    def at(self, picture: InputPicture, progress: JobProgress) -> Iterator[JobResult]:
        yield OutputGroups(("",))
        plan = self.plan
        answer = plan.reader.answer(picture.inputs)
        targets = self._targets(picture, answer)
        yield Prediction(picture.path, answer, [one.index for one in targets])
        if answer.note:
            yield Note(answer.note)
        yield from self._layer(picture)
        parts = 1 + self.settings.ledger
        with told_to(progress, 0, parts):
            explanation = with_rows(plan.explain(picture.inputs, targets, answer))
        refused = {**plan.dropped, **explanation.refused}
        if not len(explanation):
            # What prevents the last method usually prevents the others, too.
            last = list(refused.values())[-1]
            raise ModelError(last.after("no method can explain this model: "))
        for method, reason in refused.items():
            yield Note(reason.after(f"{title_of(method)} is left out: "))
        if coverage := plan.coverage(explanation):
            yield Note(coverage)
        with told_to(progress, 1, parts):
            ledgers = list(plan.ledgers(picture.inputs, targets, answer))
        for method, name, ledger in ledgers:
            what = f"{title_of(method)} of {name}"
            yield Account(f"{picture.path.name}: {what}", ledger)
        subject = self._subject(picture, answer, targets)
        names = dict(enumerate(self.loaded.class_names or ()))
        entry = entry_of(explanation, 0, subject, names)
        yield from _undrawn(entry)
        yield replace(entry, index=picture.index)
        progress(1.0)

    def _targets(self, picture: InputPicture, answer: Answer) -> list[NamedTarget]:
        """Return the requested targets of a picture, each once."""
        named = []
        for one in self.wanted or default_targets(answer.kind):
            if isinstance(one, FunctionSelector):
                named.append(one.named(picture.prepared, answer, self.loaded))
            else:
                classes = answer.chosen([one])
                named += [NamedTarget(self.loaded.class_name(each), each) for each in classes]
        return list({one.name if one.target else one.index: one for one in named}.values())

    def _layer(self, picture: InputPicture) -> Iterator[Note]:
        if self.plan.needs_layer:
            layer = self.plan.choose_layer(picture.inputs)
            if layer is not None:
                yield Note(default_layer_note(layer))

    def _subject(
        self, picture: InputPicture, answer: Answer, targets: list[NamedTarget]
    ) -> Subject:
        has_functions = any(one.target for one in targets)
        return Subject(
            picture.name,
            picture.prepared.original,
            picture.prepared.box,
            [_probability(one, answer) for one in targets] if answer.bounded else None,
            names=[one.name for one in targets] if has_functions else None,
            activation=_activation(answer),
            view=self.view,
            cmap=self.cmap,
            look=self.look,
            title=printable(picture.path.name),
            subtitle=self._subtitle(),
            details={
                "source": str(picture.path),
                **made_by(self.loaded),
                "layers": self.plan.layers,
                "refused": self.plan.dropped,
                "settings": self.chosen(),
            },
        )

    def _subtitle(self) -> str:
        layers = self.plan.layers
        noun = "CAM layer" if len(layers) == 1 else "CAM layers"
        read = [f"{noun}: {', '.join(layers)}"] if layers else []
        model = model_title(self.loaded.name, self.weights)
        return " · ".join((f"model: {model}", *read))

    def chosen(self) -> dict[str, Any]:
        return {
            **settings_of(self.settings),
            "weights": self.weights,
            "view": self.view,
            "cmap": self.cmap,
            "look": asdict(self.look),
        }


def _undrawn(entry: Entry) -> Iterator[Note]:
    """Yield a note for each map that the panel leaves out."""
    for name in entry.record["undrawn"]:
        shape = tuple(entry.arrays[name].shape[1:])
        yield Note(
            Message(
                f"{heading_of(name)} is not drawn, since its values of shape {shape} have no height"
                " and width; choose another layer for a map"
            )
        )


def _probability(one: NamedTarget, answer: Answer) -> float | None:
    """Return the probability of a class; a function of the output has a value instead."""
    return None if one.target else float(answer.probabilities[one.index])


def _activation(answer: Answer) -> str | None:
    """Return what made the probabilities that are shown; None for other values."""
    return None if answer.is_share or answer.kind == "none" else answer.kind
