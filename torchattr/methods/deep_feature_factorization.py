"""Deep feature factorization: concepts that explain a layer's activations together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from torchattr.core.inputs import Inputs, as_arguments, as_inputs, map_batched
from torchattr.core.outputs import any_output
from torchattr.core.types import Forward, Layer, OutputKey, Tensors
from torchattr.errors import InputError, LayerError
from torchattr.layers import Layout, TapPoint, Trace
from torchattr.methods._cam.ablated import places_of
from torchattr.methods._cam.replaced import with_values
from torchattr.methods._gradient.grids import (
    NOT_INFERRED,
    Grids,
    LayoutChoice,
    checked_layout,
)
from torchattr.methods._gradient.layer_choice import LayerChoice
from torchattr.methods._gradient.target_reader import last_call
from torchattr.methods._perturbation.batch_repeat import repeat_rows
from torchattr.methods._perturbation.checked import checked_count, checked_seed
from torchattr.methods._perturbation.random_numbers import key_of, uniform


@dataclass(frozen=True)
class Concepts:
    """The concepts of a layer's activations: `A ≈ Σ_k maps_k · vectors_k + offset`.

    Attributes:
        maps: where each concept is, `(N, k, h, w)`, not negative.
        vectors: the channels of each concept, `(k, C)`, not negative.
        offset: what was subtracted from each channel, `(C,)`: its lowest value where that is
            negative, else 0.
        scores: the model's scores of an image whose layer holds that concept alone at all
            positions, `(k, classes)`.
        error: the share of the activations' norm that the concepts leave unexplained.

    >>> Concepts(*[torch.zeros(1)] * 3, torch.tensor([[0.1, 3.0]]), 0.0).labels(["cat", "dog"], 1)
    ['dog']
    """

    maps: Tensor
    vectors: Tensor
    offset: Tensor
    scores: Tensor
    error: float

    def labels(self, names: Sequence[str], top: int = 2) -> list[str]:
        """Return for each concept the names of the classes that score highest.

        >>> concepts = Concepts(*[torch.zeros(1)] * 3, torch.tensor([[0.1, 3.0, 2.0]]), 0.0)
        >>> concepts.labels(["cat", "dog", "cow"])
        ['dog, cow']
        """
        best = self.scores.topk(min(top, self.scores.shape[1]), dim=1).indices
        return [", ".join(names[int(number)] for number in row) for row in best.tolist()]


def deep_feature_factorization(
    model: Forward,
    inputs: Tensors,
    layer: Layer | None = None,
    n_concepts: int = 5,
    additional_forward_args: Any = None,
    *,
    n_steps: int = 200,
    seed: int = 0,
    layout: LayoutChoice = None,
    output: OutputKey = None,
) -> Concepts:
    """Return the concepts of a layer's activations over all images of a batch.

    Non-negative matrix factorization of the activations `(N · positions, C)`, by the multiplicative
    updates of Lee and Seung 2001. Collins, Achanta and Süsstrunk 2018, arXiv:1806.10206. Negative
    activations are shifted to 0 first. What a concept means to the model is asked of the model
    itself: the rest of it runs on a layer that holds that concept everywhere.

    A factorization is *not* unique: another seed or number of concepts has others, and a concept
    need not matter to the score.

    Args:
        model: see :class:`Attribution`.
        inputs: images; the same concepts are found in all of them.
        layer: a layer with spatial dimensions; `None` takes the last one, with a warning.
        n_concepts: number of concepts, at most that of channels and of positions.
        additional_forward_args: see :class:`Attribution`.
        n_steps: number of updates.
        seed: seed of the first guess, 0 or more.
        layout: as for :class:`ClassActivationMap`.
        output: see :class:`Attribution`.

    Raises:
        InputError: too many concepts, or a number out of range.
        LayerError: as for :class:`ClassActivationMap`, or a layer that returns several tensors.

    >>> import torch, torchattr as ta
    >>> model = torch.nn.Sequential(
    ...     torch.nn.Conv2d(3, 6, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(216, 4)
    ... )
    >>> concepts = ta.deep_feature_factorization(model, torch.rand(2, 3, 8, 8), "1", n_concepts=3)
    >>> concepts.maps.shape, concepts.vectors.shape, concepts.scores.shape
    (torch.Size([2, 3, 6, 6]), torch.Size([3, 6]), torch.Size([3, 4]))
    """
    given, arguments = (
        as_inputs(inputs, differentiable=False),
        as_arguments(additional_forward_args),
    )
    count, steps = checked_count(n_concepts, "n_concepts"), checked_count(n_steps, "n_steps")
    start = checked_seed(seed)
    choice = LayerChoice(model, layer, "last")
    ((name, module),) = choice.resolve(given, arguments, output).items()
    read = _Read(model, given, arguments, name, module, checked_layout(layout))
    rows = read.grid.movedim(1, -1).flatten(0, -2).double()
    if count > min(rows.shape):
        raise InputError(
            f"n_concepts is {count}, but layer {name!r} has {rows.shape[1]} channels at"
            f" {rows.shape[0]} positions; pass at most {min(rows.shape)}"
        )
    offset = rows.amin(0).clamp(max=0)
    shares, vectors = _factorized(rows - offset, count, steps, start)
    shape = (read.grid.shape[0], *read.grid.shape[2:], count)
    kind = read.grid.dtype
    left = torch.linalg.vector_norm(rows - offset - shares @ vectors)
    whole = torch.linalg.vector_norm(rows - offset)
    return Concepts(
        shares.view(shape).movedim(-1, 1).to(kind),
        vectors.to(kind),
        offset.to(kind),
        read.scores_of((vectors + offset).to(kind), output),
        float(left / whole) if bool(whole) else 0.0,
    )


class _Read:
    """A layer's values as a grid, and the model behind it."""

    def __init__(
        self,
        model: Forward,
        inputs: Inputs,
        arguments: Sequence[Any],
        name: str,
        module: nn.Module,
        layout: LayoutChoice,
    ) -> None:
        self._model, self._inputs, self._arguments = model, inputs, arguments
        self._name, self._module = name, module
        self._choice: LayoutChoice = layout
        tap = TapPoint(module, with_layout=layout is None)
        free: dict[str, Any] = {"key": any_output, "differentiable": False}
        trace = Trace(model, inputs.tensors, arguments, taps=[tap], **free)
        call = last_call(trace, tap)
        if len(call.values) != 1:
            raise LayerError(
                f"layer {name!r} returns {len(call.values)} tensors; choose a layer inside it"
            )
        self._call = len(trace.calls(tap)) - 1
        (self._value,), (self._layout,) = call.values, call.layouts or (NOT_INFERRED,)
        self.grid, _ = Grids(name, inputs, layout).of(self._value, self._value, self._layout)

    def scores_of(self, vectors: Tensor, key: OutputKey) -> Tensor:
        """Return the scores of the first image with each vector at all positions of the layer."""
        batch = self._layout.batch if isinstance(self._layout, Layout) else 0
        value = self._value.narrow(batch, 0, 1)
        first = Inputs(tuple(one[:1] for one in self._inputs.tensors), self._inputs.is_tuple)
        places = places_of(value, Grids(self._name, first, self._choice), self._layout)
        filled = value.expand(len(vectors), *value.shape).flatten(1).clone()
        filled[:, places] = vectors.unsqueeze(-1).expand(-1, -1, places.shape[1])
        apart = filled.view(len(vectors), *value.shape)
        replaced = apart.movedim(0, batch).flatten(batch, batch + 1)
        tensors = [repeat_rows(tensor, len(vectors)) for tensor in first.tensors]

        def repeated(rows: Tensor) -> Tensor:
            return repeat_rows(rows[:1], len(vectors))

        further = map_batched(self._arguments, self._inputs.batch_size, repeated)
        model = with_values(self._model, self._module, replaced, self._call)
        return Trace(model, tensors, further, key=key, differentiable=False).output


def _factorized(rows: Tensor, count: int, steps: int, seed: int) -> tuple[Tensor, Tensor]:
    """Return non-negative `(rows, count)` and `(count, C)` whose product is near the rows."""
    scale = (rows.mean() / count).sqrt()
    drawn = torch.from_numpy(uniform(key_of(seed, 0), 0, len(rows) + rows.shape[1], count))
    shares, columns = (drawn.to(rows) * scale).split([len(rows), rows.shape[1]])
    vectors = columns.T
    tiny = torch.finfo(rows.dtype).tiny
    for _ in range(steps):
        vectors = vectors * (shares.T @ rows) / (shares.T @ shares @ vectors).clamp(min=tiny)
        shares = shares * (rows @ vectors.T) / (shares @ (vectors @ vectors.T)).clamp(min=tiny)
    return shares, vectors
