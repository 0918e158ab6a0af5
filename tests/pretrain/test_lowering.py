"""The training step as a program for TPUs: it lowers, and what a TPU cannot run is noticed."""

import re

import keras
import micro
import pytest
import tensorflow as tf

from hares_tf.audio import LogMel
from hares_tf.models.draws import KeepMask
from hares_tf.models.waveform_encoder import WaveformEncoder
from hares_tf.objectives import create_objective
from hares_tf.pretrain.errors import PretrainError
from hares_tf.pretrain.gradient_caching import standardized_convolutions
from hares_tf.pretrain.learner import Learner
from hares_tf.pretrain.lowering import lower, obstacles, step_stablehlo
from hares_tf.pretrain.optimizer import create_optimizer

REPLICAS, CLIPS = 8, 4
EIGHT = "dense<[[0, 1, 2, 3, 4, 5, 6, 7]]>"


class Network(keras.layers.Layer):
    """The smallest network that a step takes; it lowers in a second."""

    training_draws = {"residual_masks": KeepMask((0.25, 0.5))}  # noqa: RUF012

    def __init__(self):
        super().__init__()
        self.dense = keras.layers.Dense(6)

    def build(self, input_shape):
        self.dense.build((None, input_shape[2]))

    def call(self, x, training=None, residual_masks=None):
        x = keras.ops.mean(x[..., 0], axis=1)
        return self.dense(x) * keras.ops.sum(residual_masks, axis=0)[:, None]

    def compute_output_shape(self, input_shape):
        return (input_shape[0], 6)


def small_learner(config):
    """Everything of a learner is real, except the network."""
    objective = create_objective(
        config.objective.name, **{k: v for k, v in config.objective.items() if k != "name"}
    )
    encoder = WaveformEncoder(LogMel(), Network())
    encoder.build((None, 1600))
    head = objective.create_head(5)
    head.build((None, 6))
    optimizer = create_optimizer(config)
    learner = Learner(encoder, head, objective, optimizer)
    optimizer.build(learner.trainable_variables)
    return learner


def operations(text):
    """Names of the operations in a module, as often as they are there."""
    return re.findall(r"\bstablehlo\.(\w+)", text)


def signature(text):
    """Arguments and results of the program."""
    return next(line for line in text.splitlines() if "func.func" in line and "@main" in line)


def check_step(text, config, learner):
    """What every program of a step has."""
    assert obstacles(text) == []
    names = operations(text)
    crops = learner.objective.crops
    assert f"tensor<{CLIPS}x{crops}x1600xi16>" in signature(text)
    # On the device: the spectrogram, the draws, the partners' order, the core's own number.
    assert {"fft", "log_plus_one", "rng_bit_generator", "sort", "gather", "replica_id"} <= set(
        names
    )
    # Adam's root, and every updated variable in the memory of the old one.
    assert names.count("sqrt") >= len(learner.trainable_variables)
    updated = 3 * len(learner.trainable_variables) + 1
    assert text.count('kind = "may_alias"') == updated
    # The gradients of all parameters are summed over all cores, and the objective's exchange.
    sums = [line for line in text.splitlines() if '"stablehlo.all_reduce"' in line]
    exchanged = 4 if config.objective.name == "simclr" else 2
    assert len(sums) == len(learner.trainable_variables) + exchanged
    assert all(EIGHT in line for line in sums)
    assert (names.count("while") > 0) == bool(config.chunk)


@pytest.mark.parametrize("chunk", (0, 2))
@pytest.mark.parametrize("objective", ("simclr", "classification"))
def test_the_step_of_both_objectives_lowers(objective, chunk):
    config = micro.get_config() if objective == "simclr" else micro.classification()
    config.chunk = chunk
    learner = small_learner(config)
    check_step(step_stablehlo(learner, config, CLIPS, REPLICAS), config, learner)


def real_step(objective="simclr", chunk=0, gradient_checkpointing=False):
    """The step of a Slowfast NFNet in half precision."""
    config = micro.get_config() if objective == "simclr" else micro.classification()
    config.model.gradient_checkpointing = gradient_checkpointing
    config.update({"precision": "mixed_bfloat16", "chunk": chunk})
    learner = micro.awake_learner(config, 5)
    text = step_stablehlo(learner, config, CLIPS, REPLICAS)
    check_step(text, config, learner)
    # Without a barrier XLA takes the second computation for the first and drops it.
    assert ("optimization_barrier" in operations(text)) == gradient_checkpointing
    return text, learner


def test_the_step_of_the_network_lowers_in_half_precision_with_native_groups():
    text, learner = real_step()
    convolutions = [line for line in text.splitlines() if "stablehlo.convolution" in line]
    assert all(re.search(r"-> tensor<[0-9x]+xbf16>", line) for line in convolutions)
    # Three for each layer: forward, and the gradients of input and kernel. A convolution for each
    # group would be many more, and a TPU's compiler does not come to an end with them.
    layers = sum(len(variable.shape) == 4 for variable in learner.trainable_variables)
    assert len(convolutions) <= 3 * layers
    assert any("feature_group_count = 2" in line for line in convolutions)


@pytest.mark.slow
def test_kernels_standardized_once_for_all_chunks_lower():
    """Before the loops over the chunks, not in them."""
    text, learner = real_step(chunk=2)
    before, _, _ = text.partition("stablehlo.while")
    roots = [line for line in before.splitlines() if "stablehlo.rsqrt" in line]
    assert len(roots) >= len(standardized_convolutions(learner)) > 10


@pytest.mark.slow
@pytest.mark.parametrize("chunk", (0, 2))
@pytest.mark.parametrize("objective", ("simclr", "classification"))
def test_the_step_with_gradient_checkpointing_of_the_network_lowers(objective, chunk):
    real_step(objective, chunk, gradient_checkpointing=True)


def test_one_core_needs_no_sums():
    config = micro.get_config()
    text = step_stablehlo(small_learner(config), config, CLIPS, 1)
    assert "dense<0> : tensor<1x1xi64>" in text
    assert "replica_id" in operations(text)


def in_python(x):
    return tf.py_function(lambda y: y * 2, [x], tf.float32)


def by_gamma(x):
    return x * tf.random.stateless_gamma([4], [1, 2], 5.0)


def shuffled(x):
    return tf.random.experimental.stateless_shuffle(x, [1, 2])


def text_of(x):
    return tf.strings.length(tf.strings.as_string(x))


def selected(x):
    return tf.boolean_mask(x, x > 0)


def distinct(x):
    return tf.unique(x)[0]


def unknown_size(x):
    return tf.range(tf.cast(x[0], tf.int32))


@pytest.mark.parametrize(
    ("function", "reason"),
    (
        (in_python, "EagerPyFunc"),
        (by_gamma, "StatelessRandomGamma"),
        (shuffled, "StatelessShuffle"),
        (text_of, "AsString"),
        (selected, r"run time: tensor<\?xf32, #stablehlo.bounds<4>>"),
        (distinct, r"run time: tensor<\?xf32, #stablehlo.bounds<4>>"),
        (unknown_size, "range"),
    ),
)
def test_what_a_tpu_cannot_run_is_refused(function, reason):
    with pytest.raises(PretrainError, match=f"cannot be compiled for a TPU: .*{reason}"):
        lower(function, tf.TensorSpec([4]))


def test_what_it_can_run_is_not():
    def function(x):
        return tf.slice(x, [tf.cast(x[0], tf.int32)], [2]), tf.gather(x, tf.argsort(x))

    assert {"dynamic_slice", "sort"} <= set(operations(lower(function, tf.TensorSpec([4]))))


def test_a_step_that_asks_python_is_refused_as_a_step():
    """The same checker, on a whole step in which one layer is wrong."""
    config = micro.get_config()
    learner = small_learner(config)
    dense = learner.encoder.network.dense
    dense.activation = lambda x: tf.ensure_shape(
        tf.numpy_function(lambda y: y, [x], x.dtype), x.shape
    )
    with pytest.raises(PretrainError, match="cannot be compiled for a TPU"):
        step_stablehlo(learner, config, CLIPS, REPLICAS)


def test_library_functions_and_the_host_are_named():
    text = """
      %1 = stablehlo.custom_call @lapack_ssyevd(%0) : (tensor<4xf32>) -> tensor<4xf32>
      %2 = "stablehlo.infeed"(%1) : (!stablehlo.token) -> tensor<4xf32>
      %3 = stablehlo.add %1, %2 : tensor<?x4xf32>
    """
    assert obstacles(text) == [
        "shape known only at run time: tensor<?x4xf32>",
        "operation custom_call",
        "operation infeed",
        "library function lapack_ssyevd",
    ]
