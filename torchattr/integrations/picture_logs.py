"""Loggers of Lightning that take pictures, each by its own call."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import numpy as np
from PIL import Image

Log: TypeAlias = Callable[[Any, str, Image.Image, int], object]
"""Logs a picture: the logger, a key, the picture and the step."""


def log_of(logger: Any) -> Log | None:
    """Return how a logger takes pictures; `None` if it is not known to."""
    # By name, since two packages have these classes, and neither need be installed.
    kinds = (kind.__name__ for kind in type(logger).__mro__)
    return next((LOGS[kind] for kind in kinds if kind in LOGS), None)


def _tensorboard(logger: Any, key: str, picture: Image.Image, step: int) -> None:
    logger.experiment.add_image(key, np.asarray(picture), step, dataformats="HWC")


def _wandb(logger: Any, key: str, picture: Image.Image, step: int) -> None:
    logger.log_image(key, [picture], step=step)


def _mlflow(logger: Any, key: str, picture: Image.Image, step: int) -> None:
    logger.experiment.log_image(logger.run_id, picture, key=key, step=step)


def _nowhere(logger: Any, key: str, picture: Image.Image, step: int) -> None:
    """Log nothing, as Lightning's trial runs do."""


LOGS: Mapping[str, Log] = {
    "DummyLogger": _nowhere,
    "MLFlowLogger": _mlflow,
    "TensorBoardLogger": _tensorboard,
    "WandbLogger": _wandb,
}
