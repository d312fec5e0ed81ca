"""Names of the functions that a model calls."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from torchattr.core.torch_private import OpOverload


@lru_cache(maxsize=4096)
def base_name(function: Any) -> str:
    """Return the name that all spellings of a function share.

    >>> import torch
    >>> from torch import Tensor
    >>> base_name(Tensor.__getitem__), base_name(torch.relu_), base_name(Tensor.T.__get__)
    ('getitem', 'relu', 'T')
    """
    if isinstance(function, OpOverload):
        name = function._schema.name.split("::")[-1]
    else:
        name = str(getattr(function, "__name__", type(function).__name__))
    if name == "__get__":
        name = str(getattr(getattr(function, "__self__", None), "__name__", name))
    return name.strip("_") or name
