"""NT-Xent against a direct computation."""

import keras
import numpy as np
import pytest

from hares_tf.objectives import ObjectiveError, SimCLR, create_objective
from hares_tf.objectives.nt_xent import nt_xent, unit_length
from hares_tf.objectives.objective import ALONE, Forward, Inputs


def direct_nt_xent(first, second, temperature):
    """The definition, in loops: every view against all 2N - 1 others, in float64."""
    views = np.concatenate([first, second]).astype(np.float64)
    views /= np.linalg.norm(views, axis=1, keepdims=True)
    count = len(first)
    losses, hits = np.zeros(count), np.zeros(count)
    for i in range(2 * count):
        partner = (i + count) % (2 * count)
        similarities = {j: views[i] @ views[j] / temperature for j in range(2 * count) if j != i}
        total = np.log(np.sum(np.exp(np.array([*similarities.values()]))))
        losses[i % count] += total - similarities[partner]
        best = max(similarities, key=similarities.get)
        hits[i % count] += 0.5 * (best == partner)
    return losses, hits


def losses_of(objective, projections):
    """The losses of given projections, `[2 * clips, size]`, first crops first."""
    forward = Forward(embed=lambda examples: examples, head=lambda embeddings: embeddings)
    return objective.losses(forward, Inputs(projections), ALONE)


def pairs(count=7, dim=5, noise=0.7, seed=0):
    random = np.random.default_rng(seed)
    first = random.normal(size=(count, dim)).astype(np.float32)
    return first, first + noise * random.normal(size=(count, dim)).astype(np.float32)


@pytest.mark.parametrize("temperature", [0.1, 1.0])
def test_nt_xent_equals_the_definition(temperature):
    first, second = pairs()
    losses = losses_of(SimCLR(temperature), np.concatenate([first, second]))
    expected, hits = direct_nt_xent(first, second, temperature)
    np.testing.assert_allclose(losses.per_example, expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(losses.metrics["contrastive_accuracy"], hits)
    assert 0 < hits.mean() < 1


def test_a_part_of_the_batch_gives_its_part_of_the_loss():
    first, second = (np.asarray(unit_length(x)) for x in pairs())
    whole, _ = nt_xent(first, second, first, second, 0, 0.1)
    part, _ = nt_xent(first[3:5], second[3:5], first, second, 3, 0.1)
    np.testing.assert_allclose(part, np.asarray(whole)[3:5], rtol=1e-5)


def test_views_that_all_look_alike_recognize_nobody():
    same = np.ones((4, 3), np.float32)
    losses = losses_of(SimCLR(), np.concatenate([same, same]))
    assert np.asarray(losses.metrics["contrastive_accuracy"]).max() == 0.0
    # A guess among seven candidates, twice.
    np.testing.assert_allclose(losses.per_example, 2 * np.log(7), rtol=1e-5)


def test_perfect_views_cost_next_to_nothing():
    first = np.eye(4, dtype=np.float32)
    losses = losses_of(SimCLR(0.05), np.concatenate([first, first]))
    assert np.asarray(losses.per_example).max() < 1e-6
    assert np.asarray(losses.metrics["contrastive_accuracy"]).min() == 1.0


def test_zero_vectors_have_a_finite_direction():
    assert np.isfinite(np.asarray(unit_length(np.zeros((2, 3), np.float32)))).all()


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_logits_are_float32_whatever_comes_in(dtype):
    first, second = pairs()
    outputs = keras.ops.cast(np.concatenate([first, second]), dtype)
    losses = losses_of(SimCLR(), outputs)
    assert keras.backend.standardize_dtype(losses.per_example.dtype) == "float32"
    rounded = np.asarray(keras.ops.cast(outputs, "float32"))
    expected, _ = direct_nt_xent(*np.split(rounded, 2), 0.1)
    np.testing.assert_allclose(losses.per_example, expected, rtol=1e-5, atol=1e-5)


def test_projector_is_the_papers():
    """Three hidden layers of 4096, an output of 128 without bias, nothing over the batch."""
    head = SimCLR().create_head(0)
    head.build((None, 3456))
    shapes = [tuple(weight.shape) for weight in head.weights]
    assert shapes == [
        (3456, 4096), (4096,), (4096, 4096), (4096,), (4096, 4096), (4096,), (4096, 128),
    ]  # fmt: skip
    x = np.random.default_rng(0).normal(size=(3, 3456)).astype(np.float32)
    np.testing.assert_allclose(head(x)[:1], head(x[:1]), rtol=1e-4, atol=1e-5)


def test_projector_ends_in_float32_under_bfloat16():
    head = SimCLR(hidden=8, layers=2, size=4).create_head(0, "mixed_bfloat16")
    head.build((None, 6))
    output = head(np.ones((2, 6), np.float32))
    assert keras.backend.standardize_dtype(output.dtype) == "float32"
    assert head.dense[0].compute_dtype == "bfloat16"


@pytest.mark.parametrize("settings", [{"temperature": 0.0}, {"hidden": 0}, {"size": -1}])
def test_settings_must_be_positive(settings):
    with pytest.raises(ObjectiveError, match="must be positive"):
        create_objective("simclr", **settings)


def test_unknown_objective_and_setting():
    with pytest.raises(ObjectiveError, match="did you mean classification or "):
        create_objective("moco")
    with pytest.raises(ObjectiveError, match="no setting 'tau'"):
        create_objective("simclr", tau=1)
