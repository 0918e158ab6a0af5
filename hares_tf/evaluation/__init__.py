"""HARES: scores of any audio encoder, through its handle. Knows nothing of `hares_tf.models`.

Attributes load on first use, so that a finished evaluation is reported without TensorFlow.
"""

import importlib

_HOMES = {
    "Encoder": "hares_tf.evaluation.handle",
    "EvaluationError": "hares_tf.evaluation.errors",
    "Task": "hares_tf.evaluation.tasks",
    "evaluate": "hares_tf.evaluation.runner",
    "read_task_file": "hares_tf.evaluation.tasks.task_file",
}

__all__ = sorted(_HOMES)


def __getattr__(name: str):
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
