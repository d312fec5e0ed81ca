"""Every spelling of each operation: module, functional, method and aten calls, as one table."""

from torchattr.layers.operations.parsers import activation, linear, merge, norm, pool
from torchattr.layers.operations.parsers import masked_relu as arithmetic
from torchattr.layers.operations.parsers.masks import MaskOrigins as MaskOrigins
from torchattr.layers.operations.parsers.table import CALL_PATTERNS as CALL_PATTERNS
from torchattr.layers.operations.parsers.table import Parsed as Parsed
from torchattr.layers.operations.parsers.table import parse_call as parse_call
from torchattr.layers.operations.parsers.table import spelling as spelling
from torchattr.layers.operations.parsers.table import writes_in_place as writes_in_place

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
