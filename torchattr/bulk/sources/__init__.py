"""Data sets as pictures by position: folders, tables, and the data sets of other libraries."""

from torchattr.bulk.sources.folder import PictureFolder as PictureFolder
from torchattr.bulk.sources.hugging_face import HuggingFacePictures as HuggingFacePictures
from torchattr.bulk.sources.map_dataset import DatasetPictures as DatasetPictures
from torchattr.bulk.sources.opening import as_pictures as as_pictures
from torchattr.bulk.sources.pictures import Picture as Picture
from torchattr.bulk.sources.pictures import Pictures as Pictures
from torchattr.bulk.sources.pictures import sorted_ids as sorted_ids
from torchattr.bulk.sources.table import TablePictures as TablePictures
from torchattr.bulk.sources.tars import TarPictures as TarPictures
