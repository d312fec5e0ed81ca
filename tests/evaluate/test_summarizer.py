"""Summaries of tensors, of tuples, and of classes."""

from __future__ import annotations

import pytest
import torch
from helpers import assert_same, noise, refused

from torchattr.errors import InputError, ShapeError
from torchattr.evaluate import (
    ClassSummarizer,
    Count,
    Mean,
    Min,
    Summarizer,
    SummarizerSingleTensor,
    common_stats,
)


def test_a_tuple_has_a_summary_for_each_tensor() -> None:
    summarizer = Summarizer(common_stats())
    assert summarizer.summary is None
    pairs = [(noise(2, seed=seed), noise(3, seed=seed + 5)) for seed in range(4)]
    for pair in pairs:
        summarizer.update(pair)
    first, second = summarizer.summary
    assert_same(first["mean"], torch.stack([one for one, _ in pairs]).mean(0), 1e-12)
    assert_same(second["sample_variance"], torch.stack([one for _, one in pairs]).var(0), 1e-12)
    assert list(first) == ["mean", "sample_variance", "sample_std_dev", "min", "max"]


def test_numbers_are_summarised_too() -> None:
    summarizer = Summarizer([Mean(), Count()])
    for value in (1.0, 2.0):
        summarizer.update(value)
    assert summarizer.summary == {"mean": torch.tensor(1.5), "count": 2}


def test_given_statistics_are_copied() -> None:
    stats = [Mean()]
    for _ in range(2):
        summarizer = Summarizer(stats)
        summarizer.update(torch.ones(1))
    assert stats[0].get() is None


def test_the_form_must_stay() -> None:
    summarizer = Summarizer([Mean()])
    summarizer.update((torch.ones(1), torch.ones(1)))
    for other in (torch.ones(1), (torch.ones(1),)):
        with refused(InputError, "a tuple of 2"):
            summarizer.update(other)


@pytest.mark.parametrize("labels", [["a", "b", "a"], torch.tensor([7, 8, 7])])
def test_classes_have_their_own(labels: object) -> None:
    x = noise(3, 2)
    summarizer = ClassSummarizer([Mean()])
    summarizer.update(x, labels)
    first, second = summarizer.class_summaries.values()
    assert len(summarizer.class_summaries) == 2
    assert_same(first[0]["mean"], x[::2].mean(0), 1e-12)
    assert_same(second[0]["mean"], x[1], 1e-12)
    assert_same(summarizer.summary[0]["mean"], x.mean(0), 1e-12)


def test_one_label_may_be_for_all() -> None:
    summarizer = ClassSummarizer([Mean()])
    summarizer.update(noise(4, 2), "apple")
    assert list(summarizer.class_summaries) == ["apple"]


def test_without_labels_the_batch_is_one_tensor() -> None:
    summarizer = ClassSummarizer([Mean()])
    summarizer.update(noise(4, 2))
    assert summarizer.summary["mean"].shape == (4, 2)
    assert summarizer.class_summaries == {}


def test_labels_must_fit() -> None:
    with refused(ShapeError, "labels has 2 entries", "3 rows"):
        ClassSummarizer([Mean()]).update(noise(3, 2), [1, 2])


def test_a_single_tensor_shows_some() -> None:
    single = SummarizerSingleTensor([Mean(), Min()], [1])
    single.update(torch.ones(2))
    assert list(single.summary) == ["min"]
    mean = single.get(Mean())
    assert mean is not None
    assert mean.get().tolist() == [1, 1]
    assert single.get(Count()) is None
