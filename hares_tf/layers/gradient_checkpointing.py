"""Computing again instead of remembering."""

import keras


def rematerialised(function):
    """A function that keeps its arguments for the gradient, and nothing that it computes from them.

    `keras.remat` does this except where TensorFlow compiles with XLA, as on a TPU: there the second
    computation is found to be the same as the first and is taken out, and the memory stays as it
    was (seen in programs compiled for TPU v3). A barrier in front of it prevents that.

    Args:
        function: float tensors -> one tensor; it may use variables and must not draw.
    """
    if keras.backend.backend() != "tensorflow":
        return keras.remat(function)
    plain, compiled = keras.remat(function), _behind_a_barrier(function)
    return lambda *args: (compiled if _compiled_by_xla() else plain)(*args)


def _compiled_by_xla():
    """Whether what is traced now becomes a program of XLA."""
    import tensorflow as tf
    from tensorflow.python.ops import control_flow_util

    return not tf.executing_eagerly() and control_flow_util.GraphOrParentsInXlaContext(
        tf.compat.v1.get_default_graph()
    )


def _behind_a_barrier(function):
    import tensorflow as tf
    from tensorflow.compiler.tf2xla.ops import gen_xla_ops
    from tensorflow.python.eager import record

    @tf.custom_gradient
    def run(*args):
        with record.stop_recording():
            result = function(*args)

        def gradient(upstream, variables=None):
            variables = list(variables or [])
            # Not before the gradient has arrived, and not the same as the first time.
            *again, upstream = gen_xla_ops.xla_optimization_barrier([*args, upstream])
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
