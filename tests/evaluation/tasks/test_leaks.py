"""Warnings where the length of clips, or the number of their windows, tells the label."""

import numpy as np
import pytest

from hares_tf.evaluation.tasks.leaks import warn_if_predicted


def labels(count=300, classes=3):
    return np.arange(count) % classes


RANDOM = np.random.default_rng(0)
LEAKS = {
    "one label is longer": np.where(labels() == 2, 2, 1),
    "lengths overlap": np.where(labels() == 2, 1.3, 1.0) + RANDOM.normal(0, 0.1, 300),
    "in the middle": np.where(labels() == 1, 2.0, RANDOM.choice([1.0, 3.0], 300)),
}
HARMLESS = {
    "all alike": np.ones(300),
    "by chance": RANDOM.uniform(1, 5, 300),
    "a few windows, by chance": RANDOM.integers(1, 4, 300),
    "one clip": np.where(np.arange(300) == 7, 9, 1),
}


@pytest.mark.parametrize("values", LEAKS.values(), ids=LEAKS)
def test_leaks(values):
    sentence = warn_if_predicted("The length of a clip", values, labels())
    assert sentence.startswith("The length of a clip alone tells the label of")


@pytest.mark.parametrize("values", HARMLESS.values(), ids=HARMLESS)
def test_harmless_lengths(values):
    assert warn_if_predicted("The length of a clip", values, labels()) is None


def test_figures():
    sentence = warn_if_predicted("It", np.where(labels() == 2, 2, 1), labels())
    assert "67% of the clips (the most frequent label: 33%)" in sentence


def test_chance_seldom_warns():
    random = np.random.default_rng(1)
    warned = [
        warn_if_predicted("It", random.uniform(size=200), random.integers(5, size=200))
        for _ in range(300)
    ]
    assert sum(map(bool, warned)) <= 3


@pytest.mark.parametrize("count", [0, 1, 19])
def test_a_few_clips_say_nothing(count):
    assert warn_if_predicted("It", range(count), [n % 2 for n in range(count)]) is None
