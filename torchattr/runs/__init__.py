"""From what is found to folders of pictures and arrays, TensorBoard, and HTML pages."""

from torchattr.results.folder import RunFolder as RunFolder
from torchattr.results.html import Report as Report
from torchattr.results.names import distinct_names as distinct_names
from torchattr.results.saving import save_explanation as save_explanation
from torchattr.results.sink import Entry as Entry
from torchattr.results.sink import Sink as Sink
from torchattr.results.sink import Tee as Tee
from torchattr.results.tensorboard import TensorBoard as TensorBoard
from torchattr.runs.explain_job import Explaining as Explaining
from torchattr.runs.job import InputPicture as InputPicture
from torchattr.runs.job import Note as Note
from torchattr.runs.job import PictureJob as PictureJob
from torchattr.runs.job import Predicted as Predicted
from torchattr.runs.run import Finished as Finished
from torchattr.runs.run import Kept as Kept
from torchattr.runs.run import Skipped as Skipped
from torchattr.runs.run import Written as Written
from torchattr.runs.run import look_at_pictures as look_at_pictures
from torchattr.runs.settings import Settings as Settings
