"""Small networks with batch-norms, in every shape of code."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def calibrated(model: nn.Module, *shape: int, seed: int = 0) -> nn.Module:
    """Return a model in float64 and eval mode whose batch-norms have seen data of this shape."""
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        for part in model.modules():
            if isinstance(part, nn.modules.batchnorm._BatchNorm) and part.affine:
                part.weight.uniform_(0.5, 1.5)
                part.bias.uniform_(-0.5, 0.5)
        model.double().train()
        for _ in range(3):
            model(torch.randn(4, *shape, dtype=torch.float64))
    return model.eval()


class Sequential(nn.Sequential):
    def __init__(self) -> None:
        super().__init__(
            *(nn.Conv2d(3, 6, 3, padding=1, bias=False), nn.BatchNorm2d(6), nn.ReLU()),
            *(nn.Conv2d(6, 8, 3, stride=2), nn.BatchNorm2d(8), nn.ReLU(inplace=True)),
            *(nn.Flatten(), nn.Linear(288, 10), nn.BatchNorm1d(10), nn.ReLU(), nn.Linear(10, 5)),
        )


class Net(nn.Module):
    """Two convolutions, each with a batch-norm; subclasses define the forward."""

    def __init__(self, **norm: Any) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 6, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(6, **norm)
        self.conv2 = nn.Conv2d(6, 6, 3, padding=1)
        self.bn2 = nn.BatchNorm2d(6, **norm)
        self.head = nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.features(x).mean((2, 3)))

    def features(self, x: Tensor) -> Tensor:
        return F.relu(self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x))))))


class Functional(Net):
    """Calls the batch-norm in another module than the convolution."""

    def features(self, x: Tensor) -> Tensor:
        first = self.conv1(x)
        return self.rest(first)

    def rest(self, first: Tensor) -> Tensor:
        hidden = torch.relu(self.bn1(input=first))
        hidden = self.conv2(hidden)
        hidden = self.bn2(hidden)
        return hidden.clamp(min=0)


class Residual(Net):
    def features(self, x: Tensor) -> Tensor:
        x = F.relu(self.bn1(self.conv1(x)))
        return F.relu_(self.bn2(self.conv2(x)) + x)


class OtherReader(Net):
    """The output of the first convolution also bypasses its batch-norm."""

    def features(self, x: Tensor) -> Tensor:
        y = self.conv1(x)
        return F.relu(self.bn2(self.conv2(F.relu(self.bn1(y)))) + y)


class Rewriter(Net):
    """Overwrites the output of the convolution before it is normalised."""

    def features(self, x: Tensor) -> Tensor:
        y = self.conv1(x)
        y.mul_(0.5)
        return F.relu(self.bn2(self.conv2(F.relu(self.bn1(y)))))


class SharedConv(Net):
    def features(self, x: Tensor) -> Tensor:
        x = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.bn2(self.conv2(F.relu(self.conv2(x)))))


class SharedNorm(Net):
    def features(self, x: Tensor) -> Tensor:
        return F.relu(self.bn1(self.conv2(F.relu(self.bn1(self.conv1(x))))))


class SharedPair(Net):
    def features(self, x: Tensor) -> Tensor:
        x = F.relu(self.bn1(self.conv1(x)))
        for _ in range(2):
            x = F.relu(self.bn2(self.conv2(x)))
        return x


class TiedWeight(Net):
    def features(self, x: Tensor) -> Tensor:
        x = F.relu(self.bn1(self.conv1(x)))
        x = F.relu(self.bn2(self.conv2(x)))
        return F.relu(F.conv2d(x, self.conv2.weight, padding=1))


class Concatenated(Net):
    def __init__(self) -> None:
        super().__init__()
        self.bn2 = nn.BatchNorm2d(12)
        self.head = nn.Linear(12, 4)

    def features(self, x: Tensor) -> Tensor:
        x = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.bn2(torch.cat((self.conv2(x), x), 1)))


class NormFirst(Net):
    def features(self, x: Tensor) -> Tensor:
        return self.conv2(F.relu(self.bn1(self.conv1(x))).sub(1)) + self.bn2(x.repeat(1, 2, 1, 1))


class Branching(Net):
    """The use of the first convolution's output depends on the input."""

    def features(self, x: Tensor) -> Tensor:
        y = self.conv1(x)
        if x.mean() > 0.5:
            return F.relu(self.conv2(y)) + y
        return F.relu(self.bn2(self.conv2(F.relu(self.bn1(y)))))


class Transposed(nn.Sequential):
    def __init__(self, groups: int = 1) -> None:
        settings: dict[str, Any] = {"stride": 2, "output_padding": 1, "groups": groups}
        super().__init__(
            *(nn.ConvTranspose2d(4, 6, 3, **settings), nn.BatchNorm2d(6), nn.ReLU()),
            *(nn.ConvTranspose2d(6, 4, 3, bias=False, **settings), nn.BatchNorm2d(4), nn.ReLU()),
            nn.Flatten(),
        )


class Sequences(nn.Sequential):
    def __init__(self) -> None:
        super().__init__(
            *(nn.Conv1d(3, 6, 3, padding="same", padding_mode="reflect"), nn.BatchNorm1d(6)),
            *(nn.ReLU(), nn.ConvTranspose1d(6, 4, 3), nn.BatchNorm1d(4), nn.ReLU(), nn.Flatten()),
        )


class Volumes(nn.Sequential):
    def __init__(self) -> None:
        super().__init__(
            *(nn.Conv3d(2, 4, 3, groups=2), nn.BatchNorm3d(4, affine=False), nn.ReLU()),
            *(nn.ConvTranspose3d(4, 4, 2), nn.BatchNorm3d(4), nn.ReLU(), nn.Flatten()),
        )


SHAPES: dict[type[nn.Module], tuple[int, ...]] = {
    **dict.fromkeys((Sequential, Net, Functional, Residual, OtherReader, Rewriter), (3, 14, 14)),
    **dict.fromkeys((SharedConv, SharedNorm, SharedPair, TiedWeight, Concatenated), (3, 14, 14)),
    **dict.fromkeys((NormFirst, Branching), (3, 14, 14)),
    Transposed: (4, 5, 5),
    Sequences: (3, 11),
    Volumes: (2, 6, 6, 6),
}
FOLDED: dict[type[nn.Module], int] = {
    **dict.fromkeys(SHAPES, 2),
    Sequential: 3,
    **dict.fromkeys((OtherReader, Rewriter, SharedConv, SharedPair, TiedWeight), 1),
    **dict.fromkeys((Concatenated, NormFirst), 1),
    SharedNorm: 0,
}
"""Number of batch-norms of each that can be folded."""


def network(kind: type[nn.Module], **options: Any) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        return calibrated(kind(**options), *SHAPES[kind])
