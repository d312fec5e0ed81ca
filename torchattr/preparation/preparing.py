"""Prepare a model for repeated attribution, and check the copy against the original."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram
from torch.nn.parameter import is_lazy

from torchattr.core.arguments import checked_flags, plain_numbers
from torchattr.core.inputs import as_arguments, as_inputs
from torchattr.core.outputs import any_output
from torchattr.core.pytree import tree_leaves
from torchattr.core.types import OutputKey, Tensors
from torchattr.core.undoing import undone
from torchattr.errors import (
    InputError,
    InputTypeError,
    ModelError,
    ScriptedModelError,
    ShapeError,
    TorchattrError,
)
from torchattr.layers import Trace, refuse_scripted
from torchattr.preparation.choosing import (
    Choice,
    Configuration,
    Decision,
    Options,
    check_choice,
    decide,
    options,
)
from torchattr.preparation.copying import shared_copy, state, storages
from torchattr.preparation.cudnn import benchmark_cudnn
from torchattr.preparation.forward import PreparedForward
from torchattr.preparation.gates import FlippedGates, flipped_gates
from torchattr.preparation.graphs import Graphs
from torchattr.preparation.pairs import Pairs, find_pairs, is_norm
from torchattr.preparation.precision import (
    Deviation,
    Precision,
    check_precision,
    deviation,
    maps_of,
    rounding,
)
from torchattr.preparation.prepared import Prepared
from torchattr.preparation.replay import CudaRecorder, GraphRecorder, replays
from torchattr.preparation.report import Preparation


@checked_flags
def prepare(
    model: nn.Module,
    example_inputs: Tensors | None = None,
    additional_forward_args: Any = None,
    *,
    fold: bool = True,
    channels_last: Choice = "measure",
    cudnn_benchmark: Choice = "measure",
    graphs: bool | int = True,
    precision: Precision = "float32",
    output: OutputKey = None,
) -> Prepared:
    """Return a copy of a model that attributes faster, with the same results.

    Batch-norms are folded into the convolutions before them: `W' = W · γ/√(σ² + ε)`,
    `b' = (b − μ) · γ/√(σ² + ε) + β` (Jacob et al. 2018, arXiv:1712.05877). The model runs in
    channels-last memory if that is faster here. On a GPU each forward and backward is recorded
    as a CUDA graph per input shape. The copy is checked against the model on the example
    inputs; `report` says what was done and how far results moved. Parameters and buffers
    share the model's memory; the model itself is not changed.

    It is *not* a model to train, and not bitwise equal to the original: gradients differ by
    rounding, and a guided gate whose signal is near zero may flip (`report.gates` counts them).

    Args:
        model: an `nn.Module` in eval mode.
        example_inputs: a typical batch on the model's device, on which pairs are found, memory
            orders are timed and results are compared.
        additional_forward_args: further positional arguments, as for :class:`Attribution`.
        fold: whether to fold batch-norms.
        channels_last: whether to use channels-last memory; `"measure"` decides by timing.
        cudnn_benchmark: whether cuDNN times its algorithms for each new shape, on a GPU; set only
            while this model runs. `"measure"` decides by timing.
        graphs: whether to record CUDA graphs, or for how many input shapes at most.
        precision: `"bfloat16"` or `"float16"` run the forward under autocast. The report shows
            the cost in accuracy.
        output: as for :class:`Attribution`.

    Raises:
        TrainingModeError: dropout or batch-norm was about to run in training mode.
        ScriptedModelError: the model, or a module of it, is scripted.
        ModelError: it cannot be copied, does not run on the example inputs, or the copy's output
            differs.
        InputTypeError: the model is not a module, or there are no example inputs.
        InputError: example inputs on another device, or an unknown option.

    >>> import torch, torchattr as ta
    >>> from torch import nn
    >>> model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten())
    >>> fast = ta.prepare(model.eval(), torch.randn(2, 3, 8, 8))
    >>> ta.GuidedBackprop(fast).attribute(torch.randn(5, 3, 8, 8), target=1).shape
    torch.Size([5, 3, 8, 8])
    """
    source = _checked(model)
    inputs = _examples(example_inputs, source)
    arguments = as_arguments(additional_forward_args)
    check_choice("channels_last", channels_last)
    check_choice("cudnn_benchmark", cudnn_benchmark)
    check_precision(precision)
    has_convolutions = any(weight.dim() == 4 for weight in source.parameters())
    settings = options(channels_last, cudnn_benchmark, inputs, has_convolutions)
    builder = _Builder(source, inputs, arguments, output)
    return builder.build(fold, settings, _limit(graphs, inputs[0].device), precision)


class _Builder:
    """Builds the prepared copy of one model and compares the two on the example inputs."""

    def __init__(
        self,
        model: nn.Module,
        inputs: Sequence[Tensor],
        arguments: Sequence[Any],
        key: OutputKey,
    ) -> None:
        self._model = model
        self._inputs = inputs
        self._arguments = arguments
        self._key = key

    def build(self, fold: bool, settings: Options, limit: int, precision: Precision) -> Prepared:
        copy = shared_copy(self._model)
        with undone() as undo:
            benchmark_cudnn(undo, True in settings["cudnn_benchmark"].values)
            self._try(copy)
            pairs = find_pairs(copy, self._run) if fold else Pairs((), _not_requested(copy))
            difference = self._verified(PreparedForward(copy, pairs.foldable))
        variant = partial(PreparedForward, copy, pairs.foldable, precision=precision)
        recorder = CudaRecorder(self._inputs[0].device) if limit else None
        decision = self._decided(settings, variant, recorder)
        forward = variant(configuration=decision.configuration)
        graphs = None if recorder is None else Graphs(recorder, limit)
        maps, gates = self._compared(forward)
        shared, new = _memory(self._model, forward)
        report = Preparation(
            pairs.foldable, pairs.left, difference, maps, gates, decision, precision, shared, new
        )
        return Prepared(forward, report, graphs)

    def _try(self, model: nn.Module) -> None:
        try:
            self._run(model)
        except ShapeError as error:
            raise ModelError(f"the model does not run on example_inputs: {error}") from error
        except TorchattrError:
            raise
        except _REJECTIONS as error:
            forms = ", ".join(f"{tuple(one.shape)} {one.dtype}" for one in self._inputs)
            raise ModelError(
                f"the model does not run on example_inputs ({forms}): {_cause(error)}"
                f"{_SEVERAL if len(self._inputs) > 1 else ''}"
            ) from error

    def _run(self, model: Callable[..., Any]) -> Any:
        """Run a model on the example inputs under the engine's guards and return its output."""
        returned: list[Any] = []

        def run(*args: Any) -> Any:
            returned.append(model(*args))
            return returned[0]

        Trace(run, self._inputs, self._arguments, key=any_output, differentiable=False)
        return returned[0]

    def _verified(self, prepared: PreparedForward) -> float:
        """Return the difference of the outputs, and refuse one larger than rounding."""
        ours, own = _values(self._run(prepared)), _values(self._run(self._model))
        if [one.shape for one in ours] != [one.shape for one in own]:
            raise ModelError(
                "the prepared copy's outputs have other shapes on example_inputs, as a detector's"
                " may when rounding moves a score across its threshold; prepare it with fold=False"
            )
        differences = [deviation(*pair).largest for pair in zip(ours, own, strict=True)]
        dtypes = {tensor.dtype for tensor in (*own, *state(self._model))}
        allowed = rounding(dtypes, self._inputs[0].device) ** 0.5
        difference = max(differences, default=0.0)
        if difference <= allowed:
            return difference
        raise ModelError(
            f"the prepared copy's output differs on example_inputs by {difference:.2g} of the"
            f" largest value, where rounding explains {allowed:.2g}. If the model is"
            " deterministic, prepare it with fold=False"
        )

    def _decided(
        self,
        settings: Options,
        variant: Callable[..., PreparedForward],
        recorder: GraphRecorder | None,
    ) -> Decision:
        """Decide how to run, timed as it will run: by replays where graphs are recorded."""

        def run(configuration: Configuration, forward: PreparedForward) -> None:
            with undone() as undo:
                benchmark_cudnn(undo, configuration.cudnn_benchmark)
                maps_of(forward, self._inputs, self._arguments, self._key, None)

        def runs(tried: Sequence[Configuration]) -> dict[Configuration, Callable[[], Any]]:
            # What cuDNN is to search for comes first, before its heuristics choose.
            first = sorted(tried, key=lambda one: not one.cudnn_benchmark)
            made = {one: partial(run, one, variant(configuration=one)) for one in first}
            return dict(made) if recorder is None else replays(made, recorder)

        return decide(settings, runs, self._inputs)

    def _compared(
        self, prepared: PreparedForward
    ) -> tuple[dict[str, Deviation], FlippedGates | None]:
        given = (self._inputs, self._arguments, self._key)
        own, target = maps_of(self._model, *given, None)
        ours, _ = maps_of(prepared, *given, target)
        maps = {
            name: deviation(_joined(ours[name]), _joined(own[name])) for name in own if own[name]
        }
        gates = flipped_gates(self._model, prepared, *given[:2], key=self._key, target=target)
        return maps, gates if gates.forward.gates else None


_REJECTIONS = (
    *(RuntimeError, ValueError, TypeError, AttributeError),
    *(LookupError, ArithmeticError, AssertionError),
)
"""Exceptions that a model may raise on unsuitable inputs."""

_SEVERAL = (
    ". Several tensors are passed as several arguments; for a model that takes one list of images,"
    " such as a detector, pass one tensor (N, C, H, W), or prepare a module that builds the list"
)


def _cause(error: Exception) -> str:
    text = (str(error) or type(error).__name__).splitlines()[0]
    expected = (RuntimeError, ValueError, IndexError)
    return text if isinstance(error, expected) else f"{type(error).__name__}: {text}"


def _values(output: Any) -> list[Tensor]:
    """Return the dense floating-point tensors of a nested output."""
    tensors = [leaf for leaf in tree_leaves(output) if isinstance(leaf, Tensor)]
    dense = [one for one in tensors if one.layout == torch.strided and not one.is_nested]
    return [one for one in dense if one.is_floating_point() and one.numel()]


def _joined(maps: Sequence[Tensor]) -> Tensor:
    return torch.cat([one.detach().flatten() for one in maps])


def _not_requested(model: nn.Module) -> dict[str, str]:
    return {name: "fold=False" for name, part in model.named_modules() if is_norm(part)}


def _memory(model: nn.Module, prepared: PreparedForward) -> tuple[int, int]:
    """Return the bytes that a prepared copy shares with the original, and those it adds."""
    own = storages(state(model))
    folded = [tensor for fold in prepared.folds for tensor in fold.weights()]
    held = storages([*state(prepared.model), *folded])
    shared = sum(size for address, size in held.items() if address in own)
    return shared, sum(held.values()) - shared


def _limit(graphs: bool | int, device: torch.device) -> int:
    """Return for how many input shapes graphs are recorded; 0 for none."""
    graphs = plain_numbers(graphs)
    if not isinstance(graphs, int) or graphs < 0:
        raise InputError(
            f"graphs must be True, False or a number of input shapes to keep, got {graphs!r}"
        )
    if device.type != "cuda":
        return 0
    return 8 if graphs is True else int(graphs)


def _checked(model: Any) -> nn.Module:
    if isinstance(model, ExportedProgram):
        raise InputTypeError(
            "model is an ExportedProgram, which is not callable; pass program.module(). Its layers"
            " are plain functions, so no batch-norm is folded; channels-last, CUDA graphs and"
            " precision work"
        )
    if isinstance(model, torch.jit.ScriptFunction):
        raise ScriptedModelError("the model is scripted; pass the Python module it was made from")
    if not isinstance(model, nn.Module):
        raise InputTypeError(
            f"model must be an nn.Module, got {type(model).__name__}; prepare the module that"
            " the function calls"
        )
    if isinstance(model, Prepared):
        raise ModelError("the model is already prepared; prepare the original with other options")
    refuse_scripted(model)
    lazy = [name for name, one in model.named_parameters() if is_lazy(one)]
    if lazy:
        raise ModelError(
            f"the model has uninitialised parameters ({', '.join(lazy[:4])}); run it once to"
            " initialise them, then prepare it"
        )
    # The modules of the original have names without the prefix of torch.compile.
    return getattr(model, "_orig_mod", model)


def _examples(example_inputs: Any, model: nn.Module) -> tuple[Tensor, ...]:
    if example_inputs is None:
        raise InputTypeError(
            "example_inputs is missing: pass a typical batch, such as"
            " torch.randn(8, 3, 224, 224); the model is inspected, timed and checked on it"
        )
    tensors = as_inputs(example_inputs, differentiable=True).tensors
    held = state(model)
    devices = sorted({str(tensor.device) for tensor in held})
    for tensor in tensors:
        if held and str(tensor.device) not in devices:
            raise InputError(
                f"example_inputs are on {tensor.device}, but the model is on"
                f" {', '.join(devices)}; move one of them with .to(...)"
            )
    return tensors
