"""The training step: gradient caching, precision, compilation, mixed labels."""

import micro
import numpy as np
import pytest
import tensorflow as tf

from hares_tf.models.draws import KeepMask
from hares_tf.objectives import beta_5_2
from hares_tf.pretrain.draws import StepDraws, draw
from hares_tf.pretrain.step import apply_step, gradients_of, training_step


def make_batch(clips=4, views=2, samples=1600, classes=0, seed=0):
    """Each clip a chord of its own, each view with other noise."""
    random = np.random.default_rng(seed)
    hertz = random.uniform(100, 4000, (clips, 3))
    loudness = random.uniform(0.02, 0.3, (clips, 3))
    chords = np.einsum(
        "cp,cpt->ct", loudness, np.sin(2 * np.pi / 16_000 * hertz[..., None] * np.arange(samples))
    )
    audio = 20_000 * (chords[:, None] + random.normal(0, 0.01, (clips, views, samples)))
    batch = {"audio": audio.astype(np.int16)}
    if classes:
        batch["labels"] = random.integers(0, 2, (clips, classes)).astype(np.float32)
    return {name: tf.constant(value) for name, value in batch.items()}


def cases(precision="float32"):
    """SimCLR and classification, each with its batch and draws."""
    for config, classes, views in ((micro.get_config(), 0, 2), (micro.classification(), 5, 1)):
        config.precision = precision
        learner = micro.awake_learner(config, classes)
        batch = make_batch(views=views, classes=classes)
        # High rates, so that the masks of so few examples are not all 1.
        (rates,) = (spec.rates for spec in learner.encoder.training_draws.values())
        masks = {"residual_masks": KeepMask((0.4,) * len(rates))}
        draws = StepDraws(
            draw(learner.objective.draws(), 0, 0, 0, examples=4),
            (draw(masks, 0, 0, 0, examples=4 * views),),
        )
        yield learner, batch, draws


def gradients(learner, batch, draws, chunk=0):
    # Not traced: that takes longer than a few steps.
    context = tf.distribute.get_replica_context()
    values, metrics, _ = gradients_of(learner, batch, draws, context, chunk)
    return [value.numpy() for value in values], {k: float(v) for k, v in metrics.items()}


def largest_deviation(values, expected):
    """Relative to the largest entry of each gradient.

    A gradient of which standardization leaves nothing but rounding is measured by the others.
    """
    floor = 1e-2 * max(np.abs(b).max() for b in expected)
    return max(
        np.abs(a - b).max() / max(np.abs(b).max(), floor)
        for a, b in zip(values, expected, strict=True)
    )


def test_gradient_caching_equals_the_whole_batch():
    for learner, batch, draws in cases():
        whole, metrics = gradients(learner, batch, draws)
        # A block that is dropped for all examples has none, nor have relus that are off.
        assert sum(np.abs(value).max() > 0 for value in whole) > 0.8 * len(whole)
        chunked, chunked_metrics = gradients(learner, batch, draws, chunk=2)
        assert largest_deviation(chunked, whole) < 1e-5
        assert chunked_metrics == pytest.approx(metrics, rel=1e-5)


def test_gradient_caching_in_a_compiled_loop():
    """As it runs: chunks in a loop of TensorFlow, which takes the kernels in from outside."""
    learner, batch, draws = next(iter(cases()))
    whole, _ = gradients(learner, batch, draws)
    context = tf.distribute.get_replica_context()
    traced = tf.function(lambda: gradients_of(learner, batch, draws, context, 4)[0])
    # A graph rounds otherwise than single operations do.
    assert largest_deviation([value.numpy() for value in traced()], whole) < 1e-4


@pytest.mark.slow
@pytest.mark.usefixtures("exact_bfloat16_sums")
def test_gradient_caching_in_half_precision():
    """Sums over the chunks are float32; within one, bfloat16 rounds in another order."""
    learner, batch, draws = next(iter(cases("mixed_bfloat16")))
    whole, _ = gradients(learner, batch, draws)
    chunked, _ = gradients(learner, batch, draws, chunk=2)
    assert largest_deviation(chunked, whole) < 0.1


def test_chunks_must_divide_the_views():
    learner, batch, draws = next(iter(cases()))
    with pytest.raises(ValueError, match="chunks of 3"):
        gradients(learner, batch, draws, chunk=3)


def test_residual_masks_take_part_and_are_never_rescaled():
    """With its branches dropped an example's outputs are those of a network whose gains are 0."""
    learner = next(iter(cases()))[0]
    network = learner.encoder.network
    rows = len(network.residual_mask_rows)
    spectrogram = tf.random.stateless_normal([2, 10, 80, 1], [0, 0])

    def embed(masks):
        draws = {"residual_masks": masks}
        return learner.encoder.embed(spectrogram, training=True, draws=draws).numpy()

    masks = np.ones((rows, 2), np.float32)
    masks[:, 1] = 0.0
    kept, dropped = embed(masks)
    all_kept = embed(np.ones_like(masks))
    np.testing.assert_allclose(kept, all_kept[0], rtol=1e-5, atol=1e-6)
    for path in (network.slow, network.fast):
        for index in path.dropped_blocks:
            path.blocks[index].skip_gain.assign(0.0)
    silent = embed(np.ones_like(masks))
    np.testing.assert_allclose(dropped, silent[1], rtol=1e-5, atol=1e-6)
    assert np.abs(all_kept[1] - silent[1]).max() > 1e-3


def test_labels_are_mixed_like_the_examples():
    """A classifier that sees nothing but its bias tells what its labels were."""
    _, (learner, batch, draws) = cases()
    for variable in learner.trainable_variables:
        variable.assign(np.zeros(variable.shape))
    values, _ = gradients(learner, batch, draws)
    labels = batch["labels"].numpy()
    ratios = beta_5_2(draws.objective["ratios"]).numpy()[0][:, None]
    soft = ratios * labels + (1 - ratios) * labels[draws.objective["partners"].numpy()[0]]
    # d/db of the mean over classes and clips of the cross-entropy at b = 0.
    np.testing.assert_allclose(values[-1], (0.5 - soft).sum(axis=0) / 4 / 5, rtol=1e-5)


def losses_of(precision, steps=25, jit_compile=False):
    config = micro.get_config()
    config.update({"precision": precision, "learning_rate": 2e-3, "warmup_steps": 10})
    config.steps = 1000
    learner = micro.awake_learner(config)
    step = tf.function(
        lambda batch, number: training_step(learner, batch, number, seed=0)[0]["loss"],
        jit_compile=jit_compile,
    )
    batches = [make_batch(clips=8, seed=number % 3) for number in range(steps)]
    return np.array(
        [float(step(batch, tf.constant(number))) for number, batch in enumerate(batches)]
    )


@pytest.mark.slow
def test_bfloat16_follows_float32_and_compiled_equals_plain():
    plain = losses_of("float32")
    assert plain[15:].mean() < plain[:5].mean()
    # XLA adds up in another order, and training amplifies rounding with every step: to 5e-3 after
    # 25 steps on one processor.
    compiled = losses_of("float32", jit_compile=True)
    np.testing.assert_allclose(compiled[:15], plain[:15], rtol=1e-3)
    np.testing.assert_allclose(compiled, plain, rtol=2e-2)
    # The stated band of half precision: 8% of the loss at every step (seen: 5%).
    np.testing.assert_allclose(losses_of("mixed_bfloat16"), plain, rtol=0.08)


def test_a_step_updates_every_parameter_and_reports_the_norm():
    for learner, batch, draws in cases():
        before = [np.array(variable) for variable in learner.trainable_variables]
        learner.optimizer.iterations.assign(5)  # the learning rate of step 0 is 0
        context = tf.distribute.get_replica_context()
        values, _ = gradients(learner, batch, draws)
        metrics, _ = apply_step(learner, batch, draws, context)
        norm = np.sqrt(sum(np.square(value, dtype=np.float64).sum() for value in values))
        assert float(metrics["gradient_norm"]) == pytest.approx(norm, rel=1e-4)
        noise = 1e-6 * max(np.abs(value).max() for value in values)
        for variable, old, value in zip(learner.trainable_variables, before, values, strict=True):
            if np.abs(value).max() > noise:
                assert (np.array(variable) != old).any(), variable.path
