"""Suites: the tasks that the names on a command line stand for.

This file is above both `tasks` and `mini`, because the mini suite is made of the readers of the
real tasks.
"""

import difflib
import os
from collections.abc import Sequence
from pathlib import Path

from hares_tf.evaluation.errors import EvaluationError
from hares_tf.evaluation.mini import mini_suite, mini_task_ids
from hares_tf.evaluation.tasks import HARES, Task, known_tasks, load_task
from hares_tf.evaluation.tasks.task_file import read_task_file


def resolve(names: Sequence[str], data_dir: str | os.PathLike | None = None) -> list[Task]:
    """Returns the tasks of suites, task ids and task files, in the order given, each once.

    Args:
        names: "hares" (the twelve), "mini" (the twelve in miniature, synthetic), the id of one
            task, or the path of a task file.
        data_dir: root of the manifests of task files; default: each file's own folder.

    Raises:
        EvaluationError: an unknown name (the message lists the nearest known ones), two tasks with
            one id, or no name at all.
    """
    tasks: dict[str, Task] = {}
    for name in names:
        for task in _tasks(name, data_dir):
            if task.id in tasks and tasks[task.id].source != task.source:
                raise EvaluationError(
                    f"Two tasks are called {task.id!r}: {tasks[task.id].source} and {task.source}."
                )
            tasks[task.id] = task
    if not tasks:
        raise EvaluationError(
            "No task was named; try --tasks=mini, or a task file such as my.toml."
        )
    return list(tasks.values())


def tasks_named(names: Sequence[str], data_dir: str | None) -> list[Task]:
    """Returns the tasks of some names, each once.

    Args:
        names: "hares" (the twelve), "variants" (the same data sets under other rules), ids of
            tasks, and paths of task files.
        data_dir: see `resolve`.

    Raises:
        EvaluationError: an unknown name.
    """
    suites = {
        "hares": list(HARES),
        "variants": [task_id for task_id in known_tasks() if task_id not in HARES],
    }
    ids = dict.fromkeys(task for name in names for task in suites.get(name, [name]))
    return [
        task
        for name in ids
        for task in ([load_task(name)] if name in known_tasks() else resolve([name], data_dir))
    ]


def _tasks(name: str, data_dir: str | os.PathLike | None) -> list[Task]:
    """Returns the tasks that one name stands for."""
    if name.endswith(".toml"):
        return [read_task_file(name, data_dir)]
    if name == "hares":
        return [load_task(task_id) for task_id in HARES]
    if name == "mini":
        return mini_suite()
    if name in known_tasks():
        return [load_task(name)]
    if name in mini_task_ids():
        return [task for task in mini_suite() if task.id == name]
    raise EvaluationError(_unknown(name, ["hares", "mini", *known_tasks(), *mini_task_ids()]))


def _unknown(name: str, known: list[str]) -> str:
    """Returns the message for an unknown name."""
    if Path(name + ".toml").is_file():
        return f"Unknown task {name!r}; did you mean the task file {name}.toml?"
    near = difflib.get_close_matches(name, known, n=3)
    hint = f"did you mean {' or '.join(near)}?" if near else f"known: {', '.join(known)}."
    return (
        f"Unknown task or suite {name!r}; {hint} A task of your own is named by the path of its "
        "file, which ends in .toml."
    )
