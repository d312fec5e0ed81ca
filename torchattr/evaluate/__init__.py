"""Evaluate attributions: curves, the pointing game, infidelity, sensitivity, and statistics."""

from torchattr.evaluate.curves import Curve as Curve
from torchattr.evaluate.curves import deletion_curve as deletion_curve
from torchattr.evaluate.curves import insertion_curve as insertion_curve
from torchattr.evaluate.infidelity import infidelity as infidelity
from torchattr.evaluate.infidelity import perturbed_by as perturbed_by
from torchattr.evaluate.perturbed_rows import SampleNoise as SampleNoise
from torchattr.evaluate.pointing import Pointing as Pointing
from torchattr.evaluate.pointing import pointing_game as pointing_game
from torchattr.evaluate.pointing import points_at as points_at
from torchattr.evaluate.sensitivity import sensitivity_max as sensitivity_max
from torchattr.evaluate.statistics import MSE as MSE
from torchattr.evaluate.statistics import Count as Count
from torchattr.evaluate.statistics import Max as Max
from torchattr.evaluate.statistics import Mean as Mean
from torchattr.evaluate.statistics import Min as Min
from torchattr.evaluate.statistics import Statistic as Statistic
from torchattr.evaluate.statistics import StatValue as StatValue
from torchattr.evaluate.statistics import StdDev as StdDev
from torchattr.evaluate.statistics import Total as Total
from torchattr.evaluate.statistics import Var as Var
from torchattr.evaluate.statistics import common_stats as common_stats
from torchattr.evaluate.summarizer import ClassSummarizer as ClassSummarizer
from torchattr.evaluate.summarizer import Summarizer as Summarizer
from torchattr.evaluate.summarizer import SummarizerSingleTensor as SummarizerSingleTensor
