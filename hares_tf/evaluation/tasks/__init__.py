"""Tasks: declarations and the readers of their clips; `resolve` finds them by name."""

import difflib
import importlib
import os
from collections.abc import Sequence
from pathlib import Path

from hares_tf.evaluation.errors import EvaluationError
from hares_tf.evaluation.tasks.declaration import Clip, Manifest, Places, Task

__all__ = ["HARES", "Clip", "Manifest", "Places", "Task", "known_tasks", "load_task", "resolve"]

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
# The same recordings under other rules; their scores compare with nobody's and enter no total.
VARIANTS = {
    "birdsong_official": "birdsong",
    "tut18_official": "tut18",
    "speech_commands_v1_v001": "speech_commands",
}


def known_tasks() -> dict[str, str]:
    """Module name by task id, the twelve first, then the variants."""
    return {**HARES, **VARIANTS}


def load_task(task_id: str) -> Task:
    """The declaration of a task of `known_tasks`."""
    module = importlib.import_module(f"{__name__}.{known_tasks()[task_id]}")
    return next(task for task in module.TASKS if task.id == task_id)


def resolve(names: Sequence[str], data_dir: str | os.PathLike | None = None) -> list[Task]:
    """Tasks for suite names, task ids and TOML files, in the order given, each once.

    Args:
        names: "hares" (the twelve), "mini" (the twelve in miniature, synthetic), the id of one
            task, or a path to a task file.
        data_dir: root of the manifests of task files; default: each TOML's own folder.

    Raises:
        EvaluationError: a name that is none of these (with the nearest known names), or two tasks
            with one id.
    """
    from hares_tf.evaluation.mini import mini_suite, mini_task_ids
    from hares_tf.evaluation.tasks.task_file import read_task_file

    tasks: dict[str, Task] = {}
    for name in names:
        if name.endswith(".toml"):
            found = [read_task_file(name, data_dir)]
        elif name == "hares":
            found = [load_task(task_id) for task_id in HARES]
        elif name in known_tasks():
            found = [load_task(name)]
        elif name == "mini":
            found = mini_suite()
        elif name in mini_task_ids():
            found = [task for task in mini_suite() if task.id == name]
        else:
            known = ["hares", "mini", *known_tasks(), *mini_task_ids()]
            raise EvaluationError(_unknown(name, known))
        for task in found:
            if task.id in tasks and tasks[task.id].source != task.source:
                raise EvaluationError(
                    f"two tasks are called {task.id!r}: {tasks[task.id].source} and {task.source}"
                )
            tasks[task.id] = task
    if not tasks:
        raise EvaluationError("no task was named; try --tasks=mini, or a task file such as my.toml")
    return list(tasks.values())


def _unknown(name: str, known: list[str]) -> str:
    if Path(name + ".toml").is_file():
        return f"unknown task {name!r}; did you mean the task file {name}.toml?"
    near = difflib.get_close_matches(name, known, n=3)
    hint = f"did you mean {' or '.join(near)}?" if near else f"known: {', '.join(known)}."
    return f"unknown task or suite {name!r}; {hint} A task of your own is a path that ends in .toml"
