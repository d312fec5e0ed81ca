"""The cases, in the order in which they run."""

from benchmarks.cases.base import Case
from benchmarks.cases.cams import Cams
from benchmarks.cases.coalitions import Coalitions
from benchmarks.cases.dataset_run import DatasetRun
from benchmarks.cases.faithfulness import Faithfulness
from benchmarks.cases.incremental import Incremental
from benchmarks.cases.inspect import Inspect
from benchmarks.cases.kernels import Kernels
from benchmarks.cases.methods import Methods
from benchmarks.cases.metrics import Metrics
from benchmarks.cases.paths import Paths
from benchmarks.cases.prepare import Prepare
from benchmarks.cases.randomisation import Randomisation
from benchmarks.cases.relevance import Relevance
from benchmarks.cases.scale import Scale
from benchmarks.cases.sharing import Sharing
from benchmarks.cases.truth import Truth

CASES: dict[str, Case] = {
    case.name: case
    for case in (
        *(Kernels(), Methods(), Sharing(), Scale(), Prepare(), Inspect()),
        *(Relevance(), Cams(), Incremental(), Coalitions(), Paths()),
        *(Metrics(), Faithfulness(), Randomisation(), Truth(), DatasetRun()),
    )
}
