"""Evaluate attributions: curves, faithfulness, robustness, localisation, complexity, statistics."""

from torchattr.evaluate.axioms import completeness as completeness
from torchattr.evaluate.axioms import non_sensitivity as non_sensitivity
from torchattr.evaluate.complexity import effective_complexity as effective_complexity
from torchattr.evaluate.complexity import entropy as entropy
from torchattr.evaluate.complexity import gini_index as gini_index
from torchattr.evaluate.consistency import consistency as consistency
from torchattr.evaluate.curves import Curve as Curve
from torchattr.evaluate.curves import deletion_curve as deletion_curve
from torchattr.evaluate.curves import insertion_curve as insertion_curve
from torchattr.evaluate.faithfulness import (
    faithfulness_correlation as faithfulness_correlation,
)
from torchattr.evaluate.faithfulness import monotonicity as monotonicity
from torchattr.evaluate.faithfulness import sensitivity_n as sensitivity_n
from torchattr.evaluate.faithfulness import single_deletion as single_deletion
from torchattr.evaluate.infidelity import infidelity as infidelity
from torchattr.evaluate.infidelity import perturbed_by as perturbed_by
from torchattr.evaluate.input_invariance import input_invariance as input_invariance
from torchattr.evaluate.localisation import (
    attribution_localisation as attribution_localisation,
)
from torchattr.evaluate.localisation import cell_shares as cell_shares
from torchattr.evaluate.localisation import localisation_auc as localisation_auc
from torchattr.evaluate.localisation import relevance_mass as relevance_mass
from torchattr.evaluate.localisation import relevance_rank as relevance_rank
from torchattr.evaluate.localisation import top_k_intersection as top_k_intersection
from torchattr.evaluate.perturbed_rows import SampleNoise as SampleNoise
from torchattr.evaluate.pointing import Pointing as Pointing
from torchattr.evaluate.pointing import pointing_game as pointing_game
from torchattr.evaluate.pointing import points_at as points_at
from torchattr.evaluate.remove_and_debias import road as road
from torchattr.evaluate.sensitivity import continuity as continuity
from torchattr.evaluate.sensitivity import local_lipschitz as local_lipschitz
from torchattr.evaluate.sensitivity import robustness as robustness
from torchattr.evaluate.sensitivity import sensitivity_average as sensitivity_average
from torchattr.evaluate.sensitivity import sensitivity_max as sensitivity_max
from torchattr.evaluate.square_removal import square_infidelity as square_infidelity
from torchattr.evaluate.stability import (
    relative_input_stability as relative_input_stability,
)
from torchattr.evaluate.stability import (
    relative_output_stability as relative_output_stability,
)
from torchattr.evaluate.stability import (
    relative_representation_stability as relative_representation_stability,
)
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
