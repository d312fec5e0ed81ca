"""One thread for each test process: results and timings then depend on nothing else."""

import torch

torch.set_num_threads(1)
