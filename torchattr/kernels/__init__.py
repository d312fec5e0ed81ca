"""The hot operations of attribution, behind one interface for all backends, without autograd."""

from torchattr.kernels import torch_ops as torch_ops
from torchattr.kernels.api import Backend as Backend
from torchattr.kernels.api import PatchOperations as PatchOperations
from torchattr.kernels.api import Request as Request
from torchattr.kernels.dispatch import backend as backend
from torchattr.kernels.dispatch import backends as backends
from torchattr.kernels.dispatch import choose as choose
from torchattr.kernels.dispatch import choose_patches as choose_patches
from torchattr.kernels.dispatch import register_backend as register_backend
from torchattr.kernels.dispatch import requested_backend as requested_backend
from torchattr.kernels.gates import Gate as Gate
from torchattr.kernels.layout import Order as Order
from torchattr.kernels.layout import Window as Window
from torchattr.kernels.layout import along_channels as along_channels
from torchattr.kernels.layout import from_order as from_order
from torchattr.kernels.layout import in_order as in_order
from torchattr.kernels.layout import mask_bytes as mask_bytes
from torchattr.kernels.layout import order_of as order_of
from torchattr.kernels.patches import IMAGE as IMAGE
from torchattr.kernels.patches import Boxes as Boxes
from torchattr.kernels.patches import Convolution as Convolution
from torchattr.kernels.patches import Epilogue as Epilogue
from torchattr.kernels.patches import Patches as Patches
from torchattr.kernels.patches import Pooling as Pooling
from torchattr.kernels.reference.backend import TorchBackend as TorchBackend
