"""Settings of TensorFlow that decide in which order, and how exactly, it computes."""

import os

from hares_tf.pretrain.errors import PretrainError


def fix_threads() -> None:
    """Makes results a function of the program alone; call it before TensorFlow computes anything.

    Sums over several threads are added in the order in which these finish. With one thread between
    operations and a fixed number within them the same machine gives the same bits each time;
    `enable_op_determinism` alone was seen not to suffice.

    Raises:
        PretrainError: TensorFlow runs already.
    """
    import tensorflow as tf

    try:
        tf.config.threading.set_inter_op_parallelism_threads(1)
        tf.config.threading.set_intra_op_parallelism_threads(os.cpu_count() or 1)
    except RuntimeError as error:
        raise PretrainError("--exact_resume must be set before TensorFlow is used.") from error


def sums_bfloat16_exactly() -> bool:
    """Returns whether this processor sums the gradient of a bfloat16 kernel in more than 8 bits.

    Accelerators do so, and processors that multiply bfloat16. Where TensorFlow falls back to
    adding bfloat16 numbers, a sum of ones stops at 2048 and gradients were seen to deviate by up
    to 8 %.
    """
    import tensorflow as tf

    if tf.config.list_logical_devices("TPU"):
        return True  # they add in float32
    x, kernel = tf.ones([4, 50, 30, 4], tf.bfloat16), tf.zeros([1, 1, 4, 6], tf.bfloat16)
    with tf.GradientTape() as tape:
        tape.watch(kernel)
        y = tf.nn.conv2d(x, kernel, 1, "SAME")
    gradient = tf.cast(tape.gradient(y, kernel), tf.float32)
    wanted = 4 * 50 * 30
    return bool(tf.reduce_all(abs(gradient - wanted) <= wanted * 2**-8))
