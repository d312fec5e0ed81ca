"""Runs over whole data sets: maps of any number of pictures, on one machine or many."""

from torchattr.bulk.sources import Picture as Picture
from torchattr.bulk.sources import PictureFolder as PictureFolder
from torchattr.bulk.sources import Pictures as Pictures
