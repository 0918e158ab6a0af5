"""The training step of a replica: static shapes, device operations only."""

import tensorflow as tf

from hares_tf.objectives.objective import Forward
from hares_tf.pretrain.draws import StepDraws, draw_step
from hares_tf.pretrain.gradient_caching import cached_gradients
from hares_tf.pretrain.learner import Learner, float_waveform
from hares_tf.pretrain.replicas import gather_of


def training_step(learner: Learner, batch: dict, step, *, seed: int, chunk: int = 0, context=None):
    """Reads a batch, updates the parameters; runs in replica context.

    Args:
        learner: what is trained.
        batch: "audio" int16 `[clips, crops, samples]` and, if the objective needs them, "labels"
            float32 `[clips, classes]`.
        step: number of the step, a scalar tensor.
        seed: of the run.
        chunk: see `gradients_of`.
        context: the replica's context; default: the strategy's.

    Returns:
        `(metrics, ranking)`: scalars whose sum over the replicas is the global value; and for
        classifiers `{"scores", "labels"}` of the global batch, each `[global_batch, classes]`,
        else an empty dictionary.
    """
    context = context or tf.distribute.get_replica_context()
    draws = draw_step(
        learner.objective,
        learner.encoder,
        seed,
        step,
        context.replica_id_in_sync_group,
        clips=batch["audio"].shape[0],
    )
    return apply_step(learner, batch, draws, context, chunk)


def apply_step(learner: Learner, batch: dict, draws: StepDraws, context, chunk: int = 0):
    """The step with given draws: what `training_step` does after drawing."""
    replicas = context.num_replicas_in_sync
    gradients, metrics, ranking = gradients_of(learner, batch, draws, context, chunk)
    gradients = context.all_reduce(tf.distribute.ReduceOp.SUM, gradients)
    # The norm is the same on all replicas; their sum is to be it.
    metrics["gradient_norm"] = tf.linalg.global_norm(gradients) / replicas
    learner.optimizer.apply(gradients, learner.trainable_variables)
    learner.objective.after_update(learner.encoder, learner.head)
    return metrics, ranking


def gradients_of(learner: Learner, batch: dict, draws: StepDraws, context, chunk: int = 0):
    """This replica's share of the gradients of the mean loss over the global batch.

    Args:
        learner: what is trained.
        batch: as for `training_step`.
        draws: of this replica.
        context: the replica's context.
        chunk: number of examples that the encoder embeds at a time, with gradient caching (see
            `gradient_caching`), a divisor of this replica's examples; 0, or at least their number:
            all at once.

    Returns:
        `(gradients, metrics, ranking)`; gradients in the order of `trainable_variables`, to be
        summed over the replicas like the metrics.
    """
    objective, clips = learner.objective, batch["audio"].shape[0]
    gather = gather_of(context, clips)
    global_batch = clips * context.num_replicas_in_sync
    inputs = objective.inputs(
        learner.encoder, float_waveform(batch["audio"]), batch.get("labels"), draws.objective
    )

    def loss_of(embed):
        forward = Forward(embed, learner.head, learner.encoder, draws.encoder)
        losses = objective.losses(forward, inputs, gather)
        return tf.reduce_sum(losses.per_example) / global_batch, losses

    if chunk and chunk < inputs.examples.shape[0]:
        loss, losses, gradients = cached_gradients(
            learner, inputs, draws.encoder[0], chunk, loss_of
        )
    else:
        variables = [variable.value for variable in learner.trainable_variables]
        with tf.GradientTape() as tape:
            loss, losses = loss_of(_embed(learner, draws))
        gradients = tape.gradient(loss, variables, unconnected_gradients="zero")

    metrics = {"loss": loss}
    for name, values in losses.metrics.items():
        metrics[name] = tf.reduce_sum(values) / global_batch
    ranking = {}
    if losses.scores is not None:
        ranking["scores"] = gather.all_examples(tf.stop_gradient(losses.scores))
        ranking["labels"] = gather.all_examples(batch["labels"])
    return gradients, metrics, ranking


def _embed(learner: Learner, draws: StepDraws):
    """The encoder in training, with the draws of each call."""

    def embed(examples, call: int = 0):
        return learner.encoder.embed(examples, training=True, draws=draws.encoder[call])

    return embed
