"""Forwards of changed inputs that recompute only what the change can reach, exactly.

A clean forward is recorded (`tape`), read as operators on changed pixels (`reading`; the kinds of
`operators` are `pixelwise`, `windows` and `moved`), those that belong together are taken together
(`fusing`), and a cost model (`cost`) says how far to go (`plan`). For a chunk of variants the
operators run (`running`), then the model itself, handed what they found (`replay`). Nakandala,
Kumar, Papakonstantinou 2019, SIGMOD (Krypton).
"""

from torchattr.incremental.session import Change as Change
from torchattr.incremental.session import Diverged as Diverged
from torchattr.incremental.session import Incremental as Incremental
from torchattr.incremental.session import Mode as Mode
from torchattr.incremental.session import Recomputed as Recomputed
from torchattr.incremental.session import TapeRecorder as TapeRecorder
from torchattr.incremental.tape import Tape as Tape

__all__ = ["Change", "Diverged", "Incremental", "Mode", "Recomputed", "Tape", "TapeRecorder"]
