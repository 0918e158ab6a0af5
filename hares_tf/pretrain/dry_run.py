"""Estimates of a run without training: parameters, memory and operations of a step."""

import dataclasses
import time

import numpy as np
import tensorflow as tf

from hares_tf.data import open_clips
from hares_tf.pretrain.draws import draw_step
from hares_tf.pretrain.learner import Learner, create_learner
from hares_tf.pretrain.loop import make_iterator
from hares_tf.pretrain.step import gradients_of
from hares_tf.pretrain.trainer import check_batch, check_clips
from hares_tf.utils.tensorflow import keep_float32

#: Share of a device's matrix-multiplication peak that a training step is assumed to reach: the
#: paper's step times imply a third on a TPU v3, this package's CPU benchmark reaches half.
_EFFICIENCY = 0.35
# Batches whose step is traced; activations and operations grow evenly with the clips.
_TRACED_CLIPS = (2, 4)
_MATRIX = 2048


def dry_run(config, data, strategy) -> list[str]:
    """Builds everything that a run needs, reads one batch, and describes a step.

    Args:
        config: the resolved configuration.
        data: a folder of prepared clips.
        strategy: the `tf.distribute` strategy.

    Returns:
        Lines to print.

    Raises:
        PretrainError, DataError, ModelError, ObjectiveError: what `pretrain` would raise.
    """
    keep_float32()
    clips = open_clips(data)
    check_batch(config, strategy)
    check_clips(config, clips)
    with strategy.scope():
        learner = create_learner(config, len(clips.label_names))
    started = time.monotonic()
    next(make_iterator(strategy, config, clips, learner, 0))
    reading = time.monotonic() - started

    replicas = strategy.num_replicas_in_sync
    per_replica = config.batch // replicas
    parameters = {
        part: sum(int(np.prod(v.shape)) for v in model.trainable_variables)
        for part, model in (("encoder", learner.encoder), ("head", learner.head))
    }
    # Parameters, their gradients, and what the optimizer remembers of them.
    moments = sum(int(np.prod(v.shape)) for v in learner.optimizer.variables)
    kept = 2 * sum(parameters.values()) + moments
    activations, operations = _per_clip(learner, config, len(clips.label_names))
    crops = learner.objective.crops
    chunk = config.chunk if config.chunk < per_replica * crops else 0
    at_once = chunk / crops if chunk else per_replica
    spectrograms = _spectrogram_bytes(learner, config) * (per_replica - at_once)
    gigabytes = (kept * 4 + activations * at_once + spectrograms) / 2**30
    passes = 4 / 3 if chunk else 1.0
    flops = operations * per_replica * passes
    peak = _matmul_peak(config.precision)
    epochs = config.steps * config.batch / clips.n_clips
    seconds = flops / (peak * _EFFICIENCY)
    return [
        f"{config.model.name}, {config.objective.name}: {parameters['encoder']:,} parameters, "
        f"{parameters['head']:,} more in the head",
        f"data: {clips.name}, {clips.n_clips:,} clips, {clips.seconds / 3600:,.1f} hours; "
        f"{config.steps:,} steps of {config.batch:,} clips are {epochs:,.1f} epochs; the first "
        f"batch took {reading:.1f} s",
        f"on each of {replicas} replica(s): {per_replica:,} clips in {crops} crop(s) of "
        f"{config.crops.seconds:g} s" + (f", in chunks of {chunk} crops" if chunk else ""),
        f"memory of a replica, roughly {gigabytes:.3g} GiB (parameters, gradients and "
        f"the optimizer {kept * 4 / 2**30:.3g} GiB; activations "
        f"{_three_digits(activations / 2**20)} MiB a clip by what TensorFlow keeps; XLA needs much "
        "less)",
        f"operations of a step on a replica: {_three_digits(flops / 1e9)} GFLOP",
        f"this device multiplies matrices at {peak / 1e9:,.0f} GFLOP/s; at {_EFFICIENCY:.0%} of "
        f"that a step takes {seconds:,.2f} s and the run {_in_words(seconds * config.steps)}",
    ]


def _per_clip(learner: Learner, config, classes: int) -> tuple[float, float]:
    """Bytes that the backward pass keeps, and floating-point operations of a step, for a clip.

    The difference between two batches: kernels are standardized, and kept, once for all clips.
    """
    few, many = (_traced(learner, config, classes, clips) for clips in _TRACED_CLIPS)
    clips = _TRACED_CLIPS[1] - _TRACED_CLIPS[0]
    return (many[0] - few[0]) / clips, (many[1] - few[1]) / clips


def _traced(learner: Learner, config, classes: int, clips: int) -> tuple[int, int]:
    """Bytes and operations for a batch, without the update, whose cost is small."""
    samples = round(config.crops.seconds * learner.encoder.sample_rate)
    batch = {"audio": tf.TensorSpec([clips, learner.objective.crops, samples], tf.int16)}
    if learner.objective.needs_labels:
        batch["labels"] = tf.TensorSpec([clips, classes], tf.float32)
    watched = _WatchedObjective(learner.objective)

    @tf.function
    def gradients(batch):
        context = tf.distribute.get_replica_context()
        draws = draw_step(learner.objective, learner.encoder, 0, 0, 0, clips=clips)
        watching = dataclasses.replace(learner, objective=watched)
        return gradients_of(watching, batch, draws, context)[0]

    graph = gradients.get_concrete_function(batch).graph
    options = tf.compat.v1.profiler.ProfileOptionBuilder.float_operation()
    options["output"] = "none"
    profile = tf.compat.v1.profiler.profile(graph, options=options)
    return _kept_bytes(graph, watched.forward), profile.total_float_ops


class _WatchedObjective:
    """An objective that records the operations that exist when the loss has been computed.

    What gradient checkpointing computes again comes later, like the backward pass.
    """

    def __init__(self, objective):
        self._objective = objective
        self.forward: set[str] = set()

    def __getattr__(self, name):
        return getattr(self._objective, name)

    def losses(self, *args):
        """Delegates, and records the operations of the graph."""
        losses = self._objective.losses(*args)
        graph = tf.compat.v1.get_default_graph()
        self.forward = {operation.name for operation in graph.get_operations()}
        return losses


def _kept_bytes(graph, forward: set[str]) -> int:
    """Bytes of all forward results that a later operation reads."""
    kept = {}
    for operation in graph.get_operations():
        if operation.name in forward:
            continue
        for tensor in operation.inputs:
            there_anyway = tensor.op.type in ("ReadVariableOp", "Const", "Placeholder")
            if tensor.op.name in forward and not there_anyway and tensor.shape.rank is not None:
                kept[tensor.ref()] = (tensor.shape.num_elements() or 0) * tensor.dtype.size
    return sum(kept.values())


def _spectrogram_bytes(learner: Learner, config) -> float:
    """Bytes of a clip besides what the backward pass keeps: int16 crops and float32 inputs."""
    samples = round(config.crops.seconds * learner.encoder.sample_rate)
    inputs = tf.function(learner.encoder.inputs).get_concrete_function(
        tf.TensorSpec([1, samples], tf.float32)
    )
    return learner.objective.crops * (2 * samples + 4 * inputs.outputs[0].shape.num_elements())


def _matmul_peak(precision: str) -> float:
    """Operations per second of a large matrix product on the first device."""
    dtype = tf.bfloat16 if precision == "mixed_bfloat16" else tf.as_dtype(precision)
    matrix = tf.ones([_MATRIX, _MATRIX], dtype)
    multiply = tf.function(lambda x: tf.reduce_sum(tf.matmul(x, x)))
    float(multiply(matrix))
    best = float("inf")
    for _ in range(5):
        started = time.perf_counter()
        float(multiply(matrix))
        best = min(best, time.perf_counter() - started)
    return 2 * _MATRIX**3 / best


def _three_digits(number: float) -> str:
    return f"{number:,.0f}" if number >= 100 else f"{number:.3g}"


def _in_words(seconds: float) -> str:
    for unit, length in (("days", 86_400), ("hours", 3_600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:,.1f} {unit}"
    return f"{seconds:,.0f} seconds"
