"""A callback of Lightning that logs panels of fixed pictures while a model is trained."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torchattr.core.warn import warn
from torchattr.errors import InputError, PackageError, TorchattrWarning
from torchattr.integrations.fixed_panels import FixedPanels
from torchattr.integrations.picture_logs import LOGS, Log, log_of

if TYPE_CHECKING:
    from lightning.pytorch import Callback
else:
    try:
        from lightning.pytorch import Callback
    except ImportError:
        try:
            from pytorch_lightning import Callback
        except ImportError:

            class Callback:
                """Stands for Lightning's, where neither of its packages is installed."""

                def __init__(self) -> None:
                    raise PackageError(
                        "PanelCallback needs Lightning, which is not installed; install it with:"
                        " pip install lightning"
                    )


class LoggerWarning(TorchattrWarning):
    """A logger of a training that is not known to take pictures."""


class PanelCallback(Callback):
    """Logs panels of fixed pictures after each n epochs of a training.

    To TensorBoard, Weights & Biases and MLflow, by their loggers' own calls; the step is the
    trainer's. Panels are drawn in eval mode, and nothing of the training changes by it: neither
    modes, gradients nor random numbers. They are drawn once when the training starts, and not
    logged, so that a method that the model cannot have is refused before the first epoch. With
    several processes each draws, since the weights may be shared among them, and the first one
    logs.

    Args:
        panels: the pictures, and what is explained.
        every: number of epochs from one panel to the next.
        module: the part of the Lightning module that is explained, such as `net`; "" explains its
            own `forward`.
        key: what the pictures are logged as, before their names.
        log: for other loggers, a function of logger, key, picture and step; `None` uses the
            logger's own call.

    Raises:
        InputError: `every` is not positive.
        PackageError: Lightning is not installed.

    Warns:
        LoggerWarning: a logger is not known to take pictures; it gets none.
    """

    def __init__(
        self,
        panels: FixedPanels,
        *,
        every: int = 1,
        module: str = "",
        key: str = "attributions",
        log: Log | None = None,
    ) -> None:
        super().__init__()
        if every < 1:
            raise InputError(f"every must be a positive number of epochs, got {every}")
        self._panels = panels
        self._every = every
        self._module = module
        self._key = key
        self._log = log

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        self._panels.draw(pl_module.get_submodule(self._module))
        for logger in trainer.loggers:
            if self._log is None and log_of(logger) is None:
                warn(
                    f"{type(logger).__name__} is not known to take pictures, so panels are not"
                    f" logged to it ({', '.join(LOGS)} are); pass log=... to say how",
                    LoggerWarning,
                )

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        if (trainer.current_epoch + 1) % self._every:
            return
        drawn = self._panels.draw(pl_module.get_submodule(self._module))
        for logger in trainer.loggers if trainer.is_global_zero else ():
            if (log := self._log or log_of(logger)) is not None:
                for name, picture in drawn:
                    log(logger, f"{self._key}/{name}", picture, trainer.global_step)
