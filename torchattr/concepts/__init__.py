"""Concepts: directions in a layer's activations, and whether the score grows along them."""

from torchattr.concepts.cav import CAV as CAV
from torchattr.concepts.cav import train_cav as train_cav
from torchattr.concepts.classifier import Classifier as Classifier
from torchattr.concepts.classifier import LinearClassifier as LinearClassifier
from torchattr.concepts.concept import Concept as Concept
from torchattr.concepts.concept import activations as activations
from torchattr.concepts.concept import check_experimental_sets as check_experimental_sets
from torchattr.concepts.concept import key_of as key_of
from torchattr.concepts.tcav import TCAV as TCAV
from torchattr.concepts.tcav import concept_scores as concept_scores
