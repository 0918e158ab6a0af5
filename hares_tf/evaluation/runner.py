"""The steps of an evaluation, in order: handle, clips, embeddings, head, score, result."""

import os
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from hares_tf.evaluation.encoders.interface import Interface
from hares_tf.evaluation.encoders.runtime import DEFAULT, Runtime
from hares_tf.evaluation.errors import DataAbsentError, EvaluationError
from hares_tf.evaluation.model_evaluation import ModelEvaluation
from hares_tf.evaluation.protocols import PROTOCOLS, Options, make_protocol
from hares_tf.evaluation.tasks import Places, Task, resolve
from hares_tf.evaluation.tasks.preparing import PreparedTask, prepare
from hares_tf.hub import loader
from hares_tf.utils.files import DigestCache, cache_dir
from hares_tf.utils.progress import Progress

# A module by its name, or the encoder itself.
Handle = str | os.PathLike | Callable


def evaluate(
    handles: Handle | Sequence[Handle],
    tasks: Sequence[str] | Sequence[Task] = ("mini",),
    *,
    protocol: str = "fast",
    options: Options | None = None,
    output: str | os.PathLike = "results",
    store: str | os.PathLike | None = None,
    data_dir: str | os.PathLike | None = None,
    tfds_dir: str | os.PathLike | None = None,
    subset: bool = False,
    interface: Interface | None = None,
    native_head: str | None = None,
    runtime: Runtime | None = None,
    verify: bool = False,
    progress: str = "none",
) -> list[list[dict]]:
    """Scores models on tasks; what is already done is not done again.

    Args:
        handles: one or more modules, or encoders as Python objects: callables
            `waveform [batch, samples] float32 -> embedding [batch, dim]` (see
            `hub.loader.locate`). What has no `fingerprint` is computed anew every time, and leaves
            nothing in the store.
        tasks: suite names, task ids, paths of task files, or `Task` declarations.
        protocol: a key of `protocols.PROTOCOLS`.
        options: choices that the paper leaves open; default: the documented ones.
        output: results folder; one JSON per model and task appears in it.
        store: folder of the embedding store; default: in the user's cache folder.
        data_dir: where the data sets are, and the root of the manifests of task files; default for
            the latter: each file's own folder.
        tfds_dir: a folder of data sets that tensorflow-datasets has prepared.
        subset: score what is there of a data set that is not whole, as incomplete; leave out
            tasks whose data set is not there at all.
        interface: how the modules are called, where they do not say it themselves.
        native_head: which output of the modules holds their own AudioSet scores; that task is then
            scored by them, without training, as the paper does for supervised models.
        runtime: what computes the embeddings; default: TensorFlow in float32. Embeddings and
            results of different runtimes and precisions stand apart.
        verify: compute all file digests afresh instead of trusting size and modification time.
        progress: "bar", "json" (lines on stderr) or "none".

    Returns:
        For each handle the results of its tasks, as JSON data (the content of the files).

    Raises:
        EvaluationError, HubError: something the user can fix; what was finished is kept.
    """
    progress = Progress(progress)
    models, prepared = _prepare(
        handles,
        tasks,
        protocol,
        options,
        output,
        store,
        Places(_path(data_dir), _path(tfds_dir)),
        subset,
        interface,
        native_head,
        runtime,
        verify,
        progress,
    )
    return [model.run(prepared) for model in models]


def embed_only(
    handles: str | os.PathLike | Sequence[str | os.PathLike],
    tasks: Sequence[str] | Sequence[Task] = ("mini",),
    *,
    runner: str = "local",
    workers: int | None = None,
    beam_options: Sequence[str] = (),
    protocol: str = "fast",
    options: Options | None = None,
    store: str | os.PathLike | None = None,
    data_dir: str | os.PathLike | None = None,
    tfds_dir: str | os.PathLike | None = None,
    subset: bool = False,
    interface: Interface | None = None,
    native_head: str | None = None,
    runtime: Runtime | None = None,
    verify: bool = False,
    progress: str = "none",
) -> list[dict[str, dict[str, str]]]:
    """Fills the store with all that `evaluate` will need, in several processes or machines.

    Args:
        runner: "local" for processes of this machine, or the name of an Apache Beam runner.
        workers: processes of the local runner.
        beam_options: options of the Beam runner, each "--key=value".
        The others are those of `evaluate`, but that encoders are no objects here: other processes
            could not find them.

    Returns:
        For each handle why clips could not be read, by task and clip id.

    Raises:
        EvaluationError, HubError: as `evaluate`.
    """
    for handle in _listed(handles):
        if callable(handle):
            raise EvaluationError(
                f"other processes cannot call {loader.locate(handle).name}, which lives in this "
                "one; name it as python:package.module:function"
            )
    models, prepared = _prepare(
        handles,
        tasks,
        protocol,
        options,
        None,
        store,
        Places(_path(data_dir), _path(tfds_dir)),
        subset,
        interface,
        native_head,
        runtime,
        verify,
        Progress(progress),
    )
    return [model.embed(prepared, runner, workers, beam_options) for model in models]


def _listed(handles: Handle | Sequence[Handle]) -> list[Handle]:
    one = isinstance(handles, (str, os.PathLike)) or callable(handles)
    return [handles] if one else list(handles)


def _located(handles: Handle | Sequence[Handle]) -> list[loader.LocatedModule]:
    """The modules, each once.

    Raises:
        EvaluationError: there is none, or two objects share a name: their results would, too.
        HubError: see `hub.loader.locate`.
    """
    modules: dict[str, loader.LocatedModule] = {}
    for one in _listed(handles):
        module = loader.locate(one)
        if modules.setdefault(module.handle, module).function is not module.function:
            raise EvaluationError(
                f"two encoders are called {module.name!r}; give each an attribute `name` of its own"
            )
    if not modules:
        raise EvaluationError("no handle was given")
    return list(modules.values())


def _path(folder: str | os.PathLike | None) -> Path | None:
    return None if folder is None else Path(folder)


def _prepare(
    handles,
    tasks,
    protocol,
    options,
    output,
    store,
    places: Places,
    subset,
    interface,
    native_head,
    runtime: Runtime | None,
    verify,
    progress: Progress,
) -> tuple[list[ModelEvaluation], list[PreparedTask]]:
    """The models, located, and the tasks, with their clips read and hashed."""
    runtime = runtime or DEFAULT
    runtime.check_available()
    modules = _located(handles)
    if protocol not in PROTOCOLS:
        raise EvaluationError(
            f"unknown protocol {protocol!r}; there is: {', '.join(sorted(PROTOCOLS))}"
        )
    if output is not None:  # a wrong path is better found before the work
        Path(output).mkdir(parents=True, exist_ok=True)
    store = Path(store) if store is not None else cache_dir() / "embeddings"
    digest_cache = DigestCache(store / "digests.sqlite", verify)
    declared = [task for task in tasks if isinstance(task, Task)]
    named = [task for task in tasks if not isinstance(task, Task)]
    found = [*declared, *(resolve(named, places.data_dir) if named or not declared else [])]
    for task_id, number in Counter(task.id for task in found).items():
        if number > 1:
            raise EvaluationError(f"{number} tasks are called {task_id!r}; give each its own id")
    prepared, absent = [], []
    for task in found:
        try:
            prepared.append(prepare(task, places, digest_cache, subset, progress))
        except DataAbsentError as error:
            if not subset:
                raise
            absent.append(str(error))
            progress.say(f"{task.id}: left out; {str(error).splitlines()[0]}")
    if not prepared:
        raise EvaluationError(absent[0])
    models = [
        ModelEvaluation(
            module,
            digest_cache,
            make_protocol(protocol, options or Options()),
            Path(output or "."),
            store,
            interface or Interface(),
            native_head,
            runtime,
            progress,
        )
        for module in modules
    ]
    return models, prepared
