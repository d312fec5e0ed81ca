"""Adapters to other packages: trainings of Lightning, classifiers of Hugging Face.

The callback of Lightning is imported from :mod:`torchattr.integrations.lightning`, since that loads
the package.
"""

from torchattr.integrations.fixed_panels import FixedPanels as FixedPanels
from torchattr.integrations.hugging_face import AttributionPipeline as AttributionPipeline
from torchattr.integrations.hugging_face import classifier_of as classifier_of
