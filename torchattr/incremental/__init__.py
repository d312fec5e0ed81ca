"""Incremental forwards: recompute only what a change of the inputs can reach, exactly.

A clean forward is recorded (`tape`), lowered to operators on changed pixels (`lower`, `operators`)
and fused (`fuse`); a cost model (`cost`) chooses where to stop (`schedule`). For each chunk of
variants the operators run (`execute`), then the model itself, with their results (`replay`).
`plan` keeps decisions and boxes for the next call, `session` puts it together. `suffix` starts at a
layer instead. Nakandala, Kumar,
Papakonstantinou 2019, SIGMOD (Krypton).
"""

from torchattr.incremental.plan import Recomputed as Recomputed
from torchattr.incremental.session import Change as Change
from torchattr.incremental.session import Diverged as Diverged
from torchattr.incremental.session import Incremental as Incremental
from torchattr.incremental.session import Mode as Mode
from torchattr.incremental.session import TapeRecorder as TapeRecorder
from torchattr.incremental.session import run_by as run_by
from torchattr.incremental.suffix import NoSuffix as NoSuffix
from torchattr.incremental.suffix import Suffix as Suffix
from torchattr.incremental.tape import Tape as Tape

__all__ = [
    "Change",
    "Diverged",
    "Incremental",
    "Mode",
    "NoSuffix",
    "Recomputed",
    "Suffix",
    "Tape",
    "TapeRecorder",
    "run_by",
]
