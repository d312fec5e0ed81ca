"""The engine: one forward under a mode, one autograd function, and rules for its operations."""

from torchattr.core.pytree import filled as filled
from torchattr.layers.attention import UNREAD as UNREAD
from torchattr.layers.attention import Attention as Attention
from torchattr.layers.attention import UnreadAttention as UnreadAttention
from torchattr.layers.attention_recorder import AttentionTap as AttentionTap
from torchattr.layers.autograd import enter as enter
from torchattr.layers.autograd import is_entrance as is_entrance
from torchattr.layers.capture import Captured as Captured
from torchattr.layers.capture import TapPoint as TapPoint
from torchattr.layers.capture import on_input as on_input
from torchattr.layers.capture import on_output as on_output
from torchattr.layers.composite import WEIGHTED as WEIGHTED
from torchattr.layers.composite import CheckedTable as CheckedTable
from torchattr.layers.composite import Composite as Composite
from torchattr.layers.composite import Position as Position
from torchattr.layers.connection import why_disconnected as why_disconnected
from torchattr.layers.coverage import GATES as GATES
from torchattr.layers.coverage import Coverage as Coverage
from torchattr.layers.fusion import FusedPair as FusedPair
from torchattr.layers.fusion import NodeState as NodeState
from torchattr.layers.fusion import register_fused_pair as register_fused_pair
from torchattr.layers.graph import nodes_between as nodes_between
from torchattr.layers.graph import nodes_of as nodes_of
from torchattr.layers.graph_trace import GraphTrace as GraphTrace
from torchattr.layers.graph_trace import Tap as Tap
from torchattr.layers.guards import RandomState as RandomState
from torchattr.layers.guards import autocast as autocast
from torchattr.layers.guards import enter_dispatch_mode as enter_dispatch_mode
from torchattr.layers.guards import enter_mode as enter_mode
from torchattr.layers.guards import hook_forward as hook_forward
from torchattr.layers.guards import modules_behind as modules_behind
from torchattr.layers.guards import pack_saved as pack_saved
from torchattr.layers.guards import refuse_scripted as refuse_scripted
from torchattr.layers.hooks import ThreadHook as ThreadHook
from torchattr.layers.hooks import any_acts as any_acts
from torchattr.layers.layouts.layout import Layout as Layout
from torchattr.layers.layouts.layout import channels_first as channels_first
from torchattr.layers.layouts.layout import channels_last as channels_last
from torchattr.layers.layouts.layout import reading as reading
from torchattr.layers.layouts.tracker import LayoutTracker as LayoutTracker
from torchattr.layers.ledger import LedgerBook as LedgerBook
from torchattr.layers.ledger import LedgerEntry as LedgerEntry
from torchattr.layers.ledger import Reason as Reason
from torchattr.layers.ledger import refuse_unknown as refuse_unknown
from torchattr.layers.mode import OPENED as OPENED
from torchattr.layers.native import NativeTrace as NativeTrace
from torchattr.layers.native import NotNative as NotNative
from torchattr.layers.operations.operation import OPERATIONS as OPERATIONS
from torchattr.layers.operations.operation import Call as Call
from torchattr.layers.operations.operation import Operation as Operation
from torchattr.layers.operations.operation import register_operation as register_operation
from torchattr.layers.operations.parsers import MaskOrigins as MaskOrigins
from torchattr.layers.operations.parsers import Parsed as Parsed
from torchattr.layers.operations.parsers import call_pattern as call_pattern
from torchattr.layers.operations.parsers import parse_call as parse_call
from torchattr.layers.operations.parsers import writes_in_place as writes_in_place
from torchattr.layers.plain import PlainTrace as PlainTrace
from torchattr.layers.reference import Reference as Reference
from torchattr.layers.reference import Tolerance as Tolerance
from torchattr.layers.registry import RuleTable as RuleTable
from torchattr.layers.registry import register_rule as register_rule
from torchattr.layers.registry import registered_rules as registered_rules
from torchattr.layers.registry import rule_table as rule_table
from torchattr.layers.rescaling import ComparedInputs as ComparedInputs
from torchattr.layers.rescaling import ReferenceRun as ReferenceRun
from torchattr.layers.rule import LayerRule as LayerRule
from torchattr.layers.rules import (
    activation,
    batch_norm_relu,
    conv,
    linear,
    norm,
    pool,
    relu,
    relu_max_pool,
)
from torchattr.layers.rules.conv import ConvGradient as ConvGradient
from torchattr.layers.rules.deep_lift import attention as rescaled_attention
from torchattr.layers.rules.deep_lift import elementwise as rescaled_elements
from torchattr.layers.rules.deep_lift import norms as rescaled_norms
from torchattr.layers.rules.deep_lift import pools as rescaled_pools
from torchattr.layers.rules.deep_lift import products as rescaled_products
from torchattr.layers.rules.pool import AdaptiveAvgPoolGradient as AdaptiveAvgPoolGradient
from torchattr.layers.rules.relevance import gates, identity, norms, products, sums, terminal
from torchattr.layers.rules.relevance import linear as weighted
from torchattr.layers.rules.relevance.affine import AffineLayer as AffineLayer
from torchattr.layers.rules.relevance.inputs import input_of as input_of
from torchattr.layers.rules.relevance.linear import AlphaBeta as AlphaBeta
from torchattr.layers.rules.relevance.linear import Epsilon as Epsilon
from torchattr.layers.rules.relevance.linear import Gamma as Gamma
from torchattr.layers.rules.relevance.linear import RelevanceRule as RelevanceRule
from torchattr.layers.rules.relevance.linear import ZMinus as ZMinus
from torchattr.layers.rules.relevance.linear import ZPlus as ZPlus
from torchattr.layers.rules.relevance.linear import output_of as output_of
from torchattr.layers.rules.relevance.sums import StabilisedSum as StabilisedSum
from torchattr.layers.rules.relevance.terminal import Flat as Flat
from torchattr.layers.rules.relevance.terminal import WSquare as WSquare
from torchattr.layers.rules.relevance.terminal import ZBox as ZBox
from torchattr.layers.rules.relevance.terms import Term as Term
from torchattr.layers.rules.relevance.terms import Weights as Weights
from torchattr.layers.rules.relevance.terms import dead_free_quotient as dead_free_quotient
from torchattr.layers.rules.relevance.terms import stabilised as stabilised
from torchattr.layers.trace import Trace as Trace
from torchattr.layers.training import run_in_eval as run_in_eval

RULE_MODULES = (
    *(activation, batch_norm_relu, conv, linear, norm, pool, relu, relu_max_pool),
    *(gates, identity, norms, products, sums, terminal, weighted),
    *(rescaled_attention, rescaled_elements, rescaled_norms, rescaled_pools, rescaled_products),
)
"""The modules whose import registers the rules and fusions of the package."""
