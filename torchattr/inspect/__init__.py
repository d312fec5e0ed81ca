"""Looking inside a network: what its layers hold, and what their maps respond to."""

from torchattr.inspect.ascent import Step as Step
from torchattr.inspect.back_projection import back_project as back_project
from torchattr.inspect.maximisation import deepdream as deepdream
from torchattr.inspect.maximisation import maximise as maximise
from torchattr.inspect.patches import Patch as Patch
from torchattr.inspect.patches import TopPatches as TopPatches
from torchattr.inspect.patches import top_patches as top_patches
from torchattr.inspect.projections import BackProjection as BackProjection
from torchattr.inspect.projector import BackProjector as BackProjector
from torchattr.inspect.projector import Rule as Rule
from torchattr.inspect.reach import receptive_field as receptive_field
from torchattr.inspect.robust import Affine as Affine
from torchattr.inspect.robust import Jitter as Jitter
from torchattr.inspect.smoothing import total_variation as total_variation
from torchattr.inspect.starts import Channels as Channels
from torchattr.inspect.starts import Start as Start
