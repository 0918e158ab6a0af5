"""Least squares in closed form against scikit-learn."""

import tracemalloc

import numpy as np
import pytest
from sklearn.linear_model import Ridge

from hares_tf.evaluation.heads import examples
from hares_tf.evaluation.heads.ridge import RidgePath
from hares_tf.evaluation.tasks.labels import Labels


def _embeddings(rows, dim, seed=0):
    random = np.random.default_rng(seed)
    # Neither centered nor of unit deviation: the closed form centers for itself.
    return (random.normal(size=(rows, dim)) @ random.normal(size=(dim, dim)) + 2).astype(np.float32)


def _peer(embeddings, signs, relative_penalty):
    centered = embeddings - embeddings.mean(axis=0, dtype=np.float64)
    penalty = relative_penalty * np.sum(centered**2) / embeddings.shape[1]
    return Ridge(alpha=penalty, solver="svd").fit(embeddings.astype(np.float64), signs)


LABELS = {
    "classes": Labels.classes("abc"),
    "slots": Labels.slots({"one": "ab", "two": "cde"}),
    "tags": Labels.tags("abcd"),
}


def _targets(labels, rows, seed=1):
    random = np.random.default_rng(seed)
    if labels.kind == "tags":
        return random.choice(np.float32([0, 0.25, 1]), size=(rows, labels.width))
    return np.stack([random.integers(w, size=rows) for w in labels.widths], 1).astype(np.int32)


def _signs(targets, labels):
    """By hand: 1 for the name that holds, -1 for the others."""
    if labels.kind == "tags":
        return 2 * targets.astype(np.float64) - 1
    columns = [
        np.where(target[:, None] == np.arange(width), 1.0, -1.0)
        for target, width in zip(targets.T, labels.widths, strict=True)
    ]
    return np.hstack(columns)


@pytest.mark.parametrize("kind", LABELS)
@pytest.mark.parametrize(("rows", "dim"), [(200, 12), (30, 80)], ids=["tall", "wide"])
def test_ridge_is_scikit_learns(kind, rows, dim):
    labels = LABELS[kind]
    embeddings, targets = _embeddings(rows, dim), _targets(labels, rows)
    path = RidgePath(embeddings, targets, labels)
    unseen = _embeddings(50, dim, seed=9)
    for penalty in (10.0, 1e-2, 1e-4, 1.0):  # in any order
        path.fit(penalty)
        expected = _peer(embeddings, _signs(targets, labels), penalty).predict(unseen)
        np.testing.assert_allclose(path.logits(unseen), expected, atol=5e-3)
    assert path.converged


def test_more_penalty_less_weight_down_to_the_means():
    labels, embeddings = LABELS["classes"], _embeddings(100, 5)
    targets = _targets(labels, 100)
    path = RidgePath(embeddings, targets, labels)
    spreads = []
    for penalty in (1e-3, 1.0, 1e3, 1e6):
        path.fit(penalty)
        spreads.append(np.ptp(path.logits(embeddings), axis=0).max())
    assert spreads == sorted(spreads, reverse=True)
    means = _signs(targets, labels).mean(axis=0)
    np.testing.assert_allclose(path.logits(embeddings)[0], means, atol=1e-4)


def test_names_without_rows():
    embeddings = _embeddings(40, 5)
    classes = RidgePath(embeddings, np.repeat([[0], [2]], 20, axis=0), LABELS["classes"])
    classes.fit(1.0)
    logits = classes.logits(embeddings)
    assert np.all(np.isneginf(logits[:, 1])) and np.all(np.isfinite(logits[:, [0, 2]]))
    targets = _targets(LABELS["tags"], 40)
    targets[:, 3] = 0
    tags = RidgePath(embeddings, targets, LABELS["tags"])
    tags.fit(1.0)
    np.testing.assert_allclose(tags.logits(embeddings)[:, 3], -1, atol=1e-6)


def test_constant_embeddings_give_the_means():
    labels, targets = LABELS["classes"], np.array([[0], [0], [1], [2]], np.int32)
    path = RidgePath(np.zeros((4, 2), np.float32), targets, labels)
    path.fit(1.0)
    np.testing.assert_allclose(path.logits(np.zeros((1, 2), np.float32)), [[0, -0.5, -0.5]])


def test_rows_of_a_mapped_file_in_blocks(tmp_path, monkeypatch):
    labels = LABELS["slots"]
    embeddings, targets = _embeddings(20_000, 64), _targets(labels, 20_000)
    monkeypatch.setattr(examples, "_BLOCK_BYTES", 2**18)
    rows = np.memmap(tmp_path / "rows", np.float32, "w+", shape=embeddings.shape)
    rows[:] = embeddings
    tracemalloc.start()
    path = RidgePath(rows, targets, labels)
    path.fit(0.1)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1.5 * 2**20 < rows.nbytes / 3
    expected = _peer(embeddings, _signs(targets, labels), 0.1).predict(embeddings)
    np.testing.assert_allclose(path.logits(rows), expected, atol=5e-3)
