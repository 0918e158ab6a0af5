"""Opens TensorFlow: without its start-up messages, and with float32 that is float32."""

import os
import sys
from types import ModuleType

from hares_tf.utils.quiet import hidden_stderr


def import_tensorflow() -> ModuleType:
    """Imports TensorFlow and keeps float32 exact; what it prints shows only if the import fails.

    TensorFlow 2.21 logs about oneDNN and missing GPUs before it reads TF_CPP_MIN_LOG_LEVEL, so the
    file descriptor has to be redirected.

    Returns:
        The module `tensorflow`.
    """
    if "tensorflow" not in sys.modules:
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
        with hidden_stderr():
            import tensorflow  # noqa: F401
    import tensorflow as tf

    keep_float32()
    return tf


def keep_float32() -> None:
    """Makes TensorFlow compute float32 products in float32.

    Otherwise GPUs multiply float32 matrices in TF32 (a mantissa of 10 bits) and TPUs in bfloat16,
    which would undo what the frontend, the gates and the losses keep in float32 for a reason.
    mixed_bfloat16 is the way to trade precision for speed.
    """
    import tensorflow as tf

    tf.config.experimental.enable_tensor_float_32_execution(False)
