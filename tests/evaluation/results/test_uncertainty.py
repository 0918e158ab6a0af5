"""The bootstrap: closed forms, scikit-learn's weighted average precision, coverage."""

import numpy as np
import pytest
from scipy.stats import binom
from sklearn.metrics import average_precision_score

from hares_tf.evaluation import EvaluationError
from hares_tf.evaluation.results import resampling
from hares_tf.evaluation.results.metrics import METRICS
from hares_tf.evaluation.results.uncertainty import bootstrap, paired
from hares_tf.evaluation.tasks.labels import Labels

CLASSES = Labels.classes("ab")
TAGS = Labels.tags("abc")


def _classes(right, clips=400):
    """Scores that answer the first `right` clips right."""
    scores = np.zeros((clips, 2))
    scores[:right, 1] = 1
    return scores, np.ones((clips, 1), int)


def _tags(clips=120, seed=0, shift=1.0):
    random = np.random.default_rng(seed)
    targets = (random.random((clips, 3)) < [0.5, 0.2, 0.05]).astype(np.float32)
    return (random.normal(size=(clips, 3)) + shift * targets).astype(np.float32), targets


def test_interval_of_accuracy_is_the_binomial():
    """The share of right answers in a resample is binomial."""
    scores, targets = _classes(300)
    found = bootstrap(scores, targets, CLASSES, "accuracy", resamples=20_000)
    expected = 100 * binom.ppf([0.025, 0.975], 400, 0.75) / 400
    assert found == pytest.approx(expected, abs=0.26)


def test_folds_are_drawn_apart_and_averaged():
    """A small fold that is all right and a large one that is all wrong: nothing varies."""
    labels = Labels.classes(("a", "b"))
    targets = np.zeros((30, 1), np.int32)
    right = np.arange(30) < 3
    scores = np.stack([right, ~right], axis=1).astype(np.float32)
    folds = np.where(right, "1", "2")
    assert bootstrap(scores, targets, labels, "accuracy", folds=folds) == (50.0, 50.0)
    low, high = bootstrap(scores, targets, labels, "accuracy")
    assert low < 10 < high < 50


def test_interval_of_exact_match():
    labels = Labels.slots({"one": "ab", "two": "ab"})
    scores, targets = _classes(300)
    both = np.hstack([scores, scores])
    found = bootstrap(both, np.hstack([targets, targets]), labels, "exact_match")
    assert found == bootstrap(scores, targets, CLASSES, "accuracy")


def test_weighted_average_precision_is_scikit_learns():
    random = np.random.default_rng(0)
    for _ in range(50):
        clips = random.integers(2, 40)
        scores = random.integers(0, 6, clips).astype(float)  # with ties
        scores[scores == 0] = -np.inf
        present = random.random(clips) < 0.4
        present[0] = True
        weights = random.integers(0, 3, (clips, 4)).astype(np.float32)
        found = resampling._weighted_precision(scores, present)(weights)
        ranks = np.unique(scores, return_inverse=True)[1]
        for precision, weight in zip(found, weights.T, strict=True):
            if not weight[present].any():
                assert np.isnan(precision)
                continue
            expected = average_precision_score(present, ranks, sample_weight=weight)
            assert precision == pytest.approx(expected, abs=1e-6)


def test_resampled_mean_average_precision_is_the_metric_of_copied_clips():
    """Also where a tag is in no clip of a resample."""
    scores, targets = _tags(clips=30, seed=3)
    (weights,) = resampling._weights(30, 40, seed=1)
    found = resampling._weighted_map(scores, targets, TAGS)(weights)
    metric = METRICS["mean_average_precision"].function
    dropped = 0
    for value, weight in zip(found, weights.T, strict=True):
        copies = np.repeat(np.arange(30), weight.astype(int))
        assert len(copies) == 30
        dropped += METRICS["mean_average_precision"].scored_labels(targets[copies], TAGS) < 3
        assert value == pytest.approx(metric(scores[copies], targets[copies], TAGS), abs=1e-4)
    assert 0 < dropped < 40


@pytest.mark.parametrize("name", ["accuracy", "mean_average_precision"])
def test_the_same_for_the_same_seed_and_any_size_of_block(name, monkeypatch):
    if name == "accuracy":
        (scores, targets), labels = _classes(300), CLASSES
    else:
        (scores, targets), labels = _tags(), TAGS
    low, high = bootstrap(scores, targets, labels, name, resamples=200, seed=3)
    monkeypatch.setattr(resampling, "_BLOCK_BYTES", 4 * len(scores) * 7)
    assert bootstrap(scores, targets, labels, name, resamples=200, seed=3) == (low, high)
    assert bootstrap(scores, targets, labels, name, resamples=200, seed=4) != (low, high)
    assert low < METRICS[name].function(scores, targets, labels) < high


def test_intervals_cover():
    """Of 200 samples of 150 clips with a true accuracy of 70%, about 95% have it inside."""
    random = np.random.default_rng(0)
    inside = 0
    for _ in range(200):
        scores, targets = _classes(random.binomial(150, 0.7), 150)
        low, high = bootstrap(scores, targets, CLASSES, "accuracy", resamples=300)
        inside += low <= 70 <= high
    assert 180 <= inside <= 199


def test_paired_uses_that_both_are_scored_on_the_same_clips():
    """Ten answers apart on the same clips: each interval alone is wide, the difference is sure."""
    scores_a, targets = _classes(300)
    scores_b, _ = _classes(290)
    found = paired(scores_a, scores_b, targets, CLASSES, "accuracy", resamples=20_000)
    # b is wrong where a is right on 10 of 400 clips: so many such in a resample are binomial.
    expected = 100 * binom.ppf([0.025, 0.975], 400, 10 / 400) / 400
    assert found["difference"] == pytest.approx(2.5)
    assert (found["low"], found["high"]) == pytest.approx(tuple(expected), abs=0.26)
    assert found["p_superior"] > 0.999


def test_paired_is_antisymmetric_and_a_model_equals_itself():
    scores_a, targets = _tags(seed=0)
    scores_b = scores_a + np.random.default_rng(1).normal(size=scores_a.shape)
    one = paired(scores_a, scores_b, targets, TAGS, "mean_average_precision", resamples=200)
    other = paired(scores_b, scores_a, targets, TAGS, "mean_average_precision", resamples=200)
    assert one["difference"] == -other["difference"] > 0
    assert (one["low"], one["high"]) == pytest.approx((-other["high"], -other["low"]))
    assert one["p_superior"] == pytest.approx(1 - other["p_superior"])
    same = paired(scores_a, scores_a, targets, TAGS, "mean_average_precision", resamples=50)
    assert same == {"difference": 0.0, "low": 0.0, "high": 0.0, "p_superior": 0.5}


def test_scores_of_other_clips_cannot_be_paired():
    scores, targets = _classes(300)
    with pytest.raises(EvaluationError, match="same clips"):
        paired(scores, scores[1:], targets, CLASSES, "accuracy")
