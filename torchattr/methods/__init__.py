"""The attribution methods, one file each."""

from torchattr.methods.base import Attribution as Attribution
from torchattr.methods.base import GradientAttribution as GradientAttribution
from torchattr.methods.grad_cam import GradCAM as GradCAM
from torchattr.methods.grad_cam import GuidedGradCAM as GuidedGradCAM
from torchattr.methods.guided_backprop import Deconvolution as Deconvolution
from torchattr.methods.guided_backprop import GuidedBackprop as GuidedBackprop
from torchattr.methods.input_x_gradient import InputXGradient as InputXGradient
from torchattr.methods.layer_activation import LayerActivation as LayerActivation
from torchattr.methods.saliency import Saliency as Saliency
