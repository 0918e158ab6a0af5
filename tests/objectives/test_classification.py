"""The classification objective against scikit-learn and by hand."""

import keras
import numpy as np
import pytest
from sklearn.metrics import log_loss

from hares_tf.objectives import Classification, ObjectiveError
from hares_tf.objectives.classification import sigmoid_cross_entropy
from hares_tf.objectives.objective import ALONE, Forward, Inputs


def test_cross_entropy_equals_the_mean_of_binary_log_losses():
    random = np.random.default_rng(0)
    logits = random.normal(0, 3, (4, 5)).astype(np.float32)
    labels = random.integers(0, 2, (4, 5)).astype(np.float32)
    forward = Forward(embed=lambda examples: examples, head=lambda embeddings: embeddings)
    got = Classification().losses(forward, Inputs(logits, labels), ALONE)
    probabilities = 1 / (1 + np.exp(-logits.astype(np.float64)))
    expected = [
        np.mean([log_loss([y], [p], labels=[0, 1]) for y, p in zip(ys, ps, strict=True)])
        for ys, ps in zip(labels, probabilities, strict=True)
    ]
    np.testing.assert_allclose(got.per_example, expected, rtol=1e-5)
    np.testing.assert_array_equal(got.scores, logits)


def test_soft_labels_are_a_blend_of_losses():
    logits = np.array([[2.0, -1.0]], np.float32)
    hard = [np.array([labels], np.float32) for labels in ([1.0, 0.0], [0.0, 1.0])]
    soft = 0.7 * hard[0] + 0.3 * hard[1]
    expected = sum(
        w * np.asarray(sigmoid_cross_entropy(labels, logits))
        for w, labels in zip((0.7, 0.3), hard, strict=True)
    )
    np.testing.assert_allclose(sigmoid_cross_entropy(soft, logits), expected, rtol=1e-6)


def test_large_logits_do_not_overflow():
    logits = np.array([[1e4, -1e4]], np.float32)
    wrong = sigmoid_cross_entropy(np.array([[0.0, 1.0]], np.float32), logits)
    np.testing.assert_allclose(wrong, [1e4])


def test_head_is_one_dense_layer_in_float32():
    head = Classification().create_head(7, "mixed_bfloat16")
    head.build((None, 3))
    assert [tuple(weight.shape) for weight in head.weights] == [(3, 7), (7,)]
    output = head(np.ones((1, 3), np.float32))
    assert keras.backend.standardize_dtype(output.dtype) == "float32"


def test_no_labels_no_classification():
    with pytest.raises(ObjectiveError, match="needs clips with labels"):
        Classification().create_head(0)
