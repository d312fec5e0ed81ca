import pytest
import torch
from torch import nn

import torchattr as ta
from torchattr.errors import OutputError
from torchattr.models import LoadedModel
from torchattr.runs.score_reader import ScoreReader


class Scores(nn.Module):
    """Returns a fixed output, so that the reader is tested alone."""

    def __init__(self, output):
        super().__init__()
        self.output = output

    def forward(self, x):
        return self.output


def reader(output, key=None, activation="softmax"):
    return ScoreReader(
        LoadedModel("fake", Scores(output), lambda image: None, None, activation), key
    )


def test_scores_become_probabilities_as_the_model_means_them():
    raw = torch.tensor([[0.0, 2.0]])
    softmax = reader(raw).answer(torch.ones(1, 3, 4, 4))
    sigmoid = reader(raw, activation="sigmoid").answer(torch.ones(1, 3, 4, 4))
    torch.testing.assert_close(softmax.probabilities, raw[0].softmax(0))
    torch.testing.assert_close(sigmoid.probabilities, raw[0].sigmoid())
    assert softmax.bounded
    assert not reader(raw, activation="none").answer(torch.ones(1, 3, 4, 4)).bounded


def test_only_scores_of_classes_are_made_probabilities():
    read = reader(torch.ones(1, 2), activation="sigmoid")
    assert read.activation(read.answer(torch.ones(1, 3, 4, 4))) == "sigmoid"
    segments = reader(torch.ones(1, 2, 3, 3))
    assert segments.activation(segments.answer(torch.ones(1, 3, 4, 4))) == "none"


def test_a_segmentation_is_read_by_the_pixels_that_each_class_wins():
    raw = torch.tensor([[[[3.0, 1.0]], [[2.0, 5.0]], [[0.0, 4.0]]]])
    read = reader({"out": raw, "aux": raw + 1})
    answer = read.answer(torch.ones(1, 3, 4, 4))
    assert answer.is_share
    assert answer.probabilities.tolist() == [0.5, 0.5, 0.0]
    assert read.scores({"out": raw}).tolist() == [[3.0, 5.0, 0.0]]


def test_a_segmentation_can_be_explained():
    conv = nn.Conv2d(3, 4, 1).double()
    x = torch.rand(1, 3, 5, 6, dtype=torch.float64)
    read = reader(None)
    grads = ta.Saliency(conv, output=read.scores).attribute(x, target=2, abs=False)
    won = (conv(x).argmax(1) == 2).double()
    torch.testing.assert_close(grads, won[:, None] * conv.weight[2].detach()[None])


def test_the_entry_can_be_chosen():
    first, second = torch.zeros(1, 2), torch.tensor([[1.0, 0.0]])
    answer = reader({"a": first, "b": second}, key="b").answer(torch.ones(1, 3, 4, 4))
    assert answer.probabilities.argmax() == 0
    with pytest.raises(OutputError, match="output="):
        reader({"a": first, "b": second}).answer(torch.ones(1, 3, 4, 4))


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (torch.zeros(1, 2, 3), r"scores of the shape \(1, 2, 3\); needed are \(N, classes\)"),
        (torch.tensor([[1.0, float("nan")]]), "hold NaN or infinite values"),
    ],
)
def test_answers_that_cannot_be_explained(raw, said):
    with pytest.raises(OutputError, match=said):
        reader(raw).answer(torch.ones(1, 3, 4, 4))
