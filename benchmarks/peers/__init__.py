"""The libraries that are compared, one file each."""

from benchmarks.peers.base import Library
from benchmarks.peers.captum import Captum
from benchmarks.peers.grad_cam import GradCam
from benchmarks.peers.ours import Torchattr
from benchmarks.peers.torchcam import TorchCam
from benchmarks.peers.zennit import Zennit

OURS: Library = Torchattr()
PEERS: tuple[Library, ...] = (Captum(), GradCam(), Zennit(), TorchCam())
