"""The hot operations behind one interface. No autograd here."""

from torchattr.kernels import torch_ops as torch_ops
from torchattr.kernels.api import Backend as Backend
from torchattr.kernels.api import Gate as Gate
from torchattr.kernels.api import Request as Request
from torchattr.kernels.dispatch import backend as backend
from torchattr.kernels.dispatch import backends as backends
from torchattr.kernels.dispatch import choose as choose
from torchattr.kernels.dispatch import requested_backend as requested_backend
from torchattr.kernels.layout import Order as Order
from torchattr.kernels.layout import Window as Window
from torchattr.kernels.layout import along_channels as along_channels
from torchattr.kernels.layout import order_of as order_of
from torchattr.kernels.patches import IMAGE as IMAGE
from torchattr.kernels.patches import Boxes as Boxes
from torchattr.kernels.patches import Convolution as Convolution
from torchattr.kernels.patches import Epilogue as Epilogue
from torchattr.kernels.patches import Patches as Patches
from torchattr.kernels.patches import Pooling as Pooling
from torchattr.kernels.reference.backend import TorchBackend as TorchBackend
