"""Runs over whole data sets: maps of any number of pictures, on one machine or many."""

from torchattr.bulk.annotated.benchmark import DATA as DATA
from torchattr.bulk.annotated.benchmark import DataBenchmark as DataBenchmark
from torchattr.bulk.annotated.benchmark import benchmark_data as benchmark_data
from torchattr.bulk.annotated.panels import panel_entries as panel_entries
from torchattr.bulk.annotated.pictures import AnnotatedPictures as AnnotatedPictures
from torchattr.bulk.maps import MapArray as MapArray
from torchattr.bulk.maps import Maps as Maps
from torchattr.bulk.maps import is_maps as is_maps
from torchattr.bulk.maps import open_maps as open_maps
from torchattr.bulk.progress import RunProgress as RunProgress
from torchattr.bulk.ray_engine import ShardWorker as ShardWorker
from torchattr.bulk.ray_engine import run_on_ray as run_on_ray
from torchattr.bulk.run import RunReport as RunReport
from torchattr.bulk.run import run as run
from torchattr.bulk.sources import DatasetPictures as DatasetPictures
from torchattr.bulk.sources import HuggingFacePictures as HuggingFacePictures
from torchattr.bulk.sources import Picture as Picture
from torchattr.bulk.sources import PictureFolder as PictureFolder
from torchattr.bulk.sources import Pictures as Pictures
from torchattr.bulk.sources import TablePictures as TablePictures
from torchattr.bulk.sources import TarPictures as TarPictures
from torchattr.bulk.sources import as_pictures as as_pictures
