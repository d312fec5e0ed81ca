"""What holds for all tests."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

# Without a GPU, Triton's kernels run in its interpreter. It must know before anything imports it.
if not torch.cuda.is_available():
    os.environ.setdefault("TRITON_INTERPRET", "1")

# So the fixtures of the command's tests are loaded after this.
pytest_plugins = ["command"]

# One thread for each test process: results then depend on nothing else.
torch.set_num_threads(1)

# The benchmarks are not installed. They come last, so that the installed package is what is tested.
sys.path.append(str(Path(__file__).parents[1]))

SEED = 0

# Newer versions of torch begin with another seed in each process; what is made at import is not to.
torch.manual_seed(SEED)


@pytest.fixture(autouse=True)
def same_seed() -> None:
    torch.manual_seed(SEED)


@pytest.fixture(autouse=True)
def gradients_stay_enabled() -> Iterator[None]:
    """A generator that is left within `torch.no_grad()` would disable them for what follows."""
    yield
    enabled = torch.is_grad_enabled()
    torch.set_grad_enabled(True)
    assert enabled
