"""Evaluate attributions: insertion and deletion curves, the pointing game."""

from torchattr.evaluate.curves import Curve as Curve
from torchattr.evaluate.curves import deletion_curve as deletion_curve
from torchattr.evaluate.curves import insertion_curve as insertion_curve
from torchattr.evaluate.pointing import Pointing as Pointing
from torchattr.evaluate.pointing import pointing_game as pointing_game
from torchattr.evaluate.pointing import points_at as points_at
