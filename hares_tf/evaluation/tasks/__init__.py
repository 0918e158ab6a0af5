"""Tasks: declarations and the readers of their clips; `resolve` finds them by name."""

import difflib
import os
from collections.abc import Sequence
from pathlib import Path

from hares_tf.evaluation.errors import EvaluationError
from hares_tf.evaluation.tasks.declaration import Clip, Manifest, Task

__all__ = ["Clip", "Manifest", "Task", "resolve"]


def resolve(names: Sequence[str], data_dir: str | os.PathLike | None = None) -> list[Task]:
    """Tasks for suite names, task ids and TOML files, in the order given, each once.

    Args:
        names: "mini" (the synthetic suite), the id of one of its tasks, or a path to a task file.
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
        elif name == "mini":
            found = mini_suite()
        elif name in mini_task_ids():
            found = [task for task in mini_suite() if task.id == name]
        else:
            raise EvaluationError(_unknown(name, ["mini", *mini_task_ids()]))
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
