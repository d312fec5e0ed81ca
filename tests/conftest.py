"""What holds for all tests."""

import sys
from pathlib import Path

import torch
from command import here as here
from command import shelf as shelf

# One thread for each test process: results then depend on nothing else.
torch.set_num_threads(1)

# The benchmarks are not installed. They come last, so that the installed package is what is tested.
sys.path.append(str(Path(__file__).parents[1]))
