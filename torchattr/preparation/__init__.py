"""Faster copies of models for repeated use: folded batch-norms, memory order, CUDA graphs."""

from torchattr.preparation.gates import FlippedGates as FlippedGates
from torchattr.preparation.gates import flipped_gates as flipped_gates
from torchattr.preparation.prepared import Prepared as Prepared
from torchattr.preparation.preparing import prepare as prepare
from torchattr.preparation.report import Preparation as Preparation
