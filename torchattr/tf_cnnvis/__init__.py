"""The three calls of tf_cnnvis, with its argument names, on PyTorch models.

Differences from tf_cnnvis are documented at each call and in docs/tf-cnnvis.md: results are
returned as arrays, failures raise, any number of images and all maps of a layer are supported.
"""

from torchattr.tf_cnnvis.calls import Visualization as Visualization
from torchattr.tf_cnnvis.calls import activation_visualization as activation_visualization
from torchattr.tf_cnnvis.calls import deconv_visualization as deconv_visualization
from torchattr.tf_cnnvis.calls import deepdream_visualization as deepdream_visualization
