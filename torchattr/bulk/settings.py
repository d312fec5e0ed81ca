"""What a run over a data set computes of each picture, and how it is stored."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from torchattr.bulk.encoding import checked_dtype
from torchattr.bulk.map_form import MapForm
from torchattr.core.output_target import OutputTarget
from torchattr.errors import InputError
from torchattr.methods import checked_count, checked_seed
from torchattr.runs import ExplainSettings, draws_numbers, options_by_method

Options: TypeAlias = Mapping[str, Mapping[str, Any]]
"""Options of the `attribute` of each method."""

Wanted: TypeAlias = "str | int | OutputTarget"
"""One requested target."""

SHARD_SIZE = 256


@dataclass(frozen=True)
class BulkSettings:
    """What a run computes and stores.

    explain: the methods, layers and rules; its targets are not used.
    options: options of the methods.
    targets: what is explained of each picture, see :class:`TargetColumns`.
    form: channels and resolution of the maps.
    dtype: the numbers that maps are stored as.
    shard_size: number of ids in each shard.
    batch_size: pictures at once; `None` for as many as fit.
    seed: what the seeds of random methods are derived from, with each picture's id.

    Raises:
        InputError: a number out of range, or a method with a seed of its own.
    """

    explain: ExplainSettings
    options: Options = field(default_factory=dict)
    targets: tuple[Wanted, ...] = ("top1",)
    form: MapForm = field(default_factory=MapForm)
    dtype: str = "float16"
    shard_size: int = SHARD_SIZE
    batch_size: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        checked_dtype(self.dtype)
        checked_count(self.shard_size, "shard_size")
        checked_seed(self.seed)
        if self.batch_size is not None:
            checked_count(self.batch_size, "batch_size")
        if not self.explain.methods:
            raise InputError("methods is empty; name at least one, such as guided_backprop")
        for name, options in self.all_options.items():
            if "seed" in options:
                raise InputError(
                    f"{name} has a seed of its own; in a run each picture has another, derived from"
                    " its id and from seed: pass seed to the run instead"
                )

    @property
    def all_options(self) -> Options:
        """The options of each method, those of its constructor too, without the defaults."""
        named = options_by_method(self.explain.options, self.explain.names)
        return {name: {**made, **self.options.get(name, {})} for name, made in named.items()}

    @property
    def shared(self) -> list[str]:
        """The methods that run on whole batches."""
        return [name for name in self.explain.names if not draws_numbers(name)]

    @property
    def drawing(self) -> list[str]:
        """The methods that draw random numbers, which run picture by picture with its own seed."""
        return [name for name in self.explain.names if draws_numbers(name)]
