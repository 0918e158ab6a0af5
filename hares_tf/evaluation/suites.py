"""Suites: the tasks that the names on a command line stand for.

This file is above both `tasks` and `mini`, because the mini suite is made of the readers of the
real tasks.
"""

import difflib
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from hares_tf.evaluation.errors import EvaluationError
from hares_tf.evaluation.mini import mini_suite, mini_task_ids
from hares_tf.evaluation.tasks import HARES, Task, known_tasks, load_task
from hares_tf.evaluation.tasks.task_file import read_task_file
from hares_tf.utils.user_code import import_user_code


def resolve(
    names: Sequence[str | os.PathLike], data_dir: str | os.PathLike | None = None
) -> list[Task]:
    """Returns the tasks of suites, task ids and task files, in the order given, each once.

    Args:
        names: "hares" (the twelve), "mini" (the twelve in miniature, synthetic), the id of one
            task, the path of a task file (TOML), or a Python file or "module:TASK" that declares
            tasks; its code is run.
        data_dir: root of the manifests of task files; default: each file's own folder.

    Raises:
        EvaluationError: an unknown name (the message lists the nearest known ones), two tasks with
            one id, or no name at all.
    """
    tasks: dict[str, Task] = {}
    for name in [os.fspath(name) for name in names]:
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
    if name.endswith(".py") or ":" in name:
        return _python_tasks(name)
    if name == "hares":
        return [load_task(task_id) for task_id in HARES]
    if name == "mini":
        return mini_suite()
    if name in known_tasks():
        return [load_task(name)]
    if name in mini_task_ids():
        return [task for task in mini_suite() if task.id == name]
    raise EvaluationError(_unknown(name, ["hares", "mini", *known_tasks(), *mini_task_ids()]))


def _python_tasks(name: str) -> list[Task]:
    """Returns the tasks that a Python file or module declares: "FILE.py" or "module:TASK"."""
    module_name, _, attribute = (name, "", "") if name.endswith(".py") else name.partition(":")
    module = import_user_code(module_name, f"--tasks={name}")
    declared = getattr(module, attribute or "TASK", None)
    if declared is None and not attribute:
        declared = getattr(module, "TASKS", None)
    tasks = [declared] if isinstance(declared, Task) else declared
    if not isinstance(tasks, (list, tuple)) or not all(isinstance(task, Task) for task in tasks):
        raise EvaluationError(
            f"--tasks={name}: {module_name} has no {attribute or 'TASK or TASKS'} that is a "
            "hares_tf.evaluation.tasks.Task, or a list of them."
        )
    for task in tasks:
        if task.id in known_tasks():
            raise EvaluationError(
                f"--tasks={name}: {task.id!r} is the id of a task of HARES, whose results yours "
                "would replace; give it another id."
            )
    return [replace(task, source=task.source or name) for task in tasks]


def _unknown(name: str, known: list[str]) -> str:
    """Returns the message for an unknown name."""
    for suffix in (".toml", ".py"):
        if Path(name + suffix).is_file():
            return f"Unknown task {name!r}; did you mean the task file {name}{suffix}?"
    near = difflib.get_close_matches(name, known, n=3)
    hint = f"did you mean {' or '.join(near)}?" if near else f"known: {', '.join(known)}."
    return (
        f"Unknown task or suite {name!r}; {hint} A task of your own is named by the path of its "
        "file, which ends in .toml or .py."
    )
