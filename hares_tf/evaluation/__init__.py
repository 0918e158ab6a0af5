"""HARES: scores of any audio encoder, through its handle. Knows nothing of `hares_tf.models`.

Attributes load on first use, so that a finished evaluation is reported without TensorFlow.
"""

from hares_tf.utils.lazy import attach

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "Encoder": "encoders.handle",
        "EvaluationError": "errors",
        "Interface": "encoders.interface",
        "Options": "protocols",
        "Runtime": "encoders.runtime",
        "Task": "tasks",
        "embed_only": "runner",
        "encoder_of": "encoders.handle",
        "evaluate": "runner",
        "read_task_file": "tasks.task_file",
    },
)
