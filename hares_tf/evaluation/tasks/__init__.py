"""Tasks: declarations and the readers of their clips; `evaluation.suites` finds them by name."""

import importlib

from hares_tf.evaluation.tasks.declaration import Clip, Manifest, Places, Task

__all__ = ["HARES", "Clip", "Manifest", "Places", "Task", "known_tasks", "load_task"]

# Task id -> the module below this package that declares it in `TASKS`. Order: Table 1 of the paper.
HARES = {
    "audioset": "audioset",
    "birdsong": "birdsong",
    "tut18": "tut18",
    "esc50": "esc50",
    "speech_commands_v1": "speech_commands",
    "speech_commands_v2": "speech_commands",
    "fluent_speech_commands": "fluent_speech_commands",
    "voxforge": "voxforge",
    "voxceleb1": "voxceleb",
    "nsynth_instrument": "nsynth",
    "nsynth_pitch": "nsynth",
    "magnatagatune": "magnatagatune",
}
# The same recordings under other rules: their scores are not comparable and enter no total.
VARIANTS = {
    "birdsong_official": "birdsong",
    "tut18_official": "tut18",
    "speech_commands_v1_v001": "speech_commands",
}


def known_tasks() -> dict[str, str]:
    """Returns the module name by task id: the twelve tasks, then the variants."""
    return {**HARES, **VARIANTS}


def load_task(task_id: str) -> Task:
    """Returns the declaration of a task of `known_tasks`."""
    module = importlib.import_module(f"{__name__}.{known_tasks()[task_id]}")
    return next(task for task in module.TASKS if task.id == task_id)
