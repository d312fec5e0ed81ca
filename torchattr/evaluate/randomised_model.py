"""A copy of a model whose layers are drawn anew, one after another."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from typing import Any
from zlib import crc32

import torch
from torch import Tensor, nn

from torchattr.core.gradient_mode import gradients
from torchattr.core.inputs import map_batched
from torchattr.core.pytree import tensors_of
from torchattr.core.select import find_layers, layer_names, original_name
from torchattr.core.undoing import undone
from torchattr.errors import InputError, InputTypeError, ModelError
from torchattr.preparation import Prepared


@dataclass(frozen=True)
class RandomLayer:
    """A layer with parameters of its own, in the user's model and in the copy.

    Attributes:
        name: the layer's name; that of the model itself is empty.
        original: the user's module, which is only read.
        copy: the copy's module.
        parameters: the names of the parameters that are drawn with it; one that several layers
            share belongs to the first of them.
    """

    name: str
    original: nn.Module
    copy: nn.Module
    parameters: tuple[str, ...]

    def randomise(self, seed: int) -> None:
        """Draw the copy's parameters, and reset what its buffers count, from a seed and the name.

        A module's own `reset_parameters` draws them. What it leaves as it was, and each parameter
        of a module without one, gets its own values in another order.
        """
        with _drawing(_seed_of(seed, self.name)), gradients(False):
            fresh = _reset(self.original)
            for name in self.parameters:
                value = getattr(fresh, name)
                before = getattr(self.original, name)
                same = value is before or torch.equal(value, before.to(value))
                _write(getattr(self.copy, name), _permuted(before) if same else value)
            for name, buffer in _own_buffers(self.copy):
                _write(buffer, getattr(fresh, name))

    def restore(self) -> None:
        """Copy the parameters and buffers of the user's model."""
        with gradients(False):
            for name in self.parameters:
                _write(getattr(self.copy, name), getattr(self.original, name))
            for name, buffer in _own_buffers(self.copy):
                _write(buffer, getattr(self.original, name))


class RandomisedModel:
    """A copy of a model to randomise; the model itself is never touched.

    Args:
        model: the model.
        inputs: a batch that it runs on, to see which layers run, in which order.
        arguments: its further arguments.
        seed: the seed of all draws; a layer's depends on that and its name alone.
        beside: what refers to the model or its layers and is copied with it.

    Attributes:
        model: the copy.
        beside: the copy of what was copied with it.
        layers: the layers with parameters that the output depends on, from the input to the output.

    Raises:
        InputTypeError: the model is a function, whose parameters are unknown, or a prepared one,
            whose folded weights would not follow.
        ModelError: it cannot be copied.
        InputError: it has no parameters to randomise.
    """

    def __init__(
        self,
        model: Any,
        inputs: Tensor,
        arguments: Sequence[Any] = (),
        *,
        seed: int = 0,
        beside: Any = (),
    ) -> None:
        _check_model(model)
        # In inference mode, the copy's parameters could never have a gradient.
        with gradients():
            self.model, self.beside = _copied((model, beside))
        self._seed = seed
        # One example shows the order, and its backward needs little memory.
        first = map_batched((inputs, *arguments), len(inputs), lambda rows: rows[:1])
        order = _order_of_use(self.model, *first)
        self.layers = tuple(_layers(model, self.model, order))
        if not self.layers:
            raise InputError(
                "the model has no parameters that its output depends on, so there is nothing to"
                " randomise"
            )

    def randomise(self, layers: Sequence[RandomLayer]) -> None:
        """Draw some layers of the copy anew."""
        for layer in layers:
            layer.randomise(self._seed)

    def restore(self, layers: Sequence[RandomLayer]) -> None:
        """Restore the parameters of some layers of the copy."""
        for layer in layers:
            layer.restore()

    def within(self, selection: Any) -> list[RandomLayer]:
        """Return the layers that are, or lie within, those selected, from input to output.

        Raises:
            LayerError: nothing matches.
        """
        chosen = find_layers(self.model, selection)
        return [
            layer for layer in self.layers if any(_is_within(layer.name, name) for name in chosen)
        ]


def _check_model(model: Any) -> None:
    if isinstance(model, Prepared):
        raise InputTypeError(
            "model is prepared, and its folded weights would not follow the randomised ones; pass"
            " the model that it was prepared from"
        )
    if not isinstance(model, nn.Module):
        raise InputTypeError(
            "model must be an nn.Module, whose parameters can be randomised, got"
            f" {type(model).__name__}"
        )


def _copied(whole: tuple[nn.Module, Any]) -> tuple[nn.Module, Any]:
    try:
        copied: tuple[nn.Module, Any] = deepcopy(whole)
        return copied
    except (TypeError, RuntimeError, AttributeError, NotImplementedError) as error:
        raise ModelError(
            f"the model cannot be copied, and a copy is what is randomised: {error}; define"
            " __deepcopy__ on the module at fault"
        ) from error


def _layers(
    model: nn.Module, copy: nn.Module, order: Mapping[str, tuple[int, int]]
) -> Iterator[RandomLayer]:
    originals = {"": model, **layer_names(model)}
    copies = {"": copy, **layer_names(copy)}
    taken: set[int] = set()
    for name in sorted(order, key=lambda one: order[one]):
        own = copies[name]._parameters.items()
        fresh = {key: one for key, one in own if one is not None and id(one) not in taken}
        taken |= {id(one) for one in fresh.values()}
        if fresh:
            yield RandomLayer(name, originals[name], copies[name], tuple(fresh))


def _order_of_use(copy: nn.Module, inputs: Tensor, *arguments: Any) -> dict[str, tuple[int, int]]:
    """Return a position for each layer whose parameters the output depends on.

    A module that holds others stands before the first of them. One that is not called, since the
    one around it uses its parameters, stands behind the one that is defined before it.
    """
    called, used = _one_forward(copy, inputs, arguments)
    order, at = {}, 0
    for number, (name, module) in enumerate({"": copy, **layer_names(copy)}.items()):
        at = min((at for one, at in called.items() if _is_within(one, name)), default=at)
        own = [one for one in module._parameters.values() if one is not None]
        if any(id(one) in used for one in own) or (own and name in called):
            order[name] = (at, number)
    return order


def _is_within(name: str, outer: str) -> bool:
    return not outer or name == outer or name.startswith(f"{outer}.")


def _one_forward(
    copy: nn.Module, inputs: Tensor, arguments: Sequence[Any]
) -> tuple[dict[str, int], set[int]]:
    """Return the order in which modules finished, and the parameters that the output depends on."""
    called: dict[str, int] = {}
    parameters = [one for one in copy.parameters() if one.is_floating_point()]
    with undone() as undo, gradients():
        for name, module in copy.named_modules():
            note = partial(_note, called, original_name(name))
            undo.later(module.register_forward_hook(note).remove)
        for one in parameters:
            undo.later(partial(one.requires_grad_, one.requires_grad))
            one.requires_grad_()
        found = tensors_of(copy(inputs, *arguments))
        scores = [one.sum() for one in found if one.requires_grad and one.is_floating_point()]
        total = sum(scores, start=torch.zeros((), device=inputs.device))
        if not total.requires_grad or not parameters:
            return called, set()
        gained = torch.autograd.grad(total, parameters, allow_unused=True)
    return called, {id(one) for one, g in zip(parameters, gained, strict=True) if g is not None}


def _note(called: dict[str, int], name: str, *_: Any) -> None:
    called.setdefault(name, len(called))


def _reset(module: nn.Module) -> nn.Module:
    """Return a copy on the CPU after its `reset_parameters`, or the module itself without one."""
    for name in ("reset_parameters", "_reset_parameters"):
        if callable(getattr(module, name, None)):
            fresh = deepcopy(module).cpu()
            getattr(fresh, name)()
            return fresh
    return module


def _permuted(parameter: Tensor) -> Tensor:
    flat = parameter.flatten()
    return flat[torch.randperm(len(flat)).to(flat.device)].view_as(parameter)


def _own_buffers(module: nn.Module) -> list[tuple[str, Tensor]]:
    return [(name, one) for name, one in module._buffers.items() if one is not None]


def _write(into: Tensor, values: Tensor) -> None:
    if into is not values:
        into.copy_(values)


@contextmanager
def _drawing(seed: int) -> Iterator[None]:
    """Draw from a seed on the CPU, and keep the caller's random state."""
    with undone() as undo:
        undo.later(partial(torch.set_rng_state, torch.get_rng_state()))
        torch.default_generator.manual_seed(seed)
        yield


def _seed_of(seed: int, name: str) -> int:
    # PyTorch's generator on the CPU takes no more than 32 bits.
    return crc32(f"{seed} {name}".encode())
