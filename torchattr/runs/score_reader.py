"""Read one score per class from whatever a model returns for a picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from torchattr.core.detections import holds_detections
from torchattr.core.gradient_mode import gradients
from torchattr.core.outputs import select_output
from torchattr.core.types import Activation, OutputKey
from torchattr.core.undoing import undone
from torchattr.errors import Hint, Message, ModelError, OutputError, WayOut
from torchattr.layers import enter_dispatch_mode
from torchattr.models import LoadedModel, OutputOperation, ScoreReading
from torchattr.runs.class_selector import ClassSelector, chosen
from torchattr.runs.failing_model import failing_is_a_sentence
from torchattr.show import percent

SEGMENTATION = Message(
    "segmentation model: the score of a class is the sum of its logits over the pixels where it"
    " is the highest, its percentage the share of these pixels"
)
DETECTION = Message("detector: the score of a class is that of its best detection")
_WRAP = WayOut("wrap the model so that it returns scores (N, classes): path/to/file.py:FUNCTION")


@dataclass(frozen=True, eq=False)
class Answer:
    """The displayed scores `(K,)` of one picture: probabilities if they are known to be, else raw.

    probabilities: the displayed values; *not* probabilities unless `bounded`.
    is_share: whether these are the shares of pixels that a segmentation assigns to each class.
    reading: how they were computed from the scores.
    raw: the output that they were computed from: scores `(1, K)`, a segmentation `(1, K, h, w)` or
        detections `(1, D, 6)`.
    """

    probabilities: Tensor
    is_share: bool = False
    reading: ScoreReading = field(default_factory=ScoreReading)
    raw: Tensor | None = None

    @property
    def bounded(self) -> bool:
        """Whether these are probabilities or shares, in 0..1, and can be shown as percentages."""
        return self.is_share or self.reading.bounded

    @property
    def kind(self) -> Activation:
        """`softmax` for exclusive classes, `sigmoid` for independent ones, or `none`."""
        return self.reading.kind

    @property
    def note(self) -> Message:
        """A remark on what the numbers mean; may be empty."""
        if self.raw is not None and holds_detections(self.raw):
            return DETECTION
        return SEGMENTATION if self.is_share else self.reading.note

    def said(self, value: float) -> str:
        """Format a value: as a percentage only if it is a probability or a share.

        >>> Answer(torch.tensor([-5.0])).said(-5.0)
        '-5'
        """
        return percent(value) if self.bounded else f"{value:.3g}"

    def chosen(self, wanted: Sequence[ClassSelector]) -> list[int]:
        """Return the requested classes; see :func:`torchattr.runs.class_selector.chosen`."""
        return chosen(wanted, self.probabilities, self.bounded)


@dataclass(frozen=True, eq=False)
class ScoreReader:
    """Reads scores `(N, K)` from whatever a model returns.

    A segmentation, `(N, K, H, W)`, is reduced to the sum of each class's logits over the pixels
    that it wins: those where it is the highest, or, for a single class, where its logit is
    positive. Of detections, each class has the score of its best one. Scores `(N,)` are one per
    example.

    Args:
        loaded: the model.
        key: the entry of its output; `None` for the only one, or the one called `out`.
    """

    loaded: LoadedModel
    key: OutputKey = None

    def scores(self, output: Any) -> Tensor:
        """Return the scores `(N, K)` in an output of the model; differentiable."""
        raw = self.raw(output)
        if holds_detections(raw):
            return _best_of_each(raw, len(self.loaded.class_names or ()))
        return (raw * _wins(raw)).sum((2, 3)) if raw.dim() == 4 else raw

    def answer(self, inputs: Tensor) -> Answer:
        """Run the model for one picture `(1, C, H, W)`.

        Raises:
            OutputError: scores of another shape, or NaN or infinite ones.
            ModelError: the model fails on it.
        """
        with gradients(False):
            ending = OutputOperation()
            with undone() as undo:
                enter_dispatch_mode(undo, ending)
                with failing_is_a_sentence(self.loaded, lambda: inputs):
                    output = self.loaded.model(inputs)
                raw = self.raw(output)
            self._check(raw, len(inputs))
            if holds_detections(raw):
                return self._of_detections(raw)
            made_by = ending.of(raw)
            if raw.dim() == 4:
                self._check_single_map(raw, made_by)
                return Answer(_wins(raw).mean((2, 3))[0].cpu(), is_share=True, raw=raw)
            reading = self.loaded.read(raw, made_by)
            return Answer(reading.shown(raw)[0].float().cpu(), reading=reading, raw=raw)

    def _of_detections(self, raw: Tensor) -> Answer:
        if not self.loaded.class_names:
            raise OutputError(
                f"{self.loaded.name} returns detections, but its class names are not known; return"
                " (model, transform, class_names) from the function, with a name for each label"
            )
        if not bool((raw[..., 5] >= 0).any()):
            raise OutputError(
                f"{self.loaded.name} finds no box in this picture above its score threshold, so"
                " there is nothing to explain; lower the threshold of the detector, or choose"
                " another picture"
            )
        best = _best_of_each(raw, len(self.loaded.class_names))
        return Answer(best[0].float().cpu(), reading=ScoreReading("none", "sigmoid"), raw=raw)

    def activation(self, answer: Answer) -> Activation:
        """Return the activation that turns scores into probabilities; `none` for a segmentation."""
        return "none" if answer.is_share else answer.reading.applied

    def raw(self, output: Any) -> Tensor:
        """Return the scores as the model returns them, with their positions or boxes.

        Raises:
            OutputError: scores of another shape.
        """
        key = self.key
        if key is None and isinstance(output, Mapping) and "out" in output:
            key = "out"
        raw = select_output(output, key)
        raw = raw.reshape(-1, 1) if raw.dim() < 2 else raw
        if holds_detections(raw):
            return raw
        if raw.dim() not in (2, 4) or raw.shape[1] == 0:
            raise OutputError(
                f"{self.loaded.name} returns scores of the shape {tuple(raw.shape)}; needed are (N,"
                " classes) or, for a segmentation, (N, classes, height, width)",
                hint=Hint(
                    ways_out=[WayOut("choose another entry with {setting}", "output"), _WRAP]
                ),
            )
        return raw

    def _check(self, raw: Tensor, examples: int) -> None:
        if len(raw) != examples:
            raise OutputError(
                f"{self.loaded.name} returns {len(raw)} scores or rows of them for {examples}"
                f" picture{'s' if examples > 1 else ''}; needed are (N, classes), a row for each",
                hint=Hint(ways_out=[_WRAP]),
            )
        if raw.is_meta:
            raise ModelError(
                f"{self.loaded.name} is on the device meta, which has shapes but no values, so"
                " there is nothing to explain"
            )
        if not raw.isfinite().all():
            raise OutputError(
                f"the scores of {self.loaded.name} hold NaN or infinite values, so nothing can"
                " be explained; check its weights and its transform"
            )

    def _check_single_map(self, raw: Tensor, ending: str | None) -> None:
        """Refuse a single map unless it is known to hold the logits of a mask."""
        if raw.shape[1] > 1:
            return
        if self.loaded.activation not in ("logits", "sigmoid") or ending in ("sigmoid", "softmax"):
            raise OutputError(
                f"{self.loaded.name} returns a single map of the shape {tuple(raw.shape)}",
                hint=Hint(
                    ways_out=[
                        WayOut(
                            "if these are logits of a mask, pass {setting}", "activation", "logits"
                        ),
                        WayOut(f"otherwise {_WRAP.text}"),
                    ]
                ),
            )


def _best_of_each(raw: Tensor, classes: int) -> Tensor:
    """Return the score of the best detection of each class, `(N, K)`; 0 where there is none."""
    scores = raw[:, None, :, 4] * (raw[:, None, :, 5] == torch.arange(classes).to(raw)[:, None])
    none = raw.sum((1, 2))[:, None, None] * raw.new_zeros(classes, 1)
    return torch.cat([scores, none], 2).amax(2)


def _wins(raw: Tensor) -> Tensor:
    """Return where each class has the highest score, as ones and zeros."""
    if raw.shape[1] == 1:
        return (raw.detach() > 0).to(raw.dtype)
    winners = raw.detach().argmax(1, keepdim=True)
    return torch.zeros_like(raw.detach()).scatter_(1, winners, 1.0)
