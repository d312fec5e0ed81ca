"""Train the network on two processor cores.

``python -m torchattr.models.collage.making.train`` writes ``weights.safetensors`` and prints the
figures on unseen scenes. The seed determines the initial weights and every scene.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from torchattr.models.collage.inputs import preprocess
from torchattr.models.collage.making.evaluate import EVALUATION_SEED, evaluate, truth
from torchattr.models.collage.making.scenes import scene
from torchattr.models.collage.net import CLASSES, CollageNet

THREADS = 2
BATCH = 64
STEPS = 900
PEAK_RATE = 4e-3
WEIGHT_DECAY = 0.02
FRESH_SCENES = 4000
_OUT = Path(__file__).parents[1] / "weights.safetensors"

Sample = tuple[NDArray[np.uint8], Tensor]


class Scenes(Dataset[Sample]):
    """The scenes of a series with their labels."""

    def __init__(self, seed: int, count: int) -> None:
        self.seed = seed
        self.count = count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Sample:
        made = scene(self.seed, index)
        return made.image, truth(made.labels)


def collate(samples: Sequence[Sample]) -> tuple[Tensor, Tensor]:
    """Return inputs (N, 3, H, W) and labels (N, classes)."""
    inputs = preprocess.normalised(np.stack([image for image, _ in samples]))
    return inputs, torch.stack([labels for _, labels in samples])


def train(seed: int, steps: int = STEPS) -> CollageNet:
    """Return the network after `steps` batches of the scenes of `seed`, in evaluation mode."""
    torch.manual_seed(seed)
    net = CollageNet(len(CLASSES)).to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(net.parameters(), lr=PEAK_RATE, weight_decay=WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, PEAK_RATE, total_steps=steps)
    data = Scenes(seed, steps * BATCH)
    loader = DataLoader(data, BATCH, num_workers=THREADS, collate_fn=collate, prefetch_factor=4)
    started = time.monotonic()
    for step, (inputs, labels) in enumerate(loader, start=1):
        loss = nn.functional.binary_cross_entropy_with_logits(net(inputs), labels)
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
        schedule.step()
        if step % 50 == 0:
            spent = time.monotonic() - started
            sys.stdout.write(f"step {step}/{steps}  loss {loss.item():.4f}  {spent:.0f} s\n")
    return net.to(memory_format=torch.contiguous_format).eval()


def main() -> None:
    """Train, write the weights, and print the figures on unseen scenes."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--seed", type=int, default=0, help="seed of weights and scenes")
    parser.add_argument("--steps", type=int, default=STEPS, help=f"batches of {BATCH} scenes")
    parser.add_argument("--out", type=Path, default=_OUT, help="where to write the weights")
    options = parser.parse_args()
    if options.seed == EVALUATION_SEED:
        parser.error(f"--seed {EVALUATION_SEED} is the seed of the evaluation; choose another")
    torch.set_num_threads(THREADS)
    net = train(options.seed, options.steps)
    save_file(net.state_dict(), options.out)
    sys.stdout.write(f"{evaluate(net, FRESH_SCENES)}\n")


if __name__ == "__main__":
    main()
