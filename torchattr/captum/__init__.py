"""Captum's names for the methods: a script moves by changing `captum.attr` to `torchattr.captum`.

Changing `captum` to `torchattr.captum` everywhere in it serves, too.

Arguments, their order and their defaults are Captum's; the other options of our methods are
keyword-only. The methods are documented in :mod:`torchattr.methods`, and differences in results and
errors in `docs/moving-from-captum.md`.

>>> import torch
>>> from torchattr.captum import LayerAttribution, LayerGradCam
>>> model = torch.nn.Sequential(
...     torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(144, 2)
... )
>>> maps = LayerGradCam(model, model[1]).attribute(torch.rand(2, 3, 8, 8), target=1)
>>> LayerAttribution.interpolate(maps, (8, 8)).shape
torch.Size([2, 1, 8, 8])
"""

from __future__ import annotations

import sys as _sys

from torchattr.captum import concept as concept
from torchattr.captum import metrics as metrics
from torchattr.captum import robust as robust
from torchattr.captum import visualization as visualization
from torchattr.captum.attribution import Attribution as Attribution
from torchattr.captum.attribution import GradientAttribution as GradientAttribution
from torchattr.captum.attribution import InternalAttribution as InternalAttribution
from torchattr.captum.attribution import LayerAttribution as LayerAttribution
from torchattr.captum.attribution import NeuronAttribution as NeuronAttribution
from torchattr.captum.attribution import PerturbationAttribution as PerturbationAttribution
from torchattr.captum.coalitions import KernelShap as KernelShap
from torchattr.captum.coalitions import Lime as Lime
from torchattr.captum.coalitions import LimeBase as LimeBase
from torchattr.captum.coalitions import ShapleyValues as ShapleyValues
from torchattr.captum.coalitions import ShapleyValueSampling as ShapleyValueSampling
from torchattr.captum.coalitions import (
    get_exp_kernel_similarity_function as get_exp_kernel_similarity_function,
)
from torchattr.captum.concept import CAV as CAV
from torchattr.captum.concept import TCAV as TCAV
from torchattr.captum.concept import Classifier as Classifier
from torchattr.captum.concept import Concept as Concept
from torchattr.captum.concept import ConceptInterpreter as ConceptInterpreter
from torchattr.captum.concept import DefaultClassifier as DefaultClassifier
from torchattr.captum.contract import behave_like_captum as _behave_like_captum
from torchattr.captum.data_loader import DataLoaderAttribution as DataLoaderAttribution
from torchattr.captum.elsewhere import AbsentModules as _AbsentModules
from torchattr.captum.elsewhere import refuse as _refuse
from torchattr.captum.gradient import Deconvolution as Deconvolution
from torchattr.captum.gradient import DeepLift as DeepLift
from torchattr.captum.gradient import DeepLiftShap as DeepLiftShap
from torchattr.captum.gradient import GradientShap as GradientShap
from torchattr.captum.gradient import GuidedBackprop as GuidedBackprop
from torchattr.captum.gradient import InputXGradient as InputXGradient
from torchattr.captum.gradient import IntegratedGradients as IntegratedGradients
from torchattr.captum.gradient import Saliency as Saliency
from torchattr.captum.interpretable_input import ImageMaskInput as ImageMaskInput
from torchattr.captum.interpretable_input import InterpretableInput as InterpretableInput
from torchattr.captum.interpretable_input import ProductBaselines as ProductBaselines
from torchattr.captum.layer import GuidedGradCam as GuidedGradCam
from torchattr.captum.layer import LayerActivation as LayerActivation
from torchattr.captum.layer import LayerGradCam as LayerGradCam
from torchattr.captum.layer import LayerGradientXActivation as LayerGradientXActivation
from torchattr.captum.layer_deep_lift import LayerDeepLift as LayerDeepLift
from torchattr.captum.layer_deep_lift import LayerDeepLiftShap as LayerDeepLiftShap
from torchattr.captum.layer_paths import InternalInfluence as InternalInfluence
from torchattr.captum.layer_paths import LayerConductance as LayerConductance
from torchattr.captum.layer_paths import LayerGradientShap as LayerGradientShap
from torchattr.captum.layer_paths import LayerIntegratedGradients as LayerIntegratedGradients
from torchattr.captum.lrp import LRP as LRP
from torchattr.captum.lrp import LayerLRP as LayerLRP
from torchattr.captum.lrp_rules import Alpha1_Beta0_Rule as Alpha1_Beta0_Rule
from torchattr.captum.lrp_rules import EpsilonRule as EpsilonRule
from torchattr.captum.lrp_rules import GammaRule as GammaRule
from torchattr.captum.lrp_rules import IdentityRule as IdentityRule
from torchattr.captum.lrp_rules import PropagationRule as PropagationRule
from torchattr.captum.metrics import infidelity as infidelity
from torchattr.captum.metrics import (
    infidelity_perturb_func_decorator as infidelity_perturb_func_decorator,
)
from torchattr.captum.metrics import sensitivity_max as sensitivity_max
from torchattr.captum.neuron import NeuronConductance as NeuronConductance
from torchattr.captum.neuron import NeuronDeconvolution as NeuronDeconvolution
from torchattr.captum.neuron import NeuronDeepLift as NeuronDeepLift
from torchattr.captum.neuron import NeuronDeepLiftShap as NeuronDeepLiftShap
from torchattr.captum.neuron import NeuronGradient as NeuronGradient
from torchattr.captum.neuron import NeuronGradientShap as NeuronGradientShap
from torchattr.captum.neuron import NeuronGuidedBackprop as NeuronGuidedBackprop
from torchattr.captum.neuron import NeuronIntegratedGradients as NeuronIntegratedGradients
from torchattr.captum.perturbation import FeatureAblation as FeatureAblation
from torchattr.captum.perturbation import FeaturePermutation as FeaturePermutation
from torchattr.captum.perturbation import LayerFeatureAblation as LayerFeatureAblation
from torchattr.captum.perturbation import LayerFeaturePermutation as LayerFeaturePermutation
from torchattr.captum.perturbation import NeuronFeatureAblation as NeuronFeatureAblation
from torchattr.captum.perturbation import NoiseTunnel as NoiseTunnel
from torchattr.captum.perturbation import Occlusion as Occlusion
from torchattr.captum.robust import FGSM as FGSM
from torchattr.captum.robust import PGD as PGD
from torchattr.captum.robust import AttackComparator as AttackComparator
from torchattr.captum.robust import MinParamPerturbation as MinParamPerturbation
from torchattr.captum.robust import Perturbation as Perturbation
from torchattr.captum.statistics import MSE as MSE
from torchattr.captum.statistics import ClassSummarizer as ClassSummarizer
from torchattr.captum.statistics import CommonStats as CommonStats
from torchattr.captum.statistics import Count as Count
from torchattr.captum.statistics import Max as Max
from torchattr.captum.statistics import Mean as Mean
from torchattr.captum.statistics import Min as Min
from torchattr.captum.statistics import StatValue as StatValue
from torchattr.captum.statistics import StdDev as StdDev
from torchattr.captum.statistics import Sum as Sum
from torchattr.captum.statistics import Summarizer as Summarizer
from torchattr.captum.statistics import SummarizerSingleTensor as SummarizerSingleTensor
from torchattr.captum.statistics import Var as Var
from torchattr.methods import InputRole as InputRole

_behave_like_captum(list(globals().values()))

# It has all of the names above.
from torchattr.captum import attr as attr  # noqa: E402

_sys.meta_path.append(_AbsentModules())


def __getattr__(name: str) -> object:
    return _refuse(name)
