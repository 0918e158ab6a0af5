"""Logistic regression against scikit-learn, closed forms and the stated objective."""

import tracemalloc

import numpy as np
import pytest
from scipy.special import expit
from sklearn.linear_model import LogisticRegression

from hares_tf.evaluation import EvaluationError
from hares_tf.evaluation.heads import examples
from hares_tf.evaluation.heads.lbfgs import Lbfgs
from hares_tf.evaluation.heads.logistic import ABSENT_LOGIT, LogisticPath
from hares_tf.evaluation.heads.scaling import Standardizer
from hares_tf.evaluation.tasks.labels import Labels

GRID = tuple(10.0**power for power in range(-4, 4))


def _embeddings(rows, dim, seed=0):
    """Correlated features: a spectrum that decays as 1/i."""
    random = np.random.default_rng(seed)
    latent = random.normal(size=(rows, dim)) / np.sqrt(np.arange(1, dim + 1))
    embeddings = (latent @ random.normal(size=(dim, dim))).astype(np.float32)
    return Standardizer(embeddings)(embeddings)


def _classes(embeddings, classes, seed=1, noise=1.0):
    """Classes that depend on the features, and on noise: they overlap."""
    random = np.random.default_rng(seed)
    logits = embeddings @ random.normal(size=(embeddings.shape[1], classes))
    logits = logits / logits.std() + noise * random.gumbel(size=logits.shape)
    return np.argmax(logits, axis=1)[:, None].astype(np.int32)


def _labels(*widths):
    if len(widths) == 1:
        return Labels.classes(map(str, range(widths[0])))
    return Labels.slots({f"slot{i}": map(str, range(width)) for i, width in enumerate(widths)})


def _tags(width):
    return Labels.tags(map(str, range(width)))


def _peer(embeddings, classes, n_classes, c):
    """Weights and bias of scikit-learn, to the limit of its solver.

    For two classes it fits one vector w = w1 - w2, whose penalty |w|^2 is twice the pair's.
    """
    peer = LogisticRegression(C=c if n_classes > 2 else 2 * c, tol=1e-10, max_iter=100_000)
    peer.fit(embeddings.astype(np.float64), classes)
    weights, bias = peer.coef_.T, peer.intercept_
    if n_classes == 2:
        weights, bias = np.hstack([-weights, weights]) / 2, np.hstack([-bias, bias]) / 2
    return weights, bias


def _softmax_objective(weights, bias, embeddings, classes, c):
    logits = embeddings.astype(np.float64) @ weights + bias
    logits -= logits.max(axis=1, keepdims=True)
    log_sum = np.log(np.exp(logits).sum(axis=1))
    loss = np.sum(log_sum - logits[np.arange(len(classes)), classes])
    return loss + np.sum(np.asarray(weights, np.float64) ** 2) / (2 * c)


def _centered(logits):
    """A softmax does not change with the mean of its logits."""
    return logits - logits.mean(axis=1, keepdims=True)


def _solution(path):
    point = path._point
    return point.weights if path._basis is None else path._basis @ point.weights, point.bias


@pytest.mark.parametrize(("rows", "dim"), [(300, 20), (60, 100)], ids=["tall", "wide"])
@pytest.mark.parametrize("classes", [2, 5])
def test_softmax_minimizes_the_stated_objective(rows, dim, classes):
    embeddings = _embeddings(rows, dim)
    targets = _classes(embeddings, classes)
    path = LogisticPath(embeddings, targets, _labels(classes))
    for c in (1e-3, 0.1, 10.0):
        path.fit(c)
        assert path.converged
        weights, bias = _peer(embeddings, targets[:, 0], classes, c)
        best = _softmax_objective(weights, bias, embeddings, targets[:, 0], c)
        ours = _softmax_objective(*_solution(path), embeddings, targets[:, 0], c)
        assert ours == pytest.approx(best, rel=1e-5)
        # The minimum is flat, so logits agree less closely than objectives.
        expected = _centered(embeddings @ weights + bias)
        found = _centered(path.logits(embeddings))
        np.testing.assert_allclose(found, expected, atol=0.01 * np.abs(expected).max())


def test_where_features_say_nothing_the_bias_is_the_logarithm_of_frequencies():
    targets = np.repeat([0, 1, 2], [70, 20, 10])[:, None]
    path = LogisticPath(np.zeros((100, 3), np.float32), targets, _labels(3))
    path.fit(1.0)
    logits = path.logits(np.zeros((1, 3), np.float32))[0]
    np.testing.assert_allclose(logits - logits[0], np.log([1, 2 / 7, 1 / 7]), atol=1e-5)


def test_separable_classes_reach_the_optimum_where_losses_vanish():
    """Float32 probabilities near one lose what the gradient needs there, unless one takes care."""
    embeddings = _embeddings(200, 40)
    targets = _classes(embeddings, 3, noise=0)
    path = LogisticPath(embeddings, targets, _labels(3))
    for c in GRID:
        path.fit(c)
        assert path.converged
    assert path._point.losses.sum() < 0.1
    best = _softmax_objective(
        *_peer(embeddings, targets[:, 0], 3, GRID[-1]), embeddings, targets[:, 0], GRID[-1]
    )
    ours = _softmax_objective(*_solution(path), embeddings, targets[:, 0], GRID[-1])
    assert ours == pytest.approx(best, rel=1e-3)


def test_no_dependence_on_where_it_starts():
    embeddings = _embeddings(300, 30)
    targets = _classes(embeddings, 4)
    warm, cold = (LogisticPath(embeddings, targets, _labels(4)) for _ in range(2))
    for c in GRID[:6]:
        warm.fit(c)
    cold.fit(GRID[5])
    warm, cold = (_centered(path.logits(embeddings)) for path in (warm, cold))
    np.testing.assert_allclose(warm, cold, atol=0.01 * np.abs(cold).max())


def test_slots_are_independent_regressions():
    embeddings = _embeddings(300, 15)
    widths = (2, 4, 3)
    targets = np.hstack([_classes(embeddings, width, seed=width) for width in widths])
    together = LogisticPath(embeddings, targets, _labels(*widths))
    together.fit(0.1)
    logits = together.logits(embeddings)
    assert together.converged and logits.shape == (300, 9)
    for column, block in enumerate(_labels(*widths).blocks):
        alone = LogisticPath(embeddings, targets[:, [column]], _labels(widths[column]))
        alone.fit(0.1)
        expected = _centered(alone.logits(embeddings))
        np.testing.assert_allclose(_centered(logits[:, block]), expected, atol=0.01)


def test_names_without_rows_are_never_predicted():
    embeddings = _embeddings(90, 10)
    first, second = _classes(embeddings, 3), _classes(embeddings, 2, seed=5)
    targets = np.hstack([np.array([0, 2, 3])[first], 1 + second]).astype(np.int32)
    path = LogisticPath(embeddings, targets, _labels(5, 3))
    path.fit(1.0)
    logits = path.logits(embeddings)
    absent = [1, 4, 5]
    assert path.converged
    assert np.all(np.isneginf(logits[:, absent]))
    assert np.all(np.isfinite(np.delete(logits, absent, axis=1)))


def _binary_peer(embeddings, target, c):
    peer = LogisticRegression(C=c, tol=1e-10, max_iter=100_000)
    peer.fit(embeddings.astype(np.float64), target)
    return peer.decision_function(embeddings)


@pytest.mark.parametrize(("rows", "dim"), [(400, 20), (60, 100)], ids=["tall", "wide"])
def test_tags_are_one_against_the_rest(rows, dim):
    """Frequent and rare ones: each reaches its own optimum."""
    embeddings = _embeddings(rows, dim)
    random = np.random.default_rng(2)
    scores = embeddings @ random.normal(size=(dim, 4)) / np.sqrt(dim)
    scores += random.normal(size=scores.shape)
    shares = (0.5, 0.3, 0.1, 0.05)
    targets = np.stack(
        [s > np.quantile(s, 1 - share) for s, share in zip(scores.T, shares, strict=True)],
        axis=1,
    ).astype(np.float32)
    path = LogisticPath(embeddings, targets, _tags(4))
    for c in (1e-3, 0.1, 10.0):
        path.fit(c)
        assert path.converged
        expected = np.stack([_binary_peer(embeddings, t, c) for t in targets.T], axis=1)
        np.testing.assert_allclose(
            path.logits(embeddings), expected, atol=0.01 * np.abs(expected).max()
        )


def test_soft_targets_of_tags_are_mixtures_of_both_answers():
    """A share of 0.3 is the same as 30 of 100 copies of the row with the tag, 70 without."""
    embeddings = _embeddings(50, 5)
    shares = np.random.default_rng(3).choice([0.0, 0.3, 1.0], size=50)
    path = LogisticPath(embeddings, shares[:, None].astype(np.float32), _tags(1))
    path.fit(0.1)
    peer = LogisticRegression(C=0.1, tol=1e-10, max_iter=100_000)
    peer.fit(
        np.vstack([embeddings, embeddings]).astype(np.float64),
        np.repeat([1, 0], 50),
        sample_weight=np.concatenate([shares, 1 - shares]),
    )
    np.testing.assert_allclose(
        path.logits(embeddings)[:, 0], peer.decision_function(embeddings), atol=1e-3
    )


def test_tags_that_none_or_all_rows_have_are_constant():
    embeddings = _embeddings(80, 6)
    targets = np.zeros((80, 3), np.float32)
    targets[:, 1] = 1
    targets[:, 2] = embeddings[:, 0] > 0
    path = LogisticPath(embeddings, targets, _tags(3))
    path.fit(1.0)
    logits = path.logits(embeddings)
    assert path.converged
    assert np.all(logits[:, 0] == ABSENT_LOGIT) and np.all(logits[:, 1] == -ABSENT_LOGIT)
    assert np.mean((logits[:, 2] > 0) == targets[:, 2]) > 0.9
    nothing = LogisticPath(embeddings, targets[:, :2], _tags(2))
    nothing.fit(1.0)
    assert nothing.converged and np.all(np.isfinite(nothing.logits(embeddings)))


def test_rows_of_a_mapped_file_in_blocks(tmp_path, monkeypatch):
    """The same solution as from one block, and little memory."""
    embeddings = _embeddings(20_000, 64)
    targets = _classes(embeddings, 4)
    whole = LogisticPath(embeddings, targets, _labels(4))
    whole.fit(0.1)
    monkeypatch.setattr(examples, "_BLOCK_BYTES", 2**18)
    rows = np.memmap(tmp_path / "rows", np.float32, "w+", shape=embeddings.shape)
    rows[:] = embeddings
    tracemalloc.start()
    path = LogisticPath(rows, targets, _labels(4))
    path.fit(0.1)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1.5 * 2**20 < rows.nbytes / 3
    np.testing.assert_allclose(path.logits(rows), whole.logits(embeddings), atol=1e-3)


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("labels", [_labels(2), _tags(1)], ids=["classes", "tags"])
def test_embeddings_that_are_not_finite_are_refused(value, labels):
    embeddings = _embeddings(50, 5)
    targets = _classes(embeddings, 2)
    embeddings[7, 2] = value
    with np.errstate(invalid="ignore"), pytest.raises(EvaluationError, match="NaN"):
        LogisticPath(embeddings, targets, labels)


def test_lbfgs_solves_each_problem_at_its_own_pace():
    """One and two columns, quadratic and quartic; the minima are known."""
    random = np.random.default_rng(0)
    minima = random.normal(size=(6, 3))
    curvatures = np.logspace(0, 2, 6)[:, None]

    def evaluate(x):
        quadratic = 0.5 * curvatures * (x[:, :1] - minima[:, :1]) ** 2
        quartic = (x[:, 1:] - minima[:, 1:]) ** 4 + (x[:, 1:] - minima[:, 1:]) ** 2
        gradient = np.hstack(
            [
                curvatures * (x[:, :1] - minima[:, :1]),
                4 * (x[:, 1:] - minima[:, 1:]) ** 3 + 2 * (x[:, 1:] - minima[:, 1:]),
            ]
        )
        return np.array([quadratic.sum(), quartic.sum()]), gradient

    start = np.zeros((6, 3))
    solver = Lbfgs(start, *evaluate(start), np.array([0, 1]), noise=0.0)
    for _ in range(5):
        solver.step(evaluate, np.array([False, True]))
    assert np.all(solver.variables[:, 0] == 0) and np.all(solver.variables[:, 1:] != 0)
    for _ in range(60):
        before = solver.values
        solver.step(evaluate, np.array([True, True]))
        assert np.all(solver.values <= before)
    np.testing.assert_allclose(solver.variables, minima, atol=1e-4)


def test_probabilities_are_calibrated_on_the_training_rows():
    """The bias is free, so predicted probabilities have the mean of the targets."""
    embeddings = _embeddings(300, 10)
    targets = (embeddings[:, :2] + 0.5 > 0).astype(np.float32)
    path = LogisticPath(embeddings, targets, _tags(2))
    path.fit(1e-2)
    means = expit(path.logits(embeddings)).mean(axis=0)
    np.testing.assert_allclose(means, targets.mean(axis=0), atol=1e-4)


class Counted(LogisticPath):
    """Counts how often the loss is evaluated."""

    evaluations = 0

    def _evaluate(self, weights, bias):
        self.evaluations += 1
        return super()._evaluate(weights, bias)


@pytest.mark.parametrize(("rows", "dim"), [(2000, 60), (200, 300)])
@pytest.mark.parametrize("kind", ["classes", "tags"])
def test_a_start_from_other_rows(rows, dim, kind):
    """Fewer steps to the same solution, though rows, scaling, basis and present names differ."""
    raw = _embeddings(rows, dim) * np.linspace(0.5, 2, dim, dtype=np.float32) + 1
    raw[:, 3] = 1  # constant for both
    raw[: 3 * rows // 4, 5] = 2  # constant for the first
    classes = _classes(raw[:, 6:], 5)
    part = np.flatnonzero((classes[:, 0] != 4) & (np.arange(rows) < 3 * rows // 4))
    labels = _tags(5) if kind == "tags" else _labels(5)
    targets = np.eye(5, dtype=np.float32)[classes[:, 0]] if kind == "tags" else classes
    first, second = Standardizer(raw[part]), Standardizer(raw)
    solved = LogisticPath(first(raw[part].copy()), targets[part], labels)
    for c in (0.01, 0.1, 1):
        solved.fit(c)
    embeddings = second(raw.copy())
    cold, warm = Counted(embeddings, targets, labels), Counted(embeddings, targets, labels)
    cold.fit(1)
    warm.start_from(solved.solution(), lambda w, b: first.converted(w, b, second))
    warm.fit(1)
    # Tags are solved in nine evaluations, of which none can be saved.
    assert warm.converged and warm.evaluations < cold.evaluations + 2 * (kind == "tags")
    logits = [path.logits(embeddings) for path in (cold, warm)]
    if kind == "classes":
        logits = [values - values.mean(axis=1, keepdims=True) for values in logits]
    np.testing.assert_allclose(logits[0], logits[1], atol=5e-2)


def test_a_converted_head_gives_the_same_logits():
    random = np.random.default_rng(0)
    raw = random.normal(2, 3, (50, 8)).astype(np.float32)
    first, second = Standardizer(raw[:20]), Standardizer(raw)
    weights, bias = random.normal(size=(8, 3)), random.normal(size=3)
    before = first(raw.copy()) @ weights + bias
    converted = first.converted(weights, bias, second)
    after = second(raw.copy()) @ converted[0] + converted[1]
    np.testing.assert_allclose(after, before, atol=1e-5)
