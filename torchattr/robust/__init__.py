"""Attacks: changes of the input that change the prediction, and what they do to a metric."""

from torchattr.robust.attack import Attack as Attack
from torchattr.robust.attack import AttackFunction as AttackFunction
from torchattr.robust.attack import cross_entropy as cross_entropy
from torchattr.robust.attack_comparator import AttackComparator as AttackComparator
from torchattr.robust.fgsm import FGSM as FGSM
from torchattr.robust.min_param_perturbation import MinParamPerturbation as MinParamPerturbation
from torchattr.robust.pgd import PGD as PGD
