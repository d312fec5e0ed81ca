"""From explanations to folders of pictures, arrays and a manifest."""

from torchattr.runs.folder import RunFolder as RunFolder
from torchattr.runs.names import distinct_names as distinct_names
from torchattr.runs.pictures import Explained as Explained
from torchattr.runs.pictures import Note as Note
from torchattr.runs.pictures import Predicted as Predicted
from torchattr.runs.pictures import Settings as Settings
from torchattr.runs.pictures import Skipped as Skipped
from torchattr.runs.pictures import explain_pictures as explain_pictures
from torchattr.runs.saving import save_explanation as save_explanation
