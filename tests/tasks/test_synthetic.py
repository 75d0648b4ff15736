"""The synthetic stand-ins: their labels, read off their examples by other code."""

import itertools

import numpy as np
import pytest
from examples import assert_same, collect

from lra.errors import UserError
from lra.tasks import TASKS
from lra.tasks.synthetic import SyntheticImage, SyntheticRetrieval, SyntheticText

SOURCES = SyntheticText, SyntheticRetrieval, SyntheticImage
SMALL = {"train": 400, "validation": 50, "test": 60}
SYLLABLES = ("ba", "de", "fi", "go", "ku", "la", "me", "ni", "po", "ru", "sa", "te")
NUMBERS = {"".join(pair): number for number, pair in enumerate(itertools.product(SYLLABLES, SYLLABLES))}


def numbers(row: np.ndarray, length: int) -> list[int]:
    """The words of a document as their places in the vocabulary; any other text is no word."""
    assert not row[length:].any()
    return [NUMBERS[word] for word in bytes(row[:length]).decode().split(" ")]


@pytest.mark.parametrize("kind", SOURCES)
def test_sizes_and_determinism(kind):
    source = kind(**SMALL)
    splits = collect(source.generate())
    assert {split: len(part) for split, part in splits.items()} == SMALL == source.sizes
    task = next(task for task in TASKS.values() if task.source is kind)
    for part in splits.values():
        assert part.inputs.shape == (len(part), *[2] * (task.documents - 1), source.max_length)
        assert part.inputs.dtype == np.uint8
        assert part.lengths.shape == part.inputs.shape[:-1]
        assert part.lengths.min() > 0
    assert_same(collect(kind(**SMALL).generate(2)), splits)
    other = collect(kind(**SMALL, seed=1).generate())
    assert (other["train"].inputs != splits["train"].inputs).any(-1).mean() > 0.9
    assert (splits["train"].inputs[:50] != splits["validation"].inputs).any(-1).mean() > 0.9
    assert list(collect(kind(**SMALL | {"validation": 0}).generate())) == ["train", "test"]


@pytest.mark.parametrize("kind", SOURCES)
def test_labels_are_balanced(kind):
    labels = collect(kind(**SMALL).generate())["train"].labels
    classes = 10 if kind is SyntheticImage else 2
    counts = np.bincount(labels, minlength=classes)
    assert len(counts) == classes
    assert abs(counts - 400 / classes).max() < 5 * (400 / classes) ** 0.5


def test_label_of_a_review_is_the_majority_of_its_telling_words():
    for part in collect(SyntheticText(**SMALL).generate()).values():
        for row, length, label in zip(part.inputs, part.lengths, part.labels):
            words = numbers(row, length)
            bad, good = sum(word < 8 for word in words), sum(8 <= word < 16 for word in words)
            assert bad + good == 5
            assert max(words) < 48
            assert label == (good > bad)


def test_label_of_a_pair_is_whether_its_topics_agree():
    silent = 0
    for part in collect(SyntheticRetrieval(**SMALL).generate()).values():
        for pair, lengths, label in zip(part.inputs, part.lengths, part.labels):
            words = [numbers(row, length) for row, length in zip(pair, lengths)]
            assert all(word < 48 or (word - 48) % 16 < 8 for word in words[0] + words[1])
            topics = [{(word - 48) // 16 for word in document if word >= 48} for document in words]
            if not all(topics):
                silent += 1
                continue
            assert [len(topic) for topic in topics] == [1, 1]
            assert label == (topics[0] == topics[1])
    assert silent < 0.03 * sum(SMALL.values())  # (2/3)**12 of the shortest documents have no word on their topic


@pytest.mark.parametrize("side", [12, 20])
def test_label_of_a_picture_is_the_cell_of_its_disc(side):
    for part in collect(SyntheticImage(**SMALL, side=side).generate()).values():
        assert (part.lengths == side**2).all()
        for row, label in zip(part.inputs.reshape(-1, side, side), part.labels):
            y, x = np.argwhere(row >= 128).mean(0)
            assert label == int(y // (side / 2)) * 5 + int(x // (side / 5))


@pytest.mark.parametrize("kind", SOURCES)
def test_they_are_not_read_from_files(kind, tmp_path):
    with pytest.raises(UserError, match="--from"):
        kind().read(tmp_path, 1, pytest.fail)
