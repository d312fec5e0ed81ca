"""Forwards of changed inputs that recompute only what the change can reach, exactly.

A clean forward is recorded (`tape`), read as operators on changed pixels (`reading`; the kinds of
`operators` are `pixelwise`, `windows` and `moved`), those that belong together are taken together
(`fusing`), and a cost model (`cost`) says how far to go (`plan`). For a chunk of variants the
operators run (`running`), then the model itself, handed what they found (`replay`). Nakandala,
Kumar, Papakonstantinou 2019, SIGMOD (Krypton).
"""

from torchattr.incremental.incremental import Change as Change
from torchattr.incremental.incremental import Diverged as Diverged
from torchattr.incremental.incremental import Incremental as Incremental
from torchattr.incremental.incremental import Mode as Mode
from torchattr.incremental.incremental import Recomputed as Recomputed
from torchattr.incremental.incremental import Recorder as Recorder
from torchattr.incremental.tape import Tape as Tape

__all__ = ["Change", "Diverged", "Incremental", "Mode", "Recomputed", "Recorder", "Tape"]
