"""Every spelling of each operation: module, functional, method and aten calls, as one table."""

from torchattr.layers.operations.parsers import (
    activation,
    linear,
    masked_relu,
    merge,
    norm,
    pool,
)
from torchattr.layers.operations.parsers.masks import MAKES_MASKS as MAKES_MASKS
from torchattr.layers.operations.parsers.masks import MaskOrigins as MaskOrigins
from torchattr.layers.operations.parsers.requested import parse_requested as parse_requested
from torchattr.layers.operations.parsers.table import CALL_PATTERNS as CALL_PATTERNS
from torchattr.layers.operations.parsers.table import Parsed as Parsed
from torchattr.layers.operations.parsers.table import ParsedCall as ParsedCall
from torchattr.layers.operations.parsers.table import call_pattern as call_pattern
from torchattr.layers.operations.parsers.table import parse_call as parse_call
from torchattr.layers.operations.parsers.table import writes_in_place as writes_in_place

PARSER_MODULES = (activation, linear, masked_relu, merge, norm, pool)
"""Modules whose import fills the table."""
