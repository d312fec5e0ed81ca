"""Evaluate attributions: insertion and deletion curves, localisation, complexity."""

from torchattr.evaluate.complexity import effective_complexity as effective_complexity
from torchattr.evaluate.complexity import entropy as entropy
from torchattr.evaluate.complexity import gini_index as gini_index
from torchattr.evaluate.curves import Curve as Curve
from torchattr.evaluate.curves import deletion_curve as deletion_curve
from torchattr.evaluate.curves import insertion_curve as insertion_curve
from torchattr.evaluate.faithfulness import (
    faithfulness_correlation as faithfulness_correlation,
)
from torchattr.evaluate.faithfulness import monotonicity as monotonicity
from torchattr.evaluate.faithfulness import sensitivity_n as sensitivity_n
from torchattr.evaluate.faithfulness import single_deletion as single_deletion
from torchattr.evaluate.localisation import (
    attribution_localisation as attribution_localisation,
)
from torchattr.evaluate.localisation import cell_shares as cell_shares
from torchattr.evaluate.localisation import localisation_auc as localisation_auc
from torchattr.evaluate.localisation import relevance_mass as relevance_mass
from torchattr.evaluate.localisation import relevance_rank as relevance_rank
from torchattr.evaluate.localisation import top_k_intersection as top_k_intersection
from torchattr.evaluate.pointing import Pointing as Pointing
from torchattr.evaluate.pointing import pointing_game as pointing_game
from torchattr.evaluate.pointing import points_at as points_at
from torchattr.evaluate.remove_and_debias import road as road
