"""Results as files: folders of pictures and arrays, HTML reports, TensorBoard."""

from torchattr.results.display import Display as Display
from torchattr.results.entries import Subject as Subject
from torchattr.results.entries import array_of as array_of
from torchattr.results.entries import entry_of as entry_of
from torchattr.results.entries import shown as shown
from torchattr.results.folder import RunFolder as RunFolder
from torchattr.results.html import Report as Report
from torchattr.results.names import distinct_names as distinct_names
from torchattr.results.names import file_name as file_name
from torchattr.results.names import plain_name as plain_name
from torchattr.results.rows import with_rows as with_rows
from torchattr.results.saving import numbered_names as numbered_names
from torchattr.results.saving import save_explanation as save_explanation
from torchattr.results.sink import Entry as Entry
from torchattr.results.sink import Sink as Sink
from torchattr.results.sink import Tee as Tee
from torchattr.results.tensorboard import TensorBoard as TensorBoard
