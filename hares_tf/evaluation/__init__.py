"""HARES: scores any audio encoder through its handle; knows nothing of `hares_tf.models`.

Attributes load on first use, so that a finished evaluation is reported without TensorFlow.
"""

from hares_tf.utils.lazy import attach

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "Encoder": "encoders.encoder",
        "EvaluationError": "errors",
        "EvaluationSettings": "settings",
        "Interface": "encoders.interface",
        "Options": "protocols",
        "Runtime": "encoders.runtime",
        "Task": "tasks",
        "TaskResult": "results.results",
        "embed_only": "pipeline",
        "evaluate": "pipeline",
        "open_encoder": "encoders.handle",
        "read_task_file": "tasks.task_file",
        "stated_interface": "encoders.handle",
    },
)
