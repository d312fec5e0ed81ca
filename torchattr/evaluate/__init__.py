"""Evaluate attributions: curves, faithfulness, robustness, localisation, complexity, statistics."""

from torchattr.evaluate.axioms import completeness as completeness
from torchattr.evaluate.axioms import non_sensitivity as non_sensitivity
from torchattr.evaluate.blocks import blocks as blocks
from torchattr.evaluate.blocks import superpixels as superpixels
from torchattr.evaluate.bootstrap import Interval as Interval
from torchattr.evaluate.bootstrap import bootstrap_interval as bootstrap_interval
from torchattr.evaluate.bootstrap import resampled_means as resampled_means
from torchattr.evaluate.both_orders import BothOrders as BothOrders
from torchattr.evaluate.both_orders import both_orders as both_orders
from torchattr.evaluate.check_result import Check as Check
from torchattr.evaluate.complexity import effective_complexity as effective_complexity
from torchattr.evaluate.complexity import entropy as entropy
from torchattr.evaluate.complexity import gini_index as gini_index
from torchattr.evaluate.complexity_rise import efficient_mprt as efficient_mprt
from torchattr.evaluate.consistency import consistency as consistency
from torchattr.evaluate.curves import Curve as Curve
from torchattr.evaluate.curves import deletion_curve as deletion_curve
from torchattr.evaluate.curves import insertion_curve as insertion_curve
from torchattr.evaluate.deletions import DeletionOptions as DeletionOptions
from torchattr.evaluate.deletions import FeatureOptions as FeatureOptions
from torchattr.evaluate.deletions import ScoreOptions as ScoreOptions
from torchattr.evaluate.disconnected_grid import DisconnectedGrid as DisconnectedGrid
from torchattr.evaluate.faithfulness import (
    faithfulness_correlation as faithfulness_correlation,
)
from torchattr.evaluate.faithfulness import faithfulness_estimate as faithfulness_estimate
from torchattr.evaluate.faithfulness import sensitivity_n as sensitivity_n
from torchattr.evaluate.faithfulness import single_deletion as single_deletion
from torchattr.evaluate.findings import Criterion as Criterion
from torchattr.evaluate.findings import Finding as Finding
from torchattr.evaluate.flipping import irof as irof
from torchattr.evaluate.flipping import pixel_flipping as pixel_flipping
from torchattr.evaluate.flipping import region_perturbation as region_perturbation
from torchattr.evaluate.flipping import selectivity as selectivity
from torchattr.evaluate.ground_truth.benchmark import benchmark as benchmark
from torchattr.evaluate.ground_truth.benchmark_plan import BenchmarkPlan as BenchmarkPlan
from torchattr.evaluate.ground_truth.benchmarked import Benchmark as Benchmark
from torchattr.evaluate.ground_truth.labelled_pictures import LabelledPictures as LabelledPictures
from torchattr.evaluate.ground_truth.planted import planted as planted
from torchattr.evaluate.ground_truth.planted_report import PlantedReport as PlantedReport
from torchattr.evaluate.ground_truth.seen_boxes import mask_of_boxes as mask_of_boxes
from torchattr.evaluate.ground_truth.seen_boxes import seen_box as seen_box
from torchattr.evaluate.ground_truth.seen_boxes import share_seen as share_seen
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
from torchattr.evaluate.map_similarity import map_similarity as map_similarity
from torchattr.evaluate.monotonicity import monotonicity as monotonicity
from torchattr.evaluate.monotonicity import monotonicity_correlation as monotonicity_correlation
from torchattr.evaluate.other_class import random_logit as random_logit
from torchattr.evaluate.perturbed_rows import SampleNoise as SampleNoise
from torchattr.evaluate.picture_grid import PictureGrid as PictureGrid
from torchattr.evaluate.picture_grid import grid_localisation as grid_localisation
from torchattr.evaluate.picture_grid import picture_grid as picture_grid
from torchattr.evaluate.pointing import Pointing as Pointing
from torchattr.evaluate.pointing import pointing_game as pointing_game
from torchattr.evaluate.pointing import points_at as points_at
from torchattr.evaluate.randomisation import Randomisation as Randomisation
from torchattr.evaluate.randomisation import mprt as mprt
from torchattr.evaluate.randomisation import smooth_mprt as smooth_mprt
from torchattr.evaluate.remove_and_debias import road as road
from torchattr.evaluate.replacement import uniform_noise as uniform_noise
from torchattr.evaluate.sanity_check import CHECKED as CHECKED
from torchattr.evaluate.sanity_check import check as check
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
from torchattr.evaluate.sufficiency import sufficiency as sufficiency
from torchattr.evaluate.summarizer import ClassSummarizer as ClassSummarizer
from torchattr.evaluate.summarizer import Summarizer as Summarizer
from torchattr.evaluate.summarizer import SummarizerSingleTensor as SummarizerSingleTensor
