"""What happened to each picture of a run, as plain values for other programs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torchattr.models import LoadedModel
    from torchattr.runs import Account, Prediction


class Records:
    """Collects the events of a run, of which those of a picture follow one another.

    Attributes:
        pictures: a record for each picture, in their order.
    """

    def __init__(self, loaded: LoadedModel) -> None:
        self.pictures: list[dict[str, Any]] = []
        self._loaded = loaded
        self._present: dict[str, Any] = {}

    def add(self, event: Any) -> None:
        """Add an event; notes belong to no picture, and are reported elsewhere."""
        from torchattr.runs import Account, AlreadyDone, PictureDone, Prediction, Skipped, Written

        if isinstance(event, Prediction):
            self._present |= {"targets": self._targets(event)}
        elif isinstance(event, Account):
            self._present.setdefault("ledgers", []).append(_ledger(event))
        elif isinstance(event, Written):
            self._present.setdefault("files", []).extend(map(str, event.files))
        elif isinstance(event, PictureDone):
            self._end(event, "written")
        elif isinstance(event, AlreadyDone):
            self._end(event, "kept")
        elif isinstance(event, Skipped):
            self._end(event, "skipped", reason=event.reason)

    def _end(self, event: Any, state: str, **more: Any) -> None:
        self.pictures.append({"image": str(event.path), "state": state, **more, **self._present})
        self._present = {}

    def _targets(self, event: Prediction) -> list[dict[str, Any]]:
        answer = event.answer
        value = "probability" if answer.bounded else "score"
        return [
            {
                "index": index,
                "name": self._loaded.class_name(index),
                value: float(answer.probabilities[index]),
            }
            for index in event.targets
        ]


def _ledger(event: Account) -> dict[str, Any]:
    ledger = event.ledger
    return {"title": event.title, "score": float(ledger.score), "reasons": ledger.by_reason()}
