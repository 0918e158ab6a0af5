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


def keep_float32() -> None:
    """Makes float32 products float32.

    TPUs multiply float32 matrices in bfloat16 unless told otherwise, and GPUs in TF32 of ten bits:
    that would undo what the frontend, the gates and the loss keep in float32 for a reason. Who
    wants speed has mixed_bfloat16.
    """
    import tensorflow as tf

    tf.config.experimental.enable_tensor_float_32_execution(False)
