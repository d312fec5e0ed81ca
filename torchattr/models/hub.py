"""Load models of timm, which is imported only here."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import torch
from torch import nn

from torchattr.core.registry import closest, suggest
from torchattr.errors import Hint, ModelError, WayOut, WeightsError
from torchattr.models.hub_network import cached_if_unreachable, is_cut_off, is_unreached
from torchattr.models.loaded import LoadedModel
from torchattr.models.read_errors import reason
from torchattr.models.weights import (
    RANDOM,
    UNTRAINED,
    fit_weights,
    read_weights,
    same_random_weights,
)

_SOURCE = re.compile(r"(hf[-_]hub|local-dir):")
"""How names begin that timm does not know itself: of the Hugging Face Hub, and of folders."""

TRY_AGAIN = WayOut("check the network and try again")


def load(name: str, weights: str | Path | None, device: torch.device) -> LoadedModel:
    """Load a timm model; see ``torchattr.models.load_model`` for ``weights``."""
    timm = _timm()
    if not _SOURCE.match(name) and not timm.is_model(name.partition(".")[0]):
        close = closest(name, timm.list_models(), cutoff=0.5)
        question = f"; {suggest(name, close)}" if close else ""
        raise ModelError(f"timm has no model named {name!r}{question}")
    model = _create(timm, name, weights)
    config = timm.data.resolve_model_data_config(model)
    return LoadedModel(
        name=f"timm:{name}",
        model=model.eval().to(device),
        transform=timm.data.create_transform(**config, is_training=False),
        class_names=_class_names(timm, model),
        activation="softmax",
    )


def _timm() -> Any:
    try:
        import timm
        import timm.data
    except ImportError as error:
        raise ModelError(
            f"timm is needed for timm:NAME and could not be imported ({error}); "
            "install it with: pip install timm"
        ) from error
    return timm


def _create(timm: Any, name: str, weights: str | Path | None) -> nn.Module:
    if weights is not None and weights != RANDOM:
        model = _built(timm, name, pretrained=False)
        fit_weights(model, read_weights(weights), str(weights))
        return model
    if weights == RANDOM:
        with same_random_weights():
            return _built(timm, name, pretrained=False)
    return _built(timm, name, pretrained=True)


def _built(timm: Any, name: str, *, pretrained: bool) -> nn.Module:
    """Return a model of timm; of the Hub, already its configuration is downloaded.

    Raises:
        WeightsError: for whatever goes wrong meanwhile. The Hub's client lets errors of the library
            pass that it sends its requests with, and timm those that a wrong configuration causes.
        ModelError: the same, of a folder.
    """
    if name.startswith("local-dir:"):
        try:
            return _made(timm, name, pretrained)
        except Exception as error:
            raise ModelError(
                f"timm:{name} is no folder of a model of timm ({reason(error)})"
            ) from error
    if not pretrained and not _SOURCE.match(name):
        return _made(timm, name, pretrained)
    with cached_if_unreachable() as why:
        try:
            return _made(timm, name, pretrained)
        except Exception as error:
            if why is not None and is_unreached(error):
                raise _not_fetched(name, why) from error
            if why is None and is_cut_off(error):
                raise _cut_off(name, reason(error)) from error
            raise _not_loaded(name, reason(error)) from error


def _made(timm: Any, name: str, pretrained: bool) -> nn.Module:
    model: nn.Module = timm.create_model(name, pretrained=pretrained)
    return model


def _not_fetched(name: str, why: str) -> WeightsError:
    """Return the error about a model, or its weights, that is not in the cache of the Hub."""
    if not _SOURCE.match(name):
        return _without_weights(name, f"could not be downloaded ({why})")
    advice = f"on a machine that reaches it, check the name and {_by_hand(name)}"
    return WeightsError(
        f"timm:{name} could not be fetched from the Hub ({why})",
        hint=Hint(ways_out=[WayOut(advice)]),
    )


def _cut_off(name: str, why: str) -> WeightsError:
    """Return the error about a download whose connection was lost, or too slow."""
    fault = f"the connection failed meanwhile: {why}"
    if not _SOURCE.match(name):
        return _without_weights(name, f"could not be downloaded ({fault})", TRY_AGAIN)
    return WeightsError(
        f"timm:{name} could not be downloaded from the Hub ({fault})",
        hint=Hint(ways_out=[TRY_AGAIN, WayOut(f"if that does not help, {_by_hand(name)}")]),
    )


def _by_hand(name: str) -> str:
    """Return how to download a model of the Hub apart."""
    repository, _, revision = name.partition(":")[2].partition("@")
    chosen = f" --revision {revision}" if revision else ""
    return (
        f"run hf download {repository}{chosen} --local-dir FOLDER, then load timm:local-dir:FOLDER"
    )


def _not_loaded(name: str, why: str) -> WeightsError:
    """Return the error about a model, or its weights, that the Hub refuses, or that do not fit."""
    if not _SOURCE.match(name):
        return _without_weights(name, f"could not be loaded ({why})")
    return WeightsError(
        f"timm:{name} could not be loaded from the Hub ({why})",
        hint=Hint(
            ways_out=[
                WayOut("check the name; log in with hf auth login if the model is private or gated")
            ]
        ),
    )


def _without_weights(name: str, fault: str, *first: WayOut) -> WeightsError:
    return WeightsError(
        f"the weights of timm:{name} {fault}",
        hint=Hint(ways_out=[*first, WayOut("pass a file with {setting}", "weights"), UNTRAINED]),
    )


def _class_names(timm: Any, model: Any) -> tuple[str, ...] | None:
    labels = model.pretrained_cfg.get("label_names")
    if labels:
        described = model.pretrained_cfg.get("label_descriptions") or {}
        return tuple(str(described.get(label, label)) for label in labels)
    subset = timm.data.infer_imagenet_subset(model)
    if subset is None:
        return None
    info = timm.data.ImageNetInfo(subset)
    return tuple(info.index_to_description(index) for index in range(info.num_classes()))
