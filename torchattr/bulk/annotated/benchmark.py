"""Methods benchmarked on the annotated pictures of a user, which a kill does not undo."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from torchattr.bulk import packages
from torchattr.bulk.annotated.pictures import AnnotatedPictures
from torchattr.bulk.annotated.seen_pictures import (
    InputForm,
    LeftOut,
    SeenPicture,
    SeenPictureReader,
    labelled,
)
from torchattr.bulk.annotated.value_store import ValueStore, rows_of, values_of
from torchattr.bulk.durable import remove_parts
from torchattr.bulk.modelling import as_loaded
from torchattr.bulk.progress import RunProgress, StderrProgress
from torchattr.bulk.record import COMPARED, check_same, ids_digest, of_model
from torchattr.core.arguments import checked_flags
from torchattr.core.paths import expanded
from torchattr.errors import InputError, InputTypeError
from torchattr.evaluate import Benchmark, BenchmarkPlan
from torchattr.kernels import backend as kernel_backend
from torchattr.methods import Attribution
from torchattr.models import LoadedModel, Meaning, is_user_file
from torchattr.runs import ScoreReader, device_of

VALUES = "values"
"""The folder of the values in that of a benchmark."""

DATA = "data"
"""What tables call the pictures."""

_SHARED = ("model", "weights", "preprocessing", "sources", "methods", "activation", "backend")
BENCHMARKED = {
    **{key: COMPARED[key] for key in _SHARED},
    "metrics": "metrics",
    "ids": "pictures and their boxes, by their number and digest",
    "versions": COMPARED["versions"],
}
"""The entries of a record that a benchmark must share to continue it."""


@checked_flags
def benchmark_data(
    model: str | nn.Module | LoadedModel,
    data: str | Path,
    boxes: str | Path,
    methods: str | type[Attribution] | Sequence[str | type[Attribution]] | None = None,
    metrics: str | Sequence[str] | None = None,
    *,
    out: str | Path,
    weights: str | Path | None = None,
    transform: Any = None,
    trust: bool = False,
    activation: Meaning | None = None,
    options: Mapping[str, Mapping[str, Any]] | None = None,
    device: str | torch.device = "auto",
    backend: str = "auto",
    show_progress: bool = False,
) -> Benchmark:
    """Measure methods by metrics on your own pictures, whose objects have boxes, and rank them.

    As :func:`torchattr.evaluate.benchmark` does on the pictures that ship. Each picture is
    explained for the class of its boxes, once for each class that it has boxes of; all boxes of
    that class are its object. Boxes go through the model's own preprocessing: an element of the
    input belongs to the object if its centre lies in a box. A picture is left out, with its reason,
    if it cannot be read, if the model does not know the class or sees nothing of the box, or if the
    box covers all that it sees.

    The values are in `out/values`, a folder of Parquet files that others read as one table: a row
    for each picture and method, a column for each metric, and `seen`, the share of the boxes that
    the model sees. A process that is killed costs the eight pictures that it was working on, and
    the same call finishes the rest.

    It is *not* the truth about a method: a network may use what is outside the box, and then the
    right map is, too; see :func:`torchattr.evaluate.benchmark`. Objects of one picture are not
    independent, so intervals are too narrow where pictures have many.

    Args:
        model: a name, as for `torchattr explain`; a module, or a :class:`LoadedModel`, whose
            device is kept. It returns scores `(N, classes)`.
        data: the folder of the pictures.
        boxes: a table (`.csv`, `.tsv`, `.parquet`) with the columns `path`, `label` or `class`,
            `x0`, `y0`, `x1`, `y1` and, optionally, `width` and `height`; or the `.json` of COCO.
            Paths are relative to `data`; edges are pixels of the picture, right and bottom
            exclusive; a class is a name or an index of the model's.
        methods: names or classes of methods; `None` is all that share one forward.
        metrics: see :func:`torchattr.evaluate.benchmark`, all but those on grids; `None` is all.
        out: the folder of results; one that another call began is continued.
        weights: see :func:`torchattr.models.load_model`.
        trust: see :func:`torchattr.models.load_model`.
        transform: the preprocessing of a module, from an image to a tensor `(C, H, W)`.
        activation: the meaning of the scores, see :class:`LoadedModel`.
        options: options of methods, as for :func:`torchattr.evaluate.benchmark`.
        device: `"auto"` uses a GPU if there is one.
        backend: kernel backend, see :func:`backend`.
        show_progress: show progress and the time that is left on stderr.

    Raises:
        FolderError: the folder cannot be written, or was begun with another model, method, metric,
            preprocessing or data.
        ImageError: the folder or the file of boxes cannot be read.
        InputError: something is missing in that file, no picture can be measured, no method fits,
            or an unknown metric.
        InputTypeError: methods that are functions, which cannot be compared when a benchmark is
            continued.
        PackageError: PyArrow is not installed.
        RegistryError: an unknown method.

    Warns `FewSamplesWarning` below ten pictures.

    >>> import tempfile, torchattr as ta
    >>> from torchattr.models.collage import examples
    >>> folder = examples()[0].path.parent
    >>> file = Path(tempfile.mkdtemp(), "boxes.csv")
    >>> _ = file.write_text("path,label,x0,y0,x1,y1\\nastronaut_cat.jpg,cat,60,40,120,120\\n")
    >>> found = benchmark_data("demo", folder, file, "lrp", "mass", out=file.parent / "out")
    >>> found.values.shape  # pictures, the method and three controls, metrics
    torch.Size([1, 4, 1])
    """
    packages.parquet()
    source = AnnotatedPictures(data, boxes)
    plan = _plan(methods, metrics, options)
    # A user's file may register the backend, so it is checked after that file has run.
    with kernel_backend("auto" if isinstance(model, str) and is_user_file(model) else backend):
        loaded = as_loaded(
            *(model, weights, device), transform=transform, trust=trust, activation=activation
        )
    with kernel_backend(backend):
        begun = DataBenchmark.begin(
            *(loaded, source, plan, _folder(out)),
            weights=None if weights is None else str(weights),
            only_shared=methods is None,
            show_progress=show_progress,
        )
        return begun.run(show_progress)


@dataclass(frozen=True, eq=False)
class DataBenchmark:
    """A benchmark on annotated pictures that was begun, or is continued.

    Attributes:
        loaded: the model.
        source: the pictures.
        plan: the methods that fit the model, and the metrics.
        store: where values are written.
        form: what inputs and scores are like.
    """

    loaded: LoadedModel
    source: AnnotatedPictures
    plan: BenchmarkPlan
    store: ValueStore
    form: InputForm

    @classmethod
    def begin(
        cls,
        loaded: LoadedModel,
        source: AnnotatedPictures,
        plan: BenchmarkPlan,
        out: Path,
        *,
        weights: str | None = None,
        only_shared: bool = False,
        show_progress: bool = False,
    ) -> DataBenchmark:
        """Begin a benchmark, or continue the one in a folder.

        Args:
            loaded: the model.
            source: the pictures.
            plan: the methods and metrics.
            out: the folder.
            weights: where the model's weights came from.
            only_shared: leave out the methods that need forwards of their own.
            show_progress: show how methods are tried.

        Raises:
            FolderError: the folder cannot be written, or was begun with something else.
            InputError: no picture can be measured, or no method fits.
        """
        plan, root = plan.on_own_pictures(), out / VALUES
        asked = _requested(loaded, source, plan, weights)
        store = ValueStore.find(root)
        if store is None:
            form, first = _probed(loaded, source)
            fitting = plan.fitting_to(
                labelled(loaded, [first], form.activation),
                only_shared=only_shared,
                show_progress=show_progress,
            )
            resolved = {"form": asdict(form), "refused": dict(fitting.refused)}
            store = ValueStore.create(root, {**asked, **resolved})
        check_same(out, store.record, asked, BENCHMARKED)
        form = InputForm(
            **{**store.record["form"], "inputs": tuple(store.record["form"]["inputs"])}
        )
        return cls(loaded, source, plan.without(store.record["refused"]), store, form)

    def run(self, show_progress: bool = False) -> Benchmark:
        """Measure what is left, and return what all pictures say.

        Raises:
            FolderError: values cannot be written.
        """
        remove_parts(self.store.root)
        reader = SeenPictureReader(self.loaded, self.source, self.form)
        progress = _Progress(self.store, show_progress)
        for shard in range(len(self.store.shards)):
            if not self.store.tables.is_done(shard):
                self.store.write(shard, self._measured(reader, shard))
                progress.add(shard)
        progress.end()
        return self._found()

    def _measured(self, reader: SeenPictureReader, shard: int) -> list[dict[str, Any]]:
        """Return the rows of a shard."""
        positions = self.store.shards.positions(shard)
        read = {position: reader.read(position) for position in positions}
        examples = {key: one for key, one in read.items() if isinstance(one, SeenPicture)}
        values: dict[int, Mapping[str, Mapping[str, float]]] = {}
        if examples:
            batch = labelled(self.loaded, list(examples.values()), self.form.activation)
            measured = self.plan.values(batch, first=positions.start).tolist()
            values = dict(zip(examples, map(self._named, measured), strict=True))
        return [
            row
            for position, one in read.items()
            for row in rows_of(
                position, self.source.annotations[position], one, values.get(position, {})
            )
        ]

    def _named(self, values: Sequence[Sequence[float]]) -> dict[str, dict[str, float]]:
        """Return the values of a picture by method and metric."""
        metrics = [metric.name for metric in self.plan.metrics]
        named = (dict(zip(metrics, own, strict=True)) for own in values)
        return dict(zip(self.plan.names, named, strict=True))

    def _found(self) -> Benchmark:
        rows = self.store.rows()
        annotations = self.source.annotations
        values = values_of(rows, self.plan.names, [metric.name for metric in self.plan.metrics])
        cut = {row["position"] for row in rows if row["seen"] is not None and row["seen"] < 1}
        part = f"The model sees only part of the boxes of {len(cut)} of {len(values)} pictures."
        return Benchmark(
            *(DATA, self.plan.names, self.plan.metrics, values),
            *(self.plan.refused, self.plan.settings, None),
            left_out={
                annotations[row["position"]].name: row["reason"]
                for row in rows
                if row["reason"] is not None
            },
            remarks=[part] if cut else [],
        )


@dataclass
class _Progress:
    """Says how far a benchmark has come, if asked to."""

    store: ValueStore
    is_shown: bool

    def __post_init__(self) -> None:
        self._say = StderrProgress()
        self._done, self._started = 0, time.perf_counter()
        self._before = self.store.shards.count(self.store.tables.done())

    def add(self, shard: int) -> None:
        self._done += self.store.shards.count([shard])
        self._tell()

    def end(self) -> None:
        self._tell(is_over=True)

    def _tell(self, is_over: bool = False) -> None:
        total, done = self.store.shards.ids, self._done
        seconds = time.perf_counter() - self._started
        if self.is_shown:
            left, in_all = total - self._before, self._before + done
            self._say(RunProgress(done, left, in_all, total, seconds, done, is_over))


def _plan(methods: Any, metrics: Any, options: Any) -> BenchmarkPlan:
    if isinstance(methods, Mapping):
        raise InputTypeError(
            "methods must be names or classes of methods: what functions make cannot be compared"
            " when a benchmark is continued; give a method of your own a name by register_method"
        )
    return BenchmarkPlan.of(methods, metrics, options)


def _folder(out: str | Path) -> Path:
    if not str(out).strip():
        raise InputError("out is empty; name a folder for the results, such as benchmark")
    return expanded(out, InputError).absolute()


def _requested(
    loaded: LoadedModel, source: AnnotatedPictures, plan: BenchmarkPlan, weights: str | None
) -> dict[str, Any]:
    """Return the record of a benchmark without what it has yet to find out."""
    annotations = [repr(one) for one in source.annotations]
    names = [one.name for one in plan.methods]
    return {
        **of_model(loaded, names, weights),
        "methods": {one.name: one.settings for one in plan.methods},
        "metrics": [one.name for one in plan.metrics],
        "ids": {"count": len(annotations), "digest": ids_digest(annotations)},
        "data": dict(source.described()),
    }


def _probed(loaded: LoadedModel, source: AnnotatedPictures) -> tuple[InputForm, SeenPicture]:
    """Return what inputs and scores are like, and the first picture that can be measured.

    Raises:
        InputError: there is none, or the model returns no scores of classes.
    """
    reader, form, reason = SeenPictureReader(loaded, source), None, ""
    for position in range(len(source.annotations)):
        read = reader.read(position)
        if form is None and isinstance(read, SeenPicture):
            form = _form(loaded, read)
            reader = SeenPictureReader(loaded, source, form)
            read = reader.read(position)
        if isinstance(read, LeftOut):
            reason = reason or f"{source.annotations[position].name}: {read.reason}"
        elif form is not None:
            return form, read
    raise InputError(
        f"none of the {len(source.annotations)} annotated pictures can be measured; the first is"
        f" {reason}"
    )


def _form(loaded: LoadedModel, example: SeenPicture) -> InputForm:
    reader = ScoreReader(loaded)
    answer = reader.answer(example.inputs[None].to(device_of(loaded)))
    if answer.raw is None or answer.raw.dim() != 2:
        raise InputError(
            "a benchmark needs a model that returns scores of classes, (N, classes);"
            f" {loaded.name} does not"
        )
    shape = tuple(example.inputs.shape)
    return InputForm(shape, answer.raw.shape[1], reader.activation(answer))
