"""Load models with their preprocessing and class names, and read images for them."""

from torchattr.models.cropping import Geometry as Geometry
from torchattr.models.cropping import GeometryWarning as GeometryWarning
from torchattr.models.cropping import geometry_of as geometry_of
from torchattr.models.depth import BrightnessWarning as BrightnessWarning
from torchattr.models.depth import grey_levels as grey_levels
from torchattr.models.geometry import Box as Box
from torchattr.models.geometry import place as place
from torchattr.models.images import FORMATS as FORMATS
from torchattr.models.images import decode_image as decode_image
from torchattr.models.images import find_images as find_images
from torchattr.models.images import read_image as read_image
from torchattr.models.load import FORMS as FORMS
from torchattr.models.load import is_user_file as is_user_file
from torchattr.models.load import load_model as load_model
from torchattr.models.loaded import LoadedModel as LoadedModel
from torchattr.models.loaded import PreparedImage as PreparedImage
from torchattr.models.output_operation import OutputOperation as OutputOperation
from torchattr.models.read_errors import reason as reason
from torchattr.models.scores import Meaning as Meaning
from torchattr.models.scores import ScoreReading as ScoreReading
from torchattr.models.scores import read_scores as read_scores
from torchattr.models.user_file import TransformWarning as TransformWarning
from torchattr.models.user_file import blamed as blamed
from torchattr.models.user_file import run_file as run_file
from torchattr.models.weights import fit_weights as fit_weights
from torchattr.models.weights import read_weights as read_weights
