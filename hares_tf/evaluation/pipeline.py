"""The steps of an evaluation, in order: handle, clips, embeddings, head, score, result."""

import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeGuard, cast, overload

from hares_tf.evaluation.errors import DataAbsentError, EvaluationError
from hares_tf.evaluation.model_evaluation import ModelEvaluation
from hares_tf.evaluation.results.results import TaskResult
from hares_tf.evaluation.settings import EvaluationSettings
from hares_tf.evaluation.suites import resolve
from hares_tf.evaluation.tasks import Task
from hares_tf.evaluation.tasks.preparing import PreparedTask, prepare
from hares_tf.hub import loader
from hares_tf.jobs import Runner
from hares_tf.utils.files import DigestCache
from hares_tf.utils.progress import Progress

# A module by its name, or the encoder itself.
Handle = str | os.PathLike | Callable
# Suite names, task ids, paths of task files, or declarations.
Tasks = Sequence[str | os.PathLike | Task]


@overload
def evaluate(
    handles: Handle,
    tasks: Tasks = ...,
    settings: EvaluationSettings = ...,
    **changes: Any,
) -> list[TaskResult]: ...


@overload
def evaluate(
    handles: Sequence[Handle],
    tasks: Tasks = ...,
    settings: EvaluationSettings = ...,
    **changes: Any,
) -> list[list[TaskResult]]: ...


def evaluate(
    handles: Handle | Sequence[Handle],
    tasks: Tasks = ("mini",),
    settings: EvaluationSettings = EvaluationSettings(),
    **changes: Any,
) -> list[TaskResult] | list[list[TaskResult]]:
    """Scores models on tasks; what was finished before is not computed again.

    >>> results = evaluate("exports/f0", ["mini"], protocol="fast", output="results")
    >>> {result.task_id: result.score for result in results}

    Args:
        handles: a module by its name, or an encoder as a Python object: a callable `waveform
            [batch, samples] float32 -> embedding [batch, dim]` (see `hub.locate`); or a list of
            them. A callable without a `fingerprint` is computed again every time, and leaves
            nothing in the store.
        tasks: suite names, task ids, paths of task files, or `Task` declarations.
        settings: how the models are evaluated.
        **changes: fields of `EvaluationSettings`; they replace those of `settings`.

    Returns:
        For one handle the results of its tasks, in order. For a list of handles a list of such
        lists, one per model (a handle that is given twice counts once).

    Raises:
        EvaluationError, HubError: a mistake that the user can correct; what was finished is kept.
    """
    settings = replace(settings, **changes)
    Path(settings.output).mkdir(parents=True, exist_ok=True)  # fails before the work, not after it
    with _prepared(handles, tasks, settings) as (models, prepared):
        results = [model.run(prepared) for model in models]
    return results[0] if _is_single(handles) else results


def embed_only(
    handles: str | os.PathLike | Sequence[str | os.PathLike],
    tasks: Tasks = ("mini",),
    settings: EvaluationSettings = EvaluationSettings(),
    *,
    runner: Runner = Runner(),
    **changes: Any,
) -> dict[str, dict[str, dict[str, str]]]:
    """Fills the store with all that `evaluate` will need, in several processes or machines.

    Args:
        handles: modules by their names, because other processes cannot find Python objects.
        tasks: see `evaluate`.
        settings: see `evaluate`.
        runner: the processes or machines.
        **changes: see `evaluate`.

    Returns:
        By handle, task and clip id, why clips could not be read.

    Raises:
        EvaluationError, HubError: a mistake that the user can correct; what was embedded is kept.
    """
    for handle in _as_list(handles):
        if callable(handle):
            raise EvaluationError(
                f"Other processes cannot call {loader.locate(handle).name}, which exists in this "
                "process only; name it as python:package.module:function."
            )
    settings = replace(settings, **changes)
    with _prepared(handles, tasks, settings) as (models, prepared):
        return {model.handle: model.embed(prepared, runner) for model in models}


def _is_single(handles: Handle | Sequence[Handle]) -> TypeGuard[Handle]:
    return isinstance(handles, (str, os.PathLike)) or callable(handles)


def _as_list(handles: Handle | Sequence[Handle]) -> list[Handle]:
    return [handles] if _is_single(handles) else list(cast(Sequence[Handle], handles))


@contextmanager
def _prepared(
    handles: Handle | Sequence[Handle], tasks: Tasks, settings: EvaluationSettings
) -> Iterator[tuple[list[ModelEvaluation], list[PreparedTask]]]:
    """Yields the models, located, and the tasks, with their clips read and hashed."""
    settings.runtime.check_available()
    modules = _located(handles, settings.names)
    declared = _declared(tasks, settings)
    progress = Progress(settings.progress)
    with DigestCache(settings.digest_file, settings.verify) as digest_cache:
        prepared = _prepare_tasks(declared, settings, digest_cache, progress)
        yield (
            [ModelEvaluation(module, settings, digest_cache, progress) for module in modules],
            prepared,
        )


def _located(
    handles: Handle | Sequence[Handle], names: Sequence[str]
) -> list[loader.LocatedModule]:
    """Returns the modules, each once, under the given names.

    Raises:
        EvaluationError: there is no handle, the names are not as many, or two objects share a name,
            which would let them share their results.
        HubError: see `hub.loader.locate`.
    """
    modules: dict[str, loader.LocatedModule] = {}
    listed = _as_list(handles)
    if names and len(names) != len(listed):
        raise EvaluationError(
            f"{len(listed)} handle(s) have {len(names)} name(s); give one name for each, or none."
        )
    for index, handle in enumerate(listed):
        module = loader.locate(handle)
        if names:
            module = replace(module, name=names[index])
        if modules.setdefault(module.handle, module).function is not module.function:
            raise EvaluationError(
                f"Two encoders are called {module.name!r}; give each its own attribute `name`."
            )
    if not modules:
        raise EvaluationError("No handle was given; name at least one module.")
    return list(modules.values())


def _declared(tasks: Tasks, settings: EvaluationSettings) -> list[Task]:
    """Returns the declarations of tasks, of which some may be named."""
    declared = [task for task in tasks if isinstance(task, Task)]
    names = [task for task in tasks if not isinstance(task, Task)]
    if names or not declared:
        declared += resolve(names, settings.places.data_dir)
    for task_id, number in Counter(task.id for task in declared).items():
        if number > 1:
            raise EvaluationError(f"{number} tasks are called {task_id!r}; give each its own id.")
    return declared


def _prepare_tasks(
    tasks: Sequence[Task],
    settings: EvaluationSettings,
    digest_cache: DigestCache,
    progress: Progress,
) -> list[PreparedTask]:
    """Reads and hashes the clips; of a subset, tasks without any data are left out."""
    prepared, absent = [], []
    for task in tasks:
        try:
            prepared.append(prepare(task, settings.places, digest_cache, settings.subset, progress))
        except DataAbsentError as error:
            if not settings.subset:
                raise
            absent.append(str(error))
            progress.say(f"{task.id}: left out; {str(error).splitlines()[0]}")
    if not prepared:
        raise EvaluationError(absent[0])
    return prepared
