"""The random numbers of a step: purity, independence, distributions."""

import micro
import numpy as np
import pytest
import tensorflow as tf
from scipy import stats

from hares_tf.models import SlowFastNFNet
from hares_tf.models.draws import KeepMask, Key, Uniform
from hares_tf.objectives import SimCLR, beta_5_2
from hares_tf.pretrain.draws import draw, draw_step, uniform_float

RATES = (0.1, 0.5)


class Stochastic:
    """The encoder's part of the draws."""

    training_draws = {"residual_masks": KeepMask(RATES)}  # noqa: RUF012


def evaluate(seed=0, step=0, replica=0, batch=16):
    draws = draw_step(SimCLR(), Stochastic, seed, step, replica, clips=batch)
    (masks,) = draws.encoder
    ratios = beta_5_2(draws.objective["ratios"])
    return draws.objective["partners"], ratios, masks["residual_masks"]


def drawn(**arguments):
    return [value.numpy() for value in evaluate(**arguments)]


def test_draws_are_a_pure_function():
    for first, again in zip(
        drawn(seed=3, step=4, replica=5), drawn(seed=3, step=4, replica=5), strict=True
    ):
        np.testing.assert_array_equal(first, again)


def test_draws_do_not_depend_on_the_compiler():
    """XLA and TensorFlow's kernels make different floats from the same random bits."""

    def function(step):
        return evaluate(seed=3, step=step, replica=5)

    plain = tf.function(function)(tf.constant(4))
    compiled = tf.function(function, jit_compile=True)(tf.constant(4))
    for first, other in zip(plain, compiled, strict=True):
        np.testing.assert_array_equal(first, other)


def test_uniform_floats_are_uniform_and_below_one():
    numbers = uniform_float(tf.constant([1, 2]), [100_000]).numpy()
    assert numbers.min() >= 0.0 and numbers.max() < 1.0
    assert stats.kstest(numbers, "uniform").pvalue > 1e-4


@pytest.mark.parametrize("change", [{"seed": 1}, {"step": 1}, {"replica": 1}])
def test_every_argument_matters(change):
    for first, other in zip(drawn(), drawn(**change), strict=True):
        assert (first != other).any()


def test_draws_of_a_resumed_run_are_those_of_this_version():
    """Fixed numbers: a change here would change what a resumed run computes."""
    partners, ratios, masks = drawn(seed=1, step=1000, replica=3, batch=4)
    np.testing.assert_array_equal(partners, [[0, 1, 3, 2], [3, 0, 2, 1]])
    expected = [[0.813101, 0.575583, 0.755899, 0.418505], [0.784606, 0.823476, 0.392652, 0.792365]]
    np.testing.assert_allclose(ratios, expected, rtol=1e-5)
    np.testing.assert_array_equal(masks, [[1, 1, 1, 1, 1, 1, 1, 1], [1, 1, 0, 1, 1, 1, 0, 0]])


def test_partners_are_a_permutation_of_the_replica_for_each_view():
    partners = drawn(batch=64)[0]
    assert partners.shape == (2, 64)
    for view in partners:
        assert sorted(view) == list(range(64))
    # With common partners the distractor would tell which views belong together.
    assert (partners[0] == partners[1]).mean() < 0.2


def test_masks_drop_at_their_rates_independently():
    masks = np.concatenate([drawn(step=step, batch=500)[2] for step in range(4)], axis=1)
    assert masks.shape == (2, 4000) and set(np.unique(masks)) == {0.0, 1.0}
    for row, rate in zip(masks, RATES, strict=True):
        # Four standard errors.
        assert abs((1 - row).mean() - rate) < 4 * np.sqrt(rate * (1 - rate) / row.size)
    # Examples, replicas and rows are dropped independently of each other.
    first, other = drawn(batch=500)[2], drawn(batch=500, replica=1)[2]
    assert abs(np.corrcoef(first[1], other[1])[0, 1]) < 0.15
    assert abs(np.corrcoef(first[0], first[1])[0, 1]) < 0.15
    assert abs(np.corrcoef(first[1][:-1], first[1][1:])[0, 1]) < 0.15


def test_rates_follow_the_rows_of_the_network():
    network = SlowFastNFNet("tiny")
    rates = network.training_draws["residual_masks"].rates
    assert len(rates) == len(network.residual_mask_rows) == 8
    # 0.1 * block / blocks, slow path first.
    np.testing.assert_allclose(rates, [0.02, 0.04, 0.06, 0.08] * 2)
    encoder = micro.awake_learner(micro.get_config()).encoder
    assert encoder.training_draws == {"residual_masks": KeepMask((0.05, 0.05))}


def test_calls_names_and_kinds_of_draws_are_independent():
    declarations = {"a": Uniform((2,), (3,)), "b": Uniform((2,), (3,)), "key": Key()}
    first, again, other = (draw(declarations, 0, 0, 0, examples=4, call=c) for c in (0, 0, 1))
    assert first["a"].shape == (2, 4, 3) and first["key"].dtype == tf.int32
    for name, value in first.items():
        np.testing.assert_array_equal(value, again[name])
        assert (value.numpy() != other[name].numpy()).any()
    assert (first["a"].numpy() != first["b"].numpy()).any()
    with pytest.raises(TypeError, match="not a declaration"):
        draw({"a": 3}, 0, 0, 0, examples=4)
