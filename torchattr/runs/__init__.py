"""From what is found to folders of pictures and arrays, TensorBoard, and HTML pages."""

from torchattr.runs.explaining import Explaining as Explaining
from torchattr.runs.folder import RunFolder as RunFolder
from torchattr.runs.look import Look as Look
from torchattr.runs.look import Note as Note
from torchattr.runs.look import Picture as Picture
from torchattr.runs.look import Predicted as Predicted
from torchattr.runs.names import distinct_names as distinct_names
from torchattr.runs.pictures import Finished as Finished
from torchattr.runs.pictures import Kept as Kept
from torchattr.runs.pictures import Skipped as Skipped
from torchattr.runs.pictures import Written as Written
from torchattr.runs.pictures import look_at_pictures as look_at_pictures
from torchattr.runs.plan import Settings as Settings
from torchattr.runs.report import Report as Report
from torchattr.runs.saving import save_explanation as save_explanation
from torchattr.runs.sink import Entry as Entry
from torchattr.runs.sink import Sink as Sink
from torchattr.runs.sink import Tee as Tee
from torchattr.runs.tensorboard import TensorBoard as TensorBoard
