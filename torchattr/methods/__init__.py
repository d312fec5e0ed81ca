"""The attribution methods, one file each."""

from torchattr.methods._gradient.backward_pass import Pass as Pass
from torchattr.methods._gradient.backward_pass import PassResult as PassResult
from torchattr.methods._gradient.default_layer import default_layer as default_layer
from torchattr.methods._gradient.default_layer import last_spatial_layer as last_spatial_layer
from torchattr.methods._gradient.forward_result import ForwardResult as ForwardResult
from torchattr.methods._gradient.forward_result import Traceable as Traceable
from torchattr.methods._gradient.grids import enlarge as enlarge
from torchattr.methods._gradient.layer_choice import Calls as Calls
from torchattr.methods._gradient.layer_choice import LayerChoice as LayerChoice
from torchattr.methods._gradient.memory import Memory as Memory
from torchattr.methods._gradient.memory import checked_memory as checked_memory
from torchattr.methods._gradient.passes import MethodCall as MethodCall
from torchattr.methods._gradient.passes import SolveResult as SolveResult
from torchattr.methods._gradient.passes import solve as solve
from torchattr.methods._gradient.target_reader import last_call as last_call
from torchattr.methods._gradient.target_reader import select_neuron as select_neuron
from torchattr.methods._perturbation.batch_repeat import repeat_arguments as repeat_arguments
from torchattr.methods._perturbation.batch_repeat import repeat_rows as repeat_rows
from torchattr.methods._perturbation.checked import checked_count as checked_count
from torchattr.methods._perturbation.checked import checked_number as checked_number
from torchattr.methods._perturbation.checked import checked_seed as checked_seed
from torchattr.methods._perturbation.coalition_draws import CoalitionDraws as CoalitionDraws
from torchattr.methods._perturbation.coalition_draws import SeededDraws as SeededDraws
from torchattr.methods._perturbation.coalition_draws import size_probabilities as size_probabilities
from torchattr.methods._perturbation.coalitions import ListedCoalitions as ListedCoalitions
from torchattr.methods._perturbation.evaluate_copies import MadeCopies as MadeCopies
from torchattr.methods._perturbation.evaluate_copies import check_at_once as check_at_once
from torchattr.methods._perturbation.evaluate_copies import check_incremental as check_incremental
from torchattr.methods._perturbation.evaluate_copies import evaluate_copies as evaluate_copies
from torchattr.methods._perturbation.evaluate_copies import evaluate_made as evaluate_made
from torchattr.methods._perturbation.features import FeatureMasks as FeatureMasks
from torchattr.methods._perturbation.incremental_scores import tape_recorder as tape_recorder
from torchattr.methods._perturbation.memory_budget import Footprint as Footprint
from torchattr.methods._perturbation.memory_budget import fitting as fitting
from torchattr.methods._perturbation.memory_budget import has_fixed_batch as has_fixed_batch
from torchattr.methods._perturbation.memory_budget import in_batches as in_batches
from torchattr.methods._perturbation.perturbation import Baseline as Baseline
from torchattr.methods._perturbation.perturbation import Perturbation as Perturbation
from torchattr.methods._perturbation.random_numbers import SeededStreams as SeededStreams
from torchattr.methods._perturbation.scores import EVERY_VALUE as EVERY_VALUE
from torchattr.methods._perturbation.scores import TargetScores as TargetScores
from torchattr.methods._perturbation.segments import Segments as Segments
from torchattr.methods._perturbation.segments import as_segments as as_segments
from torchattr.methods._perturbation.similarity import ExponentialKernel as ExponentialKernel
from torchattr.methods._relevance.by_composite import RelevanceByComposite as RelevanceByComposite
from torchattr.methods._relevance.composites import composite_names as composite_names
from torchattr.methods._relevance.ledger import Ledger as Ledger
from torchattr.methods._relevance.relevance import RelevanceAttribution as RelevanceAttribution
from torchattr.methods.ablation import Ablation as Ablation
from torchattr.methods.ablation_cam import AblationCAM as AblationCAM
from torchattr.methods.attention import AttentionAttribution as AttentionAttribution
from torchattr.methods.attention_gradient import AttentionGradient as AttentionGradient
from torchattr.methods.attention_rollout import AttentionRollout as AttentionRollout
from torchattr.methods.attn_lrp import AttnLRP as AttnLRP
from torchattr.methods.base import Attribution as Attribution
from torchattr.methods.base import GradientAttribution as GradientAttribution
from torchattr.methods.cam import CAM as CAM
from torchattr.methods.class_activation_map import ActivationMap as ActivationMap
from torchattr.methods.class_activation_map import ClassActivationMap as ClassActivationMap
from torchattr.methods.coalition_attribution import CoalitionAttribution as CoalitionAttribution
from torchattr.methods.data_loader_attribution import (
    DataLoaderAttribution as DataLoaderAttribution,
)
from torchattr.methods.data_loader_attribution import InputRole as InputRole
from torchattr.methods.deconvolution import Deconvolution as Deconvolution
from torchattr.methods.deep_feature_factorization import Concepts as Concepts
from torchattr.methods.deep_feature_factorization import (
    deep_feature_factorization as deep_feature_factorization,
)
from torchattr.methods.deep_lift import CustomAttribution as CustomAttribution
from torchattr.methods.deep_lift import DeepLift as DeepLift
from torchattr.methods.deep_lift import RescaleAttribution as RescaleAttribution
from torchattr.methods.deep_lift_shap import DeepLiftShap as DeepLiftShap
from torchattr.methods.eigen_cam import EigenCAM as EigenCAM
from torchattr.methods.eigen_grad_cam import EigenGradCAM as EigenGradCAM
from torchattr.methods.excitation_backprop import ExcitationBackprop as ExcitationBackprop
from torchattr.methods.feature_ablation import FeatureAblation as FeatureAblation
from torchattr.methods.feature_permutation import FeaturePermutation as FeaturePermutation
from torchattr.methods.fem import FEM as FEM
from torchattr.methods.finer_cam import FinerCAM as FinerCAM
from torchattr.methods.full_grad import FullGrad as FullGrad
from torchattr.methods.grad_cam import GradCAM as GradCAM
from torchattr.methods.grad_cam_elementwise import GradCAMElementwise as GradCAMElementwise
from torchattr.methods.grad_cam_plus_plus import GradCAMPlusPlus as GradCAMPlusPlus
from torchattr.methods.gradient_shap import GradientShap as GradientShap
from torchattr.methods.guided_backprop import GuidedBackprop as GuidedBackprop
from torchattr.methods.guided_grad_cam import GuidedGradCAM as GuidedGradCAM
from torchattr.methods.hires_cam import HiResCAM as HiResCAM
from torchattr.methods.input_x_gradient import InputXGradient as InputXGradient
from torchattr.methods.integrated_gradients import IntegratedGradients as IntegratedGradients
from torchattr.methods.internal_influence import InternalInfluence as InternalInfluence
from torchattr.methods.is_cam import ISCAM as ISCAM
from torchattr.methods.kernel_shap import KernelShap as KernelShap
from torchattr.methods.kpca_cam import KPCACAM as KPCACAM
from torchattr.methods.layer_ablation import LayerAblation as LayerAblation
from torchattr.methods.layer_activation import LayerActivation as LayerActivation
from torchattr.methods.layer_cam import LayerCAM as LayerCAM
from torchattr.methods.layer_conductance import LayerConductance as LayerConductance
from torchattr.methods.layer_deep_lift import LayerDeepLift as LayerDeepLift
from torchattr.methods.layer_deep_lift_shap import LayerDeepLiftShap as LayerDeepLiftShap
from torchattr.methods.layer_feature_ablation import LayerFeatureAblation as LayerFeatureAblation
from torchattr.methods.layer_feature_permutation import (
    LayerFeaturePermutation as LayerFeaturePermutation,
)
from torchattr.methods.layer_gradient_shap import LayerGradientShap as LayerGradientShap
from torchattr.methods.layer_gradient_x_activation import (
    LayerGradientXActivation as LayerGradientXActivation,
)
from torchattr.methods.layer_integrated_gradients import (
    LayerIntegratedGradients as LayerIntegratedGradients,
)
from torchattr.methods.layer_lrp import LayerLRP as LayerLRP
from torchattr.methods.layer_paths import LayerPathAttribution as LayerPathAttribution
from torchattr.methods.legrad import LeGrad as LeGrad
from torchattr.methods.libra_grad import LibraGrad as LibraGrad
from torchattr.methods.lime import Lime as Lime
from torchattr.methods.lime_base import LimeBase as LimeBase
from torchattr.methods.lrp import LRP as LRP
from torchattr.methods.neuron_conductance import NeuronConductance as NeuronConductance
from torchattr.methods.noise_tunnel import NoiseTunnel as NoiseTunnel
from torchattr.methods.noise_tunnel import fixed_options as fixed_options
from torchattr.methods.noise_tunnel import repeat_options as repeat_options
from torchattr.methods.occlusion import Occlusion as Occlusion
from torchattr.methods.path_attribution import PathAttribution as PathAttribution
from torchattr.methods.random_cam import RandomCAM as RandomCAM
from torchattr.methods.raw_attention import RawAttention as RawAttention
from torchattr.methods.refine_cam import RefineCAM as RefineCAM
from torchattr.methods.registry import build as build
from torchattr.methods.registry import class_of as class_of
from torchattr.methods.registry import each_method as each_method
from torchattr.methods.registry import find_method as find_method
from torchattr.methods.registry import name_of as name_of
from torchattr.methods.registry import names_of as names_of
from torchattr.methods.registry import register_method as register_method
from torchattr.methods.registry import registered_methods as registered_methods
from torchattr.methods.registry import takes as takes
from torchattr.methods.rise import RISE as RISE
from torchattr.methods.saliency import Saliency as Saliency
from torchattr.methods.score_cam import ScoreCAM as ScoreCAM
from torchattr.methods.shapley_cam import ShapleyCAM as ShapleyCAM
from torchattr.methods.shapley_value_sampling import ShapleyValueSampling as ShapleyValueSampling
from torchattr.methods.shapley_values import ShapleyValues as ShapleyValues
from torchattr.methods.smooth_grad import SmoothGrad as SmoothGrad
from torchattr.methods.smooth_grad import value_ranges as value_ranges
from torchattr.methods.smooth_grad_cam_plus_plus import (
    SmoothGradCAMPlusPlus as SmoothGradCAMPlusPlus,
)
from torchattr.methods.ss_cam import SSCAM as SSCAM
from torchattr.methods.xgrad_cam import XGradCAM as XGradCAM
