"""Running a method or a panel for the picture and class of a scene."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from torch import Tensor

from torchattr.core.stepping import step
from torchattr.core.targets import Classes
from torchattr.errors import InputTypeError
from torchattr.methods import Attribution, RelevanceAttribution, takes
from torchattr.show import as_floats, title_of
from torchattr.web.panels.ledger_card import LedgerCard
from torchattr.web.panels.parts import Map, Part, Text
from torchattr.web.panels.scene import Scene
from torchattr.web.views.catalog import MethodEntry, PanelEntry


def run_method(scene: Scene, entry: MethodEntry, values: dict[str, Any]) -> tuple[list[Part], str]:
    """Run a method; return its maps and the parts of its own panel, and a note on rule coverage.

    Raises:
        TorchattrError: an invalid option, or a method that does not support the model.
    """
    made, called = entry.read(values)
    method = _build(scene, entry, made)
    own = scene.reader.activation(scene.answer)
    options = entry.form.call_options(called, scene.inputs, own)
    result, ledger, note = _explained(entry, method, options, scene)
    parts = [*_maps(entry.name, result), *ledger, *_own_panel(method, result, scene)]
    return parts, note


def run_panel(scene: Scene, entry: PanelEntry, values: dict[str, Any]) -> list[Part]:
    """Run a panel and return its parts.

    Raises:
        InputTypeError: the panel returned something else.
    """
    return _checked(entry.panel().show(scene, **entry.read(values)), entry.name)


def _build(scene: Scene, entry: MethodEntry, made: dict[str, Any]) -> Attribution:
    layer = scene.default_layer if takes(entry.name, "layer") else None
    return entry.form.build(scene.loaded, made, layer=layer, output=scene.asked.output)


def _maps(name: str, result: Any, detail: str = "") -> Iterator[Part]:
    """Convert the result of a method for one picture and one class into maps."""
    if isinstance(result, Mapping):
        for layer, value in result.items():
            yield from _maps(name, value, layer)
    elif isinstance(result, (tuple, list)):
        for number, value in enumerate(result, start=1):
            yield from _maps(name, value, f"{detail} {number}".strip())
    else:
        yield _map(name, result[0, 0], detail)


def _map(name: str, values: Tensor, detail: str) -> Part:
    title = f"{title_of(name)}, {detail}" if detail else title_of(name)
    if values.dim() not in (2, 3):
        return Text(
            f"The result has shape {tuple(values.shape)} and cannot be drawn as a map.", title
        )
    array = as_floats(values).astype(np.float32)
    return Map(array, title, _style(name, array if array.ndim == 3 else array[None]))


def _style(name: str, values: np.ndarray) -> Any:
    from torchattr.show import COLOR, HEAT, style_of

    style = style_of(name, values)
    return HEAT if style is COLOR and len(values) not in (1, 3) else style


def _explained(
    entry: MethodEntry, method: Attribution, options: Mapping[str, Any], scene: Scene
) -> tuple[Any, Sequence[Part], str]:
    """Return the result of a method, where the score went if it says so, and a note."""
    if isinstance(method, RelevanceAttribution) and entry.returns_ledger:
        account = method.account(scene.inputs, Classes(scene.asked.targets))
        card = LedgerCard(account.ledgers[0], f"{title_of(entry.name)}: where the score went")
        return account.attribution, [card], account.coverage.describe(method.table)
    explanation = scene.explain(method, options)
    return next(iter(explanation.attributions.values())), (), "; ".join(explanation.notes.values())


def _own_panel(method: Attribution, result: Any, scene: Scene) -> list[Part]:
    panel: Callable[..., Any] | None = getattr(method, "panel", None)
    if not callable(panel):
        return []
    return _checked(panel(_without_target(result), scene), f"{type(method).__name__}.panel")


def _without_target(result: Any) -> Any:
    """Remove the dimension of the targets, which has size 1."""
    if isinstance(result, Mapping):
        return {key: _without_target(value) for key, value in result.items()}
    if isinstance(result, (tuple, list)):
        return tuple(map(_without_target, result))
    return result[:, 0]


def _checked(parts: Iterable[Any], name: str) -> list[Part]:
    checked = []
    for part in [parts] if isinstance(parts, Part) else parts:
        step()
        checked.append(part)
        if not isinstance(part, Part):
            raise InputTypeError(
                f"{name} must return parts such as Map, Picture, Table, Bars, Figure or Text of"
                f" torchattr.web, got {type(part).__name__}"
            )
    return checked
