"""Wilson's interval: SciPy's, its edges, and how it is recognized; means and differences."""

import numpy as np
import pytest
from scipy.stats import binomtest

from hares_tf.evaluation.results.intervals import (
    difference_interval,
    effective_clips,
    is_wilson,
    mean_interval,
    wilson,
)
from hares_tf.evaluation.results.uncertainty import bootstrap, interval
from hares_tf.evaluation.tasks.labels import Labels


def answers(right, clips):
    """Scores that answer the first `right` of some clips right, and their targets."""
    scores = np.zeros((clips, 2), np.float32)
    scores[:right, 1] = 1
    return scores, np.ones((clips, 1), np.int32)


@pytest.mark.parametrize(
    ("right", "clips"), [(0, 1), (1, 1), (0, 60), (60, 60), (1, 7), (31, 40), (19_999, 20_000)]
)
def test_it_is_scipys(right, clips):
    expected = binomtest(right, clips).proportion_ci(0.95, method="wilson")
    found = wilson(100 * right / clips, clips)
    assert found == pytest.approx((100 * expected.low, 100 * expected.high), abs=1e-9)
    assert 0 <= found[0] <= 100 * right / clips <= found[1] <= 100
    assert found[0] < found[1]


def test_folds_of_equal_size_count_as_all_their_clips():
    assert effective_clips([400] * 5) == pytest.approx(2000)
    # The variance of the mean of two folds is a quarter of the sum of theirs.
    assert 1 / effective_clips([3, 27]) == pytest.approx((1 / 3 + 1 / 27) / 4)


def test_new_results_have_wilsons_interval_of_shares_alone():
    labels = Labels.classes("ab")
    scores, targets = answers(60, 60)
    assert bootstrap(scores, targets, labels, "accuracy") == (100, 100)
    assert interval(100, scores, targets, labels, "accuracy") == wilson(100, 60)
    folds = np.arange(60) < 12
    found = interval(100, scores, targets, labels, "accuracy", folds)
    assert found == wilson(100, effective_clips([12, 48]))
    # The mean over several heads is the score, whatever the first of them answers.
    assert interval(75, scores, targets, labels, "accuracy") == wilson(75, 60)
    tags = Labels.tags("ab")
    present = (np.arange(120) % 3 < 1).reshape(60, 2).astype(np.float32)
    noisy = present + np.random.default_rng(0).normal(size=present.shape)
    found = interval(50, noisy, present, tags, "mean_average_precision")
    assert found == bootstrap(noisy, present, tags, "mean_average_precision")


def test_wilsons_interval_is_recognized():
    for right in range(0, 61):
        percent = 100 * right / 60
        assert is_wilson(percent, wilson(percent, 60), 60)
    assert is_wilson(40, wilson(40, effective_clips([3, 27])), 30)
    scores, targets = answers(45, 60)
    assert not is_wilson(75, bootstrap(scores, targets, Labels.classes("ab"), "accuracy"), 60)
    assert not is_wilson(100, (100, 100), 60)
    assert not is_wilson(50, (49, 51), 60)  # as narrow as of ten thousand clips


def test_mean_and_difference_of_symmetric_intervals_add_variances():
    assert mean_interval([50, 70], [(47, 53), (66, 74)]) == pytest.approx((57.5, 62.5))
    assert difference_interval(70, (66, 74), 50, (47, 53)) == pytest.approx((15, 25))
    # The side of each interval that the end depends on counts.
    assert difference_interval(70, (66, 70), 50, (50, 53)) == pytest.approx((15, 20))
    assert mean_interval([50, 70], [(47, 53), None]) is None
    assert mean_interval([], []) is None
    assert mean_interval([60], [(50, 65)]) == pytest.approx((50, 65))


def test_mean_intervals_cover():
    """Of 300 means of three accuracies, about 95% of the intervals hold the true one."""
    random, truth, inside = np.random.default_rng(0), np.array([0.97, 0.8, 0.5]), 0
    for _ in range(300):
        scores = (100 * random.binomial(60, truth) / 60).tolist()
        low, high = mean_interval(scores, [wilson(score, 60) for score in scores])
        inside += low <= 100 * truth.mean() <= high
    assert 275 <= inside <= 297
