"""Every spelling of each operation: module, functional, method and aten calls, as one table."""

from torchattr.layers.spellings import activation, arithmetic, linear, merge, norm, pool
from torchattr.layers.spellings.masks import Masks as Masks
from torchattr.layers.spellings.table import SPELLINGS as SPELLINGS
from torchattr.layers.spellings.table import Parsed as Parsed
from torchattr.layers.spellings.table import spelling as spelling
from torchattr.layers.spellings.table import understand as understand
from torchattr.layers.spellings.table import writes_in_place as writes_in_place

__all__ = [
    "SPELLINGS",
    "Masks",
    "Parsed",
    "activation",
    "arithmetic",
    "linear",
    "merge",
    "norm",
    "pool",
    "spelling",
    "understand",
    "writes_in_place",
]
