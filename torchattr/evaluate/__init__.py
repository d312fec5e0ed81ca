"""Measuring attributions."""

from torchattr.evaluate.pointing import Pointing as Pointing
from torchattr.evaluate.pointing import pointing_game as pointing_game
from torchattr.evaluate.pointing import points_at as points_at
