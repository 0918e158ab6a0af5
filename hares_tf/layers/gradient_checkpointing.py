"""Gradient checkpointing: activations are computed again in the backward pass, not kept."""

import keras

from hares_tf.utils._compat import compiled_by_xla, xla_optimization_barrier


def checkpointed(function):
    """Returns a function that keeps only its arguments for the gradient.

    `keras.remat` does this except where TensorFlow compiles with XLA, as on a TPU: XLA finds that
    the second computation equals the first and removes it, so the memory stays as it was (seen in
    programs compiled for TPU v3). A barrier in front of it prevents that.

    Args:
        function: float tensors -> one tensor; it may use variables and must not draw random
            numbers.
    """
    if keras.backend.backend() != "tensorflow":
        return keras.remat(function)
    plain, compiled = keras.remat(function), _behind_a_barrier(function)
    return lambda *args: (compiled if compiled_by_xla() else plain)(*args)


def _behind_a_barrier(function):
    import tensorflow as tf

    from hares_tf.utils._compat import stop_recording

    @tf.custom_gradient
    def run(*args):
        with stop_recording():
            result = function(*args)

        def gradient(upstream, variables=None):
            variables = list(variables or [])
            # The barrier keeps the second computation from starting before the gradient arrives,
            # and from being merged with the first one.
            *again, upstream = xla_optimization_barrier([*args, upstream])
            with tf.GradientTape() as tape:
                tape.watch(again)
                tape.watch(variables)
                result = function(*again)
            gradients = tape.gradient(
                result, [*again, *variables], upstream, unconnected_gradients="zero"
            )
            return gradients[: len(again)], gradients[len(again) :]

        return result, gradient

    return run
