"""The attribution methods, one file each."""

from torchattr.methods.base import Attribution as Attribution
from torchattr.methods.base import GradientAttribution as GradientAttribution
from torchattr.methods.grad_cam import GradCAM as GradCAM
from torchattr.methods.grad_cam import GuidedGradCAM as GuidedGradCAM
from torchattr.methods.guided_backprop import Deconvolution as Deconvolution
from torchattr.methods.guided_backprop import GuidedBackprop as GuidedBackprop
from torchattr.methods.input_x_gradient import InputXGradient as InputXGradient
from torchattr.methods.layer_activation import LayerActivation as LayerActivation
from torchattr.methods.registry import build as build
from torchattr.methods.registry import find_method as find_method
from torchattr.methods.registry import name_of as name_of
from torchattr.methods.registry import register_method as register_method
from torchattr.methods.registry import registered_methods as registered_methods
from torchattr.methods.saliency import Saliency as Saliency
