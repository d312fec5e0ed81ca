"""Explaining pictures one after another, each written as soon as it is done."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import torch

from torchattr.errors import ImageError
from torchattr.explanation import Explanation
from torchattr.kernels import asked, backend
from torchattr.models import LoadedModel, Prepared, read_image
from torchattr.runs.answers import SEGMENTATION, Answer
from torchattr.runs.entries import Subject, entry_of
from torchattr.runs.folder import RunFolder
from torchattr.runs.names import distinct_names
from torchattr.runs.plan import Plan
from torchattr.runs.plan import Settings as Settings
from torchattr.runs.wanted import chosen, default_targets, parse_targets
from torchattr.show import title_of


@dataclass(frozen=True)
class Note:
    """Something that a reader should know; each is told once."""

    text: str


@dataclass(frozen=True, eq=False)
class Predicted:
    """What the model sees in a picture, and the classes that are explained."""

    path: Path
    answer: Answer
    targets: list[int]


@dataclass(frozen=True, eq=False)
class Explained:
    """A picture is done, and these are its files."""

    path: Path
    files: list[Path]
    explanation: Explanation


@dataclass(frozen=True)
class Skipped:
    """A picture could not be read."""

    path: Path
    reason: str


Event: TypeAlias = "Note | Predicted | Explained | Skipped"


def explain_pictures(
    loaded: LoadedModel, paths: Sequence[Path], out: str | Path, settings: Settings
) -> Iterator[Event]:
    """Explain pictures with a model and write the results into a folder; say what happens.

    A picture that cannot be read is skipped. When the iteration ends early, what is done stays,
    and the manifest says so.

    Raises:
        TorchattrError: a setting that does not fit the model, or a folder that does not take
            files; nothing is written then but pictures that were done before.
    """
    with backend(settings.backend), RunFolder(out, settings.overwrite) as folder:
        plan = Plan.of(loaded, settings)
        wanted = parse_targets(settings.targets, loaded.class_names)
        wanted = wanted or default_targets(loaded.activation)
        names = distinct_names([path.stem for path in paths])
        folder.claim(names)
        told: set[str] = set()
        for path, name in zip(paths, names, strict=True):
            for event in _explained(path, name, plan, wanted, folder):
                if isinstance(event, Note) and event.text in told:
                    continue
                told.add(getattr(event, "text", ""))
                yield event


def _explained(
    path: Path, name: str, plan: Plan, wanted: Sequence[Any], folder: RunFolder
) -> Iterator[Event]:
    try:
        image = read_image(path)
    except ImageError as error:
        folder.skip(str(path), str(error))
        yield Skipped(path, str(error))
        return
    prepared = plan.loaded.preprocess(image)
    inputs = prepared.tensor[None].to(device_of(plan.loaded))
    answer = plan.reader.answer(inputs)
    targets = chosen(wanted, answer.probabilities)
    yield Predicted(path, answer, targets)
    if answer.is_share:
        yield Note(SEGMENTATION)
    yield from _chosen_layer(plan, inputs)
    explanation = plan.explain(inputs, targets)
    for method, reason in {**plan.dropped, **explanation.refused}.items():
        yield Note(f"{title_of(method)} is left out: {reason}")
    if coverage := plan.coverage(explanation):
        yield Note(coverage)
    subject = _subject(path, name, prepared, answer, targets, plan)
    files = folder.add(entry_of(explanation, 0, subject, _names(plan.loaded)))
    yield Explained(path, files, explanation)


def _chosen_layer(plan: Plan, inputs: torch.Tensor) -> Iterator[Note]:
    if plan.needs_layer:
        layer = plan.choose_layer(inputs)
        if layer is not None:
            yield Note(f"layer {layer}: the last spatial one, since none was named (--layer)")


def device_of(loaded: LoadedModel) -> torch.device:
    """Give the device on which a model lies."""
    tensors = (*loaded.model.parameters(), *loaded.model.buffers())
    return next((tensor.device for tensor in tensors), torch.device("cpu"))


def _names(loaded: LoadedModel) -> dict[int, str]:
    return dict(enumerate(loaded.class_names or ()))


def _subject(
    path: Path, name: str, prepared: Prepared, answer: Answer, targets: list[int], plan: Plan
) -> Subject:
    layers = ", ".join(plan.layers)
    return Subject(
        name,
        prepared.original,
        prepared.box,
        answer.probabilities[targets].tolist() if answer.bounded else None,
        title=path.name,
        subtitle=f"What makes {plan.loaded.name} think so?"
        + (f" Class activation maps look at {layers}." if layers else ""),
        details={
            "source": str(path),
            "model": plan.loaded.name,
            "layers": plan.layers,
            "device": str(device_of(plan.loaded)),
            "refused": plan.dropped,
            "settings": _settings(plan.settings),
        },
    )


def _settings(settings: Settings) -> dict[str, Any]:
    return {
        "methods": list(settings.names),
        "targets": list(settings.targets),
        "layers": list(settings.layers),
        "rules": dict(settings.rules),
        "output": settings.output,
        "backend": asked(),
        "weights": settings.weights,
    }
