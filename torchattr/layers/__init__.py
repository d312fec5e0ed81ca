"""The engine: one forward under interception, one autograd function, rules for its operations."""

from torchattr.core.pytree import filled as filled
from torchattr.layers.capture import Captured as Captured
from torchattr.layers.capture import TapPoint as TapPoint
from torchattr.layers.connection import why_disconnected as why_disconnected
from torchattr.layers.coverage import Coverage as Coverage
from torchattr.layers.layouts.tracker import Layout as Layout
from torchattr.layers.layouts.tracker import LayoutTracker as LayoutTracker
from torchattr.layers.operations.operation import OPERATIONS as OPERATIONS
from torchattr.layers.operations.operation import Call as Call
from torchattr.layers.operations.operation import Operation as Operation
from torchattr.layers.registry import RuleTable as RuleTable
from torchattr.layers.registry import register_rule as register_rule
from torchattr.layers.registry import registered_rules as registered_rules
from torchattr.layers.registry import rule_table as rule_table
from torchattr.layers.rule import LayerRule as LayerRule
from torchattr.layers.rules import activation, conv, linear, norm, pool, relu
from torchattr.layers.trace import Trace as Trace

RULE_MODULES = (activation, conv, linear, norm, pool, relu)
"""The modules whose import registers the rules that come with the package."""
