"""Heads and protocols against scikit-learn, closed forms and hand-made cases."""

import hashlib

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from hares_tf.evaluation import EvaluationError
from hares_tf.evaluation.heads import Examples, LinearSVM, Standardizer, clip_scores
from hares_tf.evaluation.logistic import LogisticPath
from hares_tf.evaluation.metrics import accuracy
from hares_tf.evaluation.protocols import LINEAR_C, PROTOCOLS, SVM_C, every_fifth


def _blobs(rows, dim, classes, seed=0, spread=1.5):
    random = np.random.default_rng(seed)
    centres = random.normal(size=(classes, dim))
    labels = np.arange(rows) % classes
    mixing = random.normal(size=(dim, dim)) / np.sqrt(dim)
    embeddings = (centres[labels] + spread * random.normal(size=(rows, dim))) @ mixing
    return embeddings.astype(np.float32), labels


def _objective(weights, bias, embeddings, labels, c):
    """Summed cross-entropy + |W|^2 / 2C in float64, as the protocol states it."""
    logits = embeddings.astype(np.float64) @ weights + bias
    logits -= logits.max(axis=1, keepdims=True)
    log_sum = np.log(np.exp(logits).sum(axis=1))
    loss = np.sum(log_sum - logits[np.arange(len(labels)), labels])
    return loss + np.sum(np.asarray(weights, np.float64) ** 2) / (2 * c)


def _solution(path):
    weights = path._weights if path._basis is None else path._basis @ path._weights
    return weights, path._bias


@pytest.mark.parametrize(("rows", "dim"), [(300, 20), (60, 200)], ids=["tall", "wide"])
@pytest.mark.parametrize("classes", [2, 5])
def test_logistic_regression_minimises_the_stated_objective(rows, dim, classes):
    embeddings, labels = _blobs(rows, dim, classes)
    embeddings = Standardizer(embeddings)(embeddings)
    path = LogisticPath(embeddings, labels, classes)
    for c in (1e-3, 0.1, 10.0):
        path.fit(c)
        assert path.converged
        ours = _objective(*_solution(path), embeddings, labels, c)
        # scikit-learn to the limit of its solver; for two classes it fits one vector w = w1 - w2,
        # whose penalty |w|^2 is twice that of the pair.
        peer = LogisticRegression(C=c if classes > 2 else 2 * c, tol=1e-10, max_iter=100_000)
        peer.fit(embeddings.astype(np.float64), labels)
        weights, bias = peer.coef_.T, peer.intercept_
        if classes == 2:
            weights, bias = np.hstack([-weights, weights]) / 2, np.hstack([-bias, bias]) / 2
        best = _objective(weights, bias, embeddings, labels, c)
        # Both minimise the same strictly convex function: neither may be lower by more than the
        # stopping rule (1e-5 in the whitened gradient of the mean).
        assert ours == pytest.approx(best, rel=1e-4, abs=1e-4)
        shift = (bias - _solution(path)[1]).mean()  # the bias is free up to a constant
        # The minimum is flat, so logits agree less closely than objectives: to 1% of their range.
        expected = embeddings @ weights + bias
        np.testing.assert_allclose(
            path.logits(embeddings) + shift, expected, atol=0.01 * np.abs(expected).max()
        )


def test_logistic_path_does_not_depend_on_where_it_starts():
    embeddings, labels = _blobs(200, 30, 4)
    warm, cold = (LogisticPath(embeddings, labels, 4) for _ in range(2))
    for c in LINEAR_C[:6]:
        warm.fit(c)
    cold.fit(LINEAR_C[5])
    np.testing.assert_allclose(warm.logits(embeddings), cold.logits(embeddings), atol=0.05)


def test_classes_without_rows_are_never_predicted():
    embeddings, labels = _blobs(60, 10, 3)
    labels = np.array([0, 2, 3])[labels]
    path = LogisticPath(embeddings, labels, 5)
    path.fit(1.0)
    svm = LinearSVM(embeddings, labels, 5, 1e-2)
    for logits in (path.logits(embeddings), svm.logits(embeddings)):
        assert logits.shape == (60, 5)
        assert set(np.argmax(logits, axis=1)) <= {0, 2, 3}
        assert np.all(np.isneginf(logits[:, [1, 4]]))


def test_two_class_svm_gives_two_columns():
    embeddings, labels = _blobs(60, 10, 2, spread=0.3)
    svm = LinearSVM(embeddings, labels, 2, 1e-2)
    assert accuracy(svm.logits(embeddings), labels) == 100.0


def test_standardizer():
    random = np.random.default_rng(0)
    embeddings = (random.normal(size=(500, 4)) * [1, 5, 0.1, 0] + [0, 100, -3, 7]).astype(
        np.float32
    )
    result = Standardizer(embeddings)(embeddings)
    np.testing.assert_allclose(result[:, :3].mean(axis=0), 0, atol=1e-4)
    np.testing.assert_allclose(result[:, :3].std(axis=0), 1, atol=1e-4)
    assert np.all(result[:, 3] == 0)


def test_clip_scores_are_means_of_window_logits():
    logits = np.array([[1.0, 0], [3, 0], [0, 5], [1, 1], [4, 4], [1, 7]])
    expected = [[2, 0], [0, 5], [2, 4]]
    np.testing.assert_array_equal(clip_scores(logits, np.array([2, 1, 3])), expected)


def test_accuracy():
    scores = np.array([[1, 0], [0, 1], [1, 0], [1, 1]])
    assert accuracy(scores, np.array([0, 1, 1, 0])) == 75.0


def _examples(embeddings, labels, parts, rows_per_clip=None):
    clips = len(labels)
    return Examples(
        embeddings=embeddings,
        rows_per_clip=np.ones(clips, int) if rows_per_clip is None else rows_per_clip,
        labels=labels,
        parts=np.array(parts),
        ids=tuple(f"clip{i}" for i in range(clips)),
        n_classes=int(labels.max()) + 1,
    )


def test_select_keeps_rows_with_their_clips():
    embeddings = np.arange(12, dtype=np.float32).reshape(6, 2)
    examples = _examples(embeddings, np.array([0, 1, 1]), list("abc"), np.array([1, 3, 2]))
    chosen = examples.select(np.array([True, False, True]))
    np.testing.assert_array_equal(chosen.embeddings, embeddings[[0, 4, 5]])
    assert chosen.ids == ("clip0", "clip2") and chosen.row_labels.tolist() == [0, 1, 1]


def test_every_fifth_is_by_label_and_sha1():
    labels = np.array([0] * 11 + [1] * 4)
    examples = _examples(np.zeros((15, 1), np.float32), labels, ["train"] * 15)
    mask = every_fifth(examples, np.ones(15, bool))
    order = sorted(range(11), key=lambda i: hashlib.sha1(f"clip{i}".encode()).hexdigest())
    assert sorted(np.flatnonzero(mask)) == sorted([order[4], order[9]])
    with pytest.raises(EvaluationError, match="validation"):
        every_fifth(examples, np.arange(15) >= 11)


def _split_task(seed, spread, validation=True, shuffle_labels=False):
    embeddings, labels = _blobs(240, 12, 4, seed, spread)
    parts = np.array((["train"] * 3 + ["validation" if validation else "train", "test"]) * 48)
    if shuffle_labels:
        labels = np.random.default_rng(1).permutation(labels)
    return _examples(embeddings, labels, parts)


@pytest.mark.parametrize("validation", [True, False])
def test_fast_linear(validation):
    run = PROTOCOLS["fast"].run
    outcome = run("linear", "accuracy", _split_task(0, 0.5, validation))
    assert outcome.score > 95 and outcome.n_test == 48
    assert outcome.details["c"] in LINEAR_C
    assert ("split" in outcome.details["c_chosen_on"]) == validation
    chance = run("linear", "accuracy", _split_task(0, 0.5, validation, shuffle_labels=True))
    assert chance.score < 50


def test_fast_linear_chooses_and_refits_as_stated():
    examples = _split_task(3, 2.0)
    outcome = PROTOCOLS["fast"].run("linear", "accuracy", examples)
    train = examples.select(examples.parts == "train")
    validation = examples.select(examples.parts == "validation")
    both = examples.select(np.isin(examples.parts, ("train", "validation")))
    test = examples.select(examples.parts == "test")

    def score(fitted, scored, c):
        standardize = Standardizer(fitted.embeddings)
        peer = LogisticRegression(C=c, tol=1e-8, max_iter=10_000)
        peer.fit(standardize(fitted.embeddings), fitted.labels)
        return 100 * peer.score(standardize(scored.embeddings), scored.labels)

    by_c = [score(train, validation, c) for c in LINEAR_C]
    assert list(outcome.details["validation_scores"].values()) == pytest.approx(by_c)
    best = LINEAR_C[int(np.argmax(by_c))]
    assert outcome.details["c"] == best
    assert outcome.score == pytest.approx(score(both, test, best))


def test_ties_go_to_the_smaller_c():
    outcome = PROTOCOLS["fast"].run("linear", "accuracy", _split_task(0, 0.01))
    scores = outcome.details["validation_scores"]
    assert len({v for v in scores.values() if v == 100}) == 1
    assert outcome.details["c"] == min(float(c) for c, v in scores.items() if v == 100)


def test_test_clips_decide_nothing_but_the_score():
    """Spoiling the test labels moves the score and nothing else."""
    examples = _split_task(0, 1.0)
    spoiled_labels = examples.labels.copy()
    spoiled_labels[examples.parts == "test"] = 0
    spoiled = _examples(examples.embeddings, spoiled_labels, examples.parts)
    one, other = (PROTOCOLS["fast"].run("linear", "accuracy", e) for e in (examples, spoiled))
    assert one.details == other.details and one.score != other.score


def _fold_task(spread, shuffle_labels=False):
    embeddings, labels = _blobs(150, 12, 3, 0, spread)
    if shuffle_labels:
        labels = np.random.default_rng(1).permutation(labels)
    return _examples(embeddings, labels, [str(i // 30 + 1) for i in range(150)])


def test_fast_svm():
    outcome = PROTOCOLS["fast"].run("svm", "accuracy", _fold_task(0.3))
    assert outcome.score > 95 and outcome.n_test == 150
    assert list(outcome.details["fold_scores"]) == ["1", "2", "3", "4", "5"]
    assert outcome.score == pytest.approx(np.mean(list(outcome.details["fold_scores"].values())))
    assert PROTOCOLS["fast"].run("svm", "accuracy", _fold_task(0.3, True)).score < 55


def test_fast_svm_is_nested_as_stated():
    """One outer fold by hand: C by leave-one-fold-out inside the others, refit, score."""
    examples = _fold_task(2.0)
    outcome = PROTOCOLS["fast"].run("svm", "accuracy", examples)

    def score(fit_folds, test_fold, c):
        train = examples.select(np.isin(examples.parts, fit_folds))
        test = examples.select(examples.parts == test_fold)
        standardize = Standardizer(train.embeddings)
        svm = LinearSVM(standardize(train.embeddings), train.labels, 3, c)
        return accuracy(svm.logits(standardize(test.embeddings)), test.labels)

    inner = ["1", "2", "3", "5"]
    means = [
        np.mean([score([f for f in inner if f != held], held, c) for held in inner]) for c in SVM_C
    ]
    c = SVM_C[int(np.argmax(means))]
    assert outcome.details["c"]["4"] == c
    assert outcome.details["fold_scores"]["4"] == pytest.approx(score(inner, "4", c))
