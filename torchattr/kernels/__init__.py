"""The hot operations behind one interface. No autograd here."""

from torchattr.kernels import library as library
from torchattr.kernels.backend import Backend as Backend
from torchattr.kernels.backend import Gate as Gate
from torchattr.kernels.backend import Request as Request
from torchattr.kernels.choose import asked as asked
from torchattr.kernels.choose import backend as backend
from torchattr.kernels.choose import backends as backends
from torchattr.kernels.choose import choose as choose
from torchattr.kernels.layout import Order as Order
from torchattr.kernels.layout import Window as Window
from torchattr.kernels.layout import along_channels as along_channels
from torchattr.kernels.layout import order_of as order_of
from torchattr.kernels.reference import TorchBackend as TorchBackend
