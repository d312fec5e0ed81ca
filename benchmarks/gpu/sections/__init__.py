"""The sections, in the order in which they run."""

from benchmarks.gpu.sections.base import Bench as Bench
from benchmarks.gpu.sections.base import Section as Section
from benchmarks.gpu.sections.incremental import Incremental
from benchmarks.gpu.sections.kernels import Kernels
from benchmarks.gpu.sections.memory import Memory
from benchmarks.gpu.sections.methods import Methods
from benchmarks.gpu.sections.prepared import Prepared
from benchmarks.gpu.sections.sharing import Sharing

SECTIONS: dict[str, Section] = {
    section.name.removeprefix("gpu-"): section
    for section in (Sharing(), Memory(), Prepared(), Incremental(), Kernels(), Methods())
}
