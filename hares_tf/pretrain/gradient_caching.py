"""Gradient caching: exact gradients of a large batch with the memory of a small one.

Gao et al., 2021, "Scaling deep contrastive learning batch size under memory limited setup":
embeddings of all examples first, chunk by chunk and without keeping activations; then the loss and
its gradient with respect to the embeddings; then each chunk once more with activations, from the
gradients of its embeddings. The result is that of the whole batch if the encoder treats each
example by itself, and if the loss depends on the encoder only through these embeddings
(`Encoder.examples_independent`, `Objective.chunkable`). It costs one more forward pass of the
network and holds the activations of one chunk only.
"""

import contextlib

import tensorflow as tf

from hares_tf.layers import ScaledWSConv2D
from hares_tf.layers.scaled_ws_conv import given_kernels
from hares_tf.objectives.objective import Inputs
from hares_tf.pretrain.errors import PretrainError
from hares_tf.pretrain.learner import Learner
from hares_tf.utils._compat import flattened_layers


def check_chunkable(learner: Learner, name: str) -> None:
    """Raises PretrainError if gradients in chunks would not be those of the whole batch.

    Args:
        learner: what is trained.
        name: of the objective.
    """
    if not learner.objective.chunkable:
        raise PretrainError(
            f"The objective {name} cannot be computed in chunks, because its loss depends on more "
            "than the embeddings of one pass; set chunk=0."
        )
    if not learner.encoder.examples_independent:
        raise PretrainError(
            f"{learner.encoder.name} cannot be trained in chunks, because its examples depend on "
            "each other (batch normalization); set chunk=0."
        )


def cached_gradients(learner: Learner, inputs: Inputs, encoder_draws: dict, chunk: int, loss_of):
    """Gradients of the loss with respect to `learner.trainable_variables`.

    Args:
        learner: what is trained.
        inputs: of this replica.
        encoder_draws: tensors by the names of the encoder's `training_draws`.
        chunk: number of examples in a chunk, a divisor of their number.
        loss_of: takes a function that embeds the examples; returns the loss and the `Losses`.

    Returns:
        `(loss, losses, gradients)`.
    """
    variables = [variable.value for variable in learner.trainable_variables]
    chunks = _Chunks(learner, inputs.examples, encoder_draws, chunk)
    # The head is small work and many parameters: it gets all embeddings at once.
    head = [variable.value for variable in learner.head.trainable_variables]
    encoder = variables[: len(variables) - len(head)]
    with _kernels_standardized_once(learner, encoder) as shared:
        embeddings = chunks.embeddings()
        with tf.GradientTape() as tape:
            tape.watch(embeddings)
            loss, losses = loss_of(lambda examples, call=0: embeddings)
        upstream, head_gradients = tape.gradient(
            loss, (embeddings, head), unconnected_gradients="zero"
        )
        gradients = shared.gradients_of_variables(chunks.gradients(upstream, shared.sources))
    return loss, losses, gradients + head_gradients


class _Chunks:
    """The examples of a replica, cut into chunks of one size."""

    def __init__(self, learner: Learner, examples, encoder_draws: dict, chunk: int):
        total = examples.shape[0]
        if total % chunk:
            raise ValueError(f"chunks of {chunk} examples do not divide the {total} of a replica")
        self._learner, self._chunk, self._count = learner, chunk, total // chunk
        self._examples = tf.reshape(examples, [self._count, chunk, *examples.shape[1:]])
        # The examples are the last axis of masks.
        self._draws = {name: self._cut_last(value) for name, value in encoder_draws.items()}

    def _cut_last(self, value):
        leading = value.shape[:-1]
        cut = tf.reshape(value, [*leading, self._count, self._chunk])
        return tf.transpose(cut, [len(leading), *range(len(leading)), len(leading) + 1])

    def _embed(self, index):
        draws = {name: value[index] for name, value in self._draws.items()}
        return self._learner.encoder.embed(self._examples[index], training=True, draws=draws)

    def embeddings(self):
        """Embeddings of all examples `[rows, dim]`; nothing is kept for a gradient."""

        def body(index, embeddings):
            return index + 1, embeddings.write(index, self._embed(index))

        shape = [self._chunk, self._learner.encoder.embedding_size]
        _, embeddings = tf.while_loop(
            lambda index, _: index < self._count,
            body,
            (0, tf.TensorArray(tf.float32, self._count, element_shape=shape)),
            parallel_iterations=1,
            maximum_iterations=self._count,
        )
        return tf.reshape(embeddings.concat(), [self._count * shape[0], shape[1]])

    def gradients(self, upstream, sources):
        """Sum over the chunks of the gradients that the gradients of their embeddings cause."""
        upstream = tf.reshape(upstream, [self._count, self._chunk, upstream.shape[-1]])

        def body(index, sums):
            with tf.GradientTape() as tape:
                tape.watch(sources)
                embeddings = self._embed(index)
            gradients = tape.gradient(
                embeddings, sources, upstream[index], unconnected_gradients="zero"
            )
            return index + 1, [total + new for total, new in zip(sums, gradients, strict=True)]

        _, sums = tf.while_loop(
            lambda index, _: index < self._count,
            body,
            (0, [tf.zeros_like(source) for source in sources]),
            parallel_iterations=1,
            maximum_iterations=self._count,
        )
        return sums


def standardized_convolutions(learner: Learner) -> list:
    """The convolutions whose kernels can be standardized once for all chunks.

    None with gradient checkpointing: what a block computes again must depend on its arguments and
    on variables alone, or its gradient would be lost.
    """
    if learner.gradient_checkpointing:
        return []
    layers = flattened_layers(learner.encoder)
    return [layer for layer in layers if isinstance(layer, ScaledWSConv2D)]


@contextlib.contextmanager
def _kernels_standardized_once(learner: Learner, variables: list):
    """Context manager: all chunks use the same standardized kernels; yields a `_SharedKernels`."""
    layers = standardized_convolutions(learner)
    with tf.GradientTape() as tape:
        kernels = [layer.effective_kernel() for layer in layers]
    with given_kernels(zip(layers, kernels, strict=True)):
        yield _SharedKernels(layers, kernels, tape, variables)


class _SharedKernels:
    """Carries gradients of standardized kernels on to the variables behind them.

    Attributes:
        sources: the tensors that the gradients of the chunks are computed for: standardized
            kernels, and the variables that are in none.
    """

    def __init__(self, layers, kernels, tape, variables):
        self._kernels, self._tape = kernels, tape
        inner = {id(weight.value) for layer in layers for weight in (layer.kernel, layer.gain)}
        self._is_inner = [id(variable) in inner for variable in variables]
        self._inner = [variable for variable in variables if id(variable) in inner]
        self.sources = [v for v in variables if id(v) not in inner] + kernels

    def gradients_of_variables(self, gradients: list) -> list:
        """Gradients of the `sources` -> gradients of all variables, in their order."""
        outer = iter(gradients[: len(gradients) - len(self._kernels)])
        behind = gradients[len(gradients) - len(self._kernels) :]
        inner = iter(self._tape.gradient(self._kernels, self._inner, behind))
        return [next(inner if is_inner else outer) for is_inner in self._is_inner]
