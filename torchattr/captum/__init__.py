"""Captum's names for the methods: a script moves by changing `captum.attr` to `torchattr.captum`.

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

from torchattr.captum.base import LayerAttribution as LayerAttribution
from torchattr.captum.coalitions import KernelShap as KernelShap
from torchattr.captum.coalitions import Lime as Lime
from torchattr.captum.coalitions import LimeBase as LimeBase
from torchattr.captum.coalitions import ShapleyValues as ShapleyValues
from torchattr.captum.coalitions import ShapleyValueSampling as ShapleyValueSampling
from torchattr.captum.coalitions import (
    get_exp_kernel_similarity_function as get_exp_kernel_similarity_function,
)
from torchattr.captum.gradient import Deconvolution as Deconvolution
from torchattr.captum.gradient import DeepLift as DeepLift
from torchattr.captum.gradient import DeepLiftShap as DeepLiftShap
from torchattr.captum.gradient import GradientShap as GradientShap
from torchattr.captum.gradient import GuidedBackprop as GuidedBackprop
from torchattr.captum.gradient import InputXGradient as InputXGradient
from torchattr.captum.gradient import IntegratedGradients as IntegratedGradients
from torchattr.captum.gradient import Saliency as Saliency
from torchattr.captum.layer import GuidedGradCam as GuidedGradCam
from torchattr.captum.layer import LayerActivation as LayerActivation
from torchattr.captum.layer import LayerGradCam as LayerGradCam
from torchattr.captum.lrp import LRP as LRP
from torchattr.captum.lrp import LayerLRP as LayerLRP
from torchattr.captum.lrp_rules import Alpha1_Beta0_Rule as Alpha1_Beta0_Rule
from torchattr.captum.lrp_rules import EpsilonRule as EpsilonRule
from torchattr.captum.lrp_rules import GammaRule as GammaRule
from torchattr.captum.lrp_rules import IdentityRule as IdentityRule
from torchattr.captum.lrp_rules import PropagationRule as PropagationRule
from torchattr.captum.neuron import NeuronDeconvolution as NeuronDeconvolution
from torchattr.captum.neuron import NeuronGuidedBackprop as NeuronGuidedBackprop
from torchattr.captum.perturbation import FeatureAblation as FeatureAblation
from torchattr.captum.perturbation import FeaturePermutation as FeaturePermutation
from torchattr.captum.perturbation import LayerFeatureAblation as LayerFeatureAblation
from torchattr.captum.perturbation import LayerFeaturePermutation as LayerFeaturePermutation
from torchattr.captum.perturbation import NeuronFeatureAblation as NeuronFeatureAblation
from torchattr.captum.perturbation import NoiseTunnel as NoiseTunnel
from torchattr.captum.perturbation import Occlusion as Occlusion
from torchattr.captum.perturbation import PerturbationAttribution as PerturbationAttribution
