"""Metrics by hand and against scikit-learn."""

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, recall_score

from hares_tf.evaluation import EvaluationError
from hares_tf.evaluation.results.metrics import (
    METRICS,
    accuracy,
    exact_match,
    mean_average_precision,
    per_label,
)
from hares_tf.evaluation.tasks.labels import Labels

CLASSES = Labels.classes("abc")
SLOTS = Labels.slots({"one": "ab", "two": "cde"})
TAGS = Labels.tags("abcd")


def test_accuracy_by_hand():
    scores = np.array([[1, 0, 0], [0, 1, 0], [1, 0, 0], [1, 1, 0]])
    # The last two scores are equal: the first class is the answer.
    assert accuracy(scores, np.array([[0], [1], [1], [0]]), CLASSES) == 75.0
    assert accuracy(scores, np.array([[0], [1], [1], [1]]), CLASSES) == 50.0


def test_exact_match_needs_every_slot():
    scores = np.array([[9, 0, 0, 0, 1], [9, 0, 0, 0, 1], [0, 1, 5, 0, 9], [0, 1, 5, 0, 9]])
    targets = np.array([[0, 2], [1, 2], [1, 0], [1, 2]])
    assert exact_match(scores, targets, SLOTS) == 50.0
    with pytest.raises(EvaluationError, match="exact_match"):
        accuracy(scores, targets, SLOTS)


def test_minus_infinity_is_never_the_answer_unless_all_are():
    scores = np.array([[-np.inf, -5, -np.inf], [-np.inf, -np.inf, -np.inf]], np.float32)
    assert accuracy(scores, np.array([[1], [0]]), CLASSES) == 100.0


def test_average_precision_by_hand():
    scores = np.array([[4.0], [3.0], [2.0], [1.0]])
    targets = np.array([[1.0], [0.0], [1.0], [0.0]])
    # Precision 1/1 at the first positive, 2/3 at the second.
    expected = 100 * (1 + 2 / 3) / 2
    assert mean_average_precision(scores, targets, Labels.tags("a")) == pytest.approx(expected)


def test_average_precision_of_equal_scores_is_the_share_of_positives():
    targets = np.array([[1.0], [0.0], [0.0], [0.0]])
    for value in (0.0, -np.inf):
        scores = np.full((4, 1), value)
        assert mean_average_precision(scores, targets, Labels.tags("a")) == pytest.approx(25)


def test_mean_average_precision_is_over_the_tags_that_occur():
    random = np.random.default_rng(0)
    scores = random.integers(5, size=(60, 4)).astype(np.float32)
    targets = (random.random((60, 4)) < [0.5, 0.1, 0, 0.9]).astype(np.float32)
    occur = [0, 1, 3]
    expected = {
        "abcd"[k]: 100 * average_precision_score(targets[:, k], scores[:, k]) for k in occur
    }
    assert per_label(scores, targets, TAGS) == pytest.approx(expected)
    found = mean_average_precision(scores, targets, TAGS)
    assert found == pytest.approx(np.mean(list(expected.values())))
    assert METRICS["mean_average_precision"].scored_labels(targets, TAGS) == 3
    # Any increasing function of the scores has the same order, one to minus infinity as well.
    with np.errstate(divide="ignore"):
        assert mean_average_precision(np.log(scores), targets, TAGS) == pytest.approx(found)


def test_without_any_tag_there_is_no_mean_average_precision():
    with pytest.raises(EvaluationError, match="None of the clips to score has a tag"):
        mean_average_precision(np.zeros((3, 4)), np.zeros((3, 4)), TAGS)


@pytest.mark.parametrize("name", METRICS)
def test_scores_that_are_not_numbers_are_refused(name):
    labels = TAGS if name == "mean_average_precision" else CLASSES
    targets = np.ones((2, 4)) if labels is TAGS else np.zeros((2, 1), int)
    scores = np.zeros((2, labels.width))
    scores[1, 2] = np.nan
    with pytest.raises(EvaluationError, match="NaN"):
        METRICS[name].function(scores, targets, labels)


def test_recall_of_classes_and_slots():
    random = np.random.default_rng(0)
    scores, targets = random.normal(size=(50, 5)), random.integers([2, 3], size=(50, 2))
    targets[targets[:, 1] == 1, 1] = 2
    recalls = [
        recall_score(targets[:, k], scores[:, block].argmax(axis=1), labels=names, average=None)
        for k, block, names in ((0, slice(0, 2), [0, 1]), (1, slice(2, 5), [0, 2]))
    ]
    names = ["one=a", "one=b", "two=c", "two=e"]  # no clip has two=d
    expected = dict(zip(names, 100 * np.concatenate(recalls), strict=True))
    assert per_label(scores, targets, SLOTS) == pytest.approx(expected)
    assert METRICS["exact_match"].scored_labels(targets, SLOTS) == 4
