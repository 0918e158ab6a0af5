"""Standardizing, the span of the rows, and the linear SVM."""

import tracemalloc

import numpy as np
import pytest
from sklearn.svm import LinearSVC

from hares_tf.evaluation.heads import examples
from hares_tf.evaluation.heads.scaling import Standardizer, row_space
from hares_tf.evaluation.heads.svm import LinearSVM


def _blobs(rows, dim, classes, seed=0, spread=1.5):
    random = np.random.default_rng(seed)
    centers = random.normal(size=(classes, dim))
    labels = np.arange(rows) % classes
    mixing = random.normal(size=(dim, dim)) / np.sqrt(dim)
    embeddings = (centers[labels] + spread * random.normal(size=(rows, dim))) @ mixing
    return embeddings.astype(np.float32), labels


@pytest.fixture
def features():
    random = np.random.default_rng(0)
    return (random.normal(size=(5000, 4)) * [1, 5, 0.1, 0] + [0, 100, -3, 7]).astype(np.float32)


def test_standardizer_in_place(features):
    result = Standardizer(features)(features)
    assert result is features
    np.testing.assert_allclose(result[:, :3].mean(axis=0, dtype=np.float64), 0, atol=1e-6)
    np.testing.assert_allclose(result[:, :3].std(axis=0, dtype=np.float64), 1, atol=1e-5)
    assert np.all(result[:, 3] == 0)


def test_standardizer_of_other_rows_into_another_array(features):
    before = features.copy()
    out = np.full((10, 4), np.nan, np.float32)
    assert Standardizer(features[10:])(features[:10], out=out) is out
    np.testing.assert_array_equal(features, before)
    rest = features[10:, :3].astype(np.float64)
    expected = (features[:10, :3] - rest.mean(axis=0)) / rest.std(axis=0)
    np.testing.assert_allclose(out[:, :3], expected, rtol=1e-5, atol=1e-5)


def test_features_constant_to_float32_become_zero():
    """Of a feature that only varies in its last bit, nothing is left but rounding."""
    embeddings = np.full((1000, 2), 1.0, np.float32)
    embeddings[::50, 0] = np.nextafter(np.float32(1), np.float32(2))
    embeddings[:, 1] = np.float32(0.1)
    assert np.all(Standardizer(embeddings)(embeddings) == 0)


def test_small_features_are_not_constant():
    embeddings = (1e-12 * np.random.default_rng(0).normal(size=(500, 1))).astype(np.float32)
    assert Standardizer(embeddings)(embeddings).std() == pytest.approx(1, abs=1e-4)


def test_standardizer_of_a_mapped_file_needs_little_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(examples, "_BLOCK_BYTES", 2**19)
    rows = np.memmap(tmp_path / "rows", np.float32, "w+", shape=(5000, 256))
    rows[:] = np.random.default_rng(0).normal(3, 2, size=rows.shape)
    expected = (rows[:5] - rows.mean(axis=0, dtype=np.float64)) / rows.std(axis=0, dtype=np.float64)
    tracemalloc.start()
    Standardizer(rows)(rows)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2 * 2**20 < rows.nbytes / 2
    np.testing.assert_allclose(rows[:5], expected, atol=1e-5)


def test_row_space_keeps_products_and_lengths():
    embeddings, _ = _blobs(40, 100, 3)
    basis, coordinates = row_space(embeddings)
    assert coordinates.shape == (40, 40)
    np.testing.assert_allclose(basis.T @ basis, np.eye(40), atol=1e-5)
    np.testing.assert_allclose(coordinates @ basis.T, embeddings, atol=1e-4)
    basis, coordinates = row_space(embeddings.T.copy())
    assert basis is None and coordinates.shape == (100, 40)


def test_svm_is_scikit_learns():
    embeddings, labels = _blobs(90, 10, 3)
    peer = LinearSVC(C=0.01, dual=False, tol=1e-8).fit(embeddings, labels)
    ours = LinearSVM(embeddings, labels, 3, 0.01).logits(embeddings)
    np.testing.assert_allclose(ours, peer.decision_function(embeddings), atol=1e-2)


def test_svm_never_predicts_classes_without_rows():
    embeddings, labels = _blobs(60, 10, 3)
    logits = LinearSVM(embeddings, np.array([0, 2, 3])[labels], 5, 1e-2).logits(embeddings)
    assert logits.shape == (60, 5)
    assert np.all(np.isneginf(logits[:, [1, 4]])) and np.all(np.isfinite(logits[:, [0, 2, 3]]))


def test_two_class_svm_gives_two_columns():
    embeddings, labels = _blobs(60, 10, 2, spread=0.3)
    logits = LinearSVM(embeddings, labels, 2, 1e-2).logits(embeddings)
    np.testing.assert_array_equal(np.argmax(logits, axis=1), labels)
