"""Private interfaces of Keras and TensorFlow that this package needs, each with the reason.

A new release of either library may change any of them: this file is the one place to mend. The
imports are inside the functions, so that importing this module loads neither library.
"""


def frozen_function(function):
    """Replaces the variables of a concrete function by constants, without lowering control flow.

    TensorFlow has no public way to freeze a function; OpenVINO reads only frozen graphs.
    """
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    return convert_variables_to_constants_v2(function, lower_control_flow=False)


def compiled_by_xla() -> bool:
    """Returns whether the graph that is being traced becomes a program of XLA.

    Gradient checkpointing needs another form there; TensorFlow has no public question for it.
    """
    import tensorflow as tf
    from tensorflow.python.ops import control_flow_util

    return not tf.executing_eagerly() and control_flow_util.GraphOrParentsInXlaContext(
        tf.compat.v1.get_default_graph()
    )


def stop_recording():
    """Context manager: no gradient tape records within it, as in `tf.recompute_grad`.

    `tape.stop_recording` stops one tape only; a custom gradient does not know the tapes around it.
    """
    from tensorflow.python.eager import record

    return record.stop_recording()


def xla_optimization_barrier(tensors: list) -> list:
    """Returns the tensors behind a barrier that XLA does not move or merge operations across."""
    from tensorflow.compiler.tf2xla.ops import gen_xla_ops

    return gen_xla_ops.xla_optimization_barrier(tensors)


def flattened_layers(layer) -> list:
    """Returns a Keras layer and all layers below it. Keras has only a private method for it."""
    return list(layer._flatten_layers())


def optimizer_of_summed_gradients(optimizer_class: type, *args, **kwargs):
    """Creates a Keras optimizer for gradients that are summed over the replicas already.

    The training step sums them itself, because it reports the norm of the sum; Keras would sum
    them once more, and has no public way to leave that out.
    """
    summed = type(
        optimizer_class.__name__,
        (optimizer_class,),
        {"_all_reduce_sum_gradients": lambda self, grads_and_vars: grads_and_vars},
    )
    return summed(*args, **kwargs)


def in_safe_mode() -> bool:
    """Returns whether Keras is loading a file in safe mode, where a layer must not run its code.

    Keras tells its own layers only.
    """
    from keras.src.saving import serialization_lib

    return bool(serialization_lib.in_safe_mode())
