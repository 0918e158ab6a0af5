"""One training step of one replica: static shapes, device operations only."""

import contextlib

import tensorflow as tf

from hares_tf.layers.scaled_ws_conv import given_kernels
from hares_tf.objectives.mixing import mix, mixed_spectrogram
from hares_tf.pretrain.draws import Draws, draw
from hares_tf.pretrain.learner import Learner, float_waveform
from hares_tf.pretrain.replicas import gather_of


def training_step(learner: Learner, batch: dict, step, *, seed: int, chunk: int = 0, context=None):
    """Reads a batch, updates the parameters; runs in replica context.

    Args:
        learner: what is trained.
        batch: "audio" int16 `[batch, views, samples]` and, if the objective needs them, "labels"
            float32 `[batch, classes]`.
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
    clips, views = batch["audio"].shape[:2]
    draws = draw(
        seed,
        step,
        context.replica_id_in_sync_group,
        views=views,
        batch=clips,
        drop_rates=learner.drop_rates,
    )
    return apply_step(learner, batch, draws, context, chunk)


def apply_step(learner: Learner, batch: dict, draws: Draws, context, chunk: int = 0):
    """The step with given draws: what `training_step` does after drawing."""
    replicas = context.num_replicas_in_sync
    gradients, metrics, ranking = gradients_of(learner, batch, draws, context, chunk)
    gradients = context.all_reduce(tf.distribute.ReduceOp.SUM, gradients)
    # The norm is the same on all replicas; their sum is to be it.
    metrics["gradient_norm"] = tf.linalg.global_norm(gradients) / replicas
    learner.optimizer.apply(gradients, learner.trainable_variables)
    return metrics, ranking


def gradients_of(learner: Learner, batch: dict, draws: Draws, context, chunk: int = 0):
    """This replica's share of the gradients of the mean loss over the global batch.

    With `chunk`, gradients are cached (Gao et al., 2021, "Scaling deep contrastive learning batch
    size under memory limited setup"): embeddings of all examples first, chunk by chunk and without
    keeping activations; then the loss and its gradient with respect to the embeddings; then each
    chunk once more with activations, from its embeddings' gradients. The result is that of the
    whole batch, since examples of a normaliser-free network do not see each other before the loss.
    It costs one more forward pass of the network and holds the activations of one chunk only.

    Args:
        learner: what is trained.
        batch: as for `training_step`.
        draws: `Draws` of this replica.
        context: the replica's context.
        chunk: views per chunk, a divisor of all this replica's views; 0, or more than those: all at
            once.

    Returns:
        `(gradients, metrics, ranking)`; gradients in the order of `trainable_variables`, to be
        summed over the replicas like the metrics.
    """
    clips, views = batch["audio"].shape[:2]
    gather = gather_of(context, clips)
    global_batch = clips * context.num_replicas_in_sync
    spectrogram = _views(learner, batch["audio"], draws)
    labels = _mixed_labels(learner, batch, draws)

    def loss_of(embeddings):
        outputs = learner.head(embeddings)
        losses = learner.objective.losses(
            tf.reshape(outputs, [views, clips, outputs.shape[-1]]), labels, gather
        )
        return tf.reduce_sum(losses.per_example) / global_batch, losses

    variables = [variable.value for variable in learner.trainable_variables]
    if not chunk or chunk >= views * clips:
        with tf.GradientTape() as tape:
            embeddings = learner.embeddings(spectrogram, draws.residual_masks)
            loss, losses = loss_of(embeddings)
        gradients = tape.gradient(loss, variables, unconnected_gradients="zero")
    else:
        chunks = _cut(spectrogram, draws.residual_masks, chunk)
        # The head is small work and many parameters: it sees all embeddings at once.
        head = [variable.value for variable in learner.head.trainable_variables]
        encoder = variables[: len(variables) - len(head)]
        with _kernels_standardised_once(learner, encoder) as shared:
            embeddings = _embeddings_in_chunks(learner, chunks)
            with tf.GradientTape() as tape:
                tape.watch(embeddings)
                loss, losses = loss_of(embeddings)
            upstream, head_gradients = tape.gradient(
                loss, (embeddings, head), unconnected_gradients="zero"
            )
            gradients = shared.gradients_of_variables(
                _gradients_in_chunks(learner, chunks, upstream, shared.sources)
            )
        gradients += head_gradients

    metrics = {"loss": loss}
    for name, values in losses.metrics.items():
        metrics[name] = tf.reduce_sum(values) / global_batch
    ranking = {}
    if losses.scores is not None:
        ranking["scores"] = gather.all_examples(tf.stop_gradient(losses.scores))
        ranking["labels"] = gather.all_examples(batch["labels"])
    return gradients, metrics, ranking


@contextlib.contextmanager
def _kernels_standardised_once(learner, variables):
    """Within it, all chunks use the same standardised kernels, a `_SharedKernels`."""
    layers = learner.standardised_convolutions
    with tf.GradientTape() as tape:
        kernels = [layer.effective_kernel() for layer in layers]
    with given_kernels(zip(layers, kernels, strict=True)):
        yield _SharedKernels(layers, kernels, tape, variables)


class _SharedKernels:
    """Carries gradients of standardised kernels on to the variables behind them.

    Attributes:
        sources: of which the chunks' gradients are to be computed: standardised kernels, and the
            variables that are in none.
    """

    def __init__(self, layers, kernels, tape, variables):
        self._kernels, self._tape = kernels, tape
        inner = {id(weight.value) for layer in layers for weight in (layer.kernel, layer.gain)}
        self._is_inner = [id(variable) in inner for variable in variables]
        self._inner = [variable for variable in variables if id(variable) in inner]
        self.sources = [v for v in variables if id(v) not in inner] + kernels

    def gradients_of_variables(self, gradients):
        """Gradients of the `sources` -> gradients of all variables, in their order."""
        outer = iter(gradients[: len(gradients) - len(self._kernels)])
        behind = gradients[len(gradients) - len(self._kernels) :]
        inner = iter(self._tape.gradient(self._kernels, self._inner, behind))
        return [next(inner if is_inner else outer) for is_inner in self._is_inner]


def _views(learner, audio, draws):
    """Mixed log-mel spectrograms `[views * batch, frames, bins, 1]`, first views first."""
    return tf.concat(
        [
            mixed_spectrogram(
                learner.encoder.frontend,
                float_waveform(audio[:, view]),
                draws.partners[view],
                draws.ratios[view],
                learner.mixing,
            )
            for view in range(audio.shape[1])
        ],
        axis=0,
    )


def _mixed_labels(learner, batch, draws):
    """Labels as soft as the examples are mixed; None without labels."""
    if not learner.objective.needs_labels:
        return None
    if learner.mixing == "none":
        return batch["labels"]
    return mix(batch["labels"], draws.partners[0], draws.ratios[0])


def _cut(spectrogram, residual_masks, chunk):
    """`(spectrograms [chunks, chunk, ...], masks [chunks, rows, chunk] or None)`."""
    total = spectrogram.shape[0]
    if total % chunk:
        raise ValueError(f"chunks of {chunk} views do not divide the {total} views of a replica")
    count = total // chunk
    spectrograms = tf.reshape(spectrogram, [count, chunk, *spectrogram.shape[1:]])
    if residual_masks is None:
        return spectrograms, None
    rows = residual_masks.shape[0]
    masks = tf.transpose(tf.reshape(residual_masks, [rows, count, chunk]), [1, 0, 2])
    return spectrograms, masks


def _chunk(chunks, index):
    spectrograms, masks = chunks
    return spectrograms[index], None if masks is None else masks[index]


def _embeddings_in_chunks(learner, chunks):
    """Embeddings of all views `[views, dim]`; nothing is kept for a gradient."""
    count, chunk = chunks[0].shape[:2]

    def body(index, embeddings):
        return index + 1, embeddings.write(index, learner.embeddings(*_chunk(chunks, index)))

    shape = [chunk, learner.encoder.embedding_size]
    _, embeddings = tf.while_loop(
        lambda index, _: index < count,
        body,
        (0, tf.TensorArray(tf.float32, count, element_shape=shape)),
        parallel_iterations=1,
        maximum_iterations=count,
    )
    return embeddings.concat()


def _gradients_in_chunks(learner, chunks, upstream, sources):
    """Sum over the chunks of the gradients that their embeddings' gradients cause."""
    count, chunk = chunks[0].shape[:2]
    upstream = tf.reshape(upstream, [count, chunk, upstream.shape[-1]])

    def body(index, sums):
        with tf.GradientTape() as tape:
            tape.watch(sources)
            embeddings = learner.embeddings(*_chunk(chunks, index))
        gradients = tape.gradient(
            embeddings, sources, upstream[index], unconnected_gradients="zero"
        )
        return index + 1, [total + new for total, new in zip(sums, gradients, strict=True)]

    _, sums = tf.while_loop(
        lambda index, _: index < count,
        body,
        (0, [tf.zeros_like(source) for source in sources]),
        parallel_iterations=1,
        maximum_iterations=count,
    )
    return sums
