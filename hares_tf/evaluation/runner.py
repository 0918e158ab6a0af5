"""The steps of an evaluation, in order: handle, clips, embeddings, head, score, result."""

import os
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from hares_tf.evaluation import embedding, handle, results
from hares_tf.evaluation.errors import EvaluationError
from hares_tf.evaluation.interface import Interface
from hares_tf.evaluation.prepared import PreparedTask, clip_counts, examples, prepare
from hares_tf.evaluation.protocols import PROTOCOLS, Protocol
from hares_tf.evaluation.store import EmbeddingSpace, EmbeddingStore
from hares_tf.evaluation.tasks import Task, resolve
from hares_tf.evaluation.windows import window_samples
from hares_tf.files import DigestCache, cache_dir
from hares_tf.hub import loader


def evaluate(
    handles: str | os.PathLike | Sequence[str | os.PathLike],
    tasks: Sequence[str] | Sequence[Task] = ("mini",),
    *,
    protocol: str = "fast",
    output: str | os.PathLike = "results",
    store: str | os.PathLike | None = None,
    data_dir: str | os.PathLike | None = None,
    interface: Interface | None = None,
    verify: bool = False,
    progress: bool = False,
) -> list[list[dict]]:
    """Scores models on tasks; what is already done is not done again.

    Args:
        handles: one or more modules (see `hub.loader.locate`).
        tasks: suite names, task ids, paths of task files, or `Task` declarations.
        protocol: a key of `protocols.PROTOCOLS`.
        output: results folder; one JSON per model and task appears in it.
        store: folder of the embedding store; default: in the user's cache folder.
        data_dir: root of the manifests of task files; default: each file's own folder.
        interface: how the modules are called, where they do not say it themselves.
        verify: compute all file digests afresh instead of trusting size and modification time.
        progress: show progress bars and messages on stderr.

    Returns:
        For each handle the results of its tasks, as JSON data (the content of the files).

    Raises:
        EvaluationError, HubError: something the user can fix; what was finished is kept.
    """
    handles = [handles] if isinstance(handles, (str, os.PathLike)) else list(handles)
    if not handles:
        raise EvaluationError("no handle was given")
    if protocol not in PROTOCOLS:
        raise EvaluationError(
            f"unknown protocol {protocol!r}; there is: {', '.join(sorted(PROTOCOLS))}"
        )
    Path(output).mkdir(parents=True, exist_ok=True)  # a wrong path is better found before the work
    modules = [loader.locate(one) for one in dict.fromkeys(map(os.fspath, handles))]
    store = Path(store) if store is not None else cache_dir() / "embeddings"
    digest_cache = DigestCache(store / "digests.sqlite", verify)
    declared = [task for task in tasks if isinstance(task, Task)]
    named = [task for task in tasks if not isinstance(task, Task)]
    prepared = [
        prepare(task, digest_cache)
        for task in [*declared, *(resolve(named, data_dir) if named or not declared else [])]
    ]
    say = (lambda text: print(text, file=sys.stderr)) if progress else (lambda text: None)
    return [
        _ModelEvaluation(
            module,
            digest_cache,
            PROTOCOLS[protocol],
            Path(output),
            EmbeddingStore(store),
            interface or Interface(),
            progress,
            say,
        ).run(prepared)
        for module in modules
    ]


class _ModelEvaluation:
    """One model on several tasks; the model is loaded when its first embedding is missing."""

    def __init__(
        self, module, digest_cache, protocol: Protocol, output, store, flags, progress, say
    ):
        self._module = module
        self._interface, self._interface_source = handle.stated_interface(module, flags)
        self._flags = {k: v for k, v in flags.as_data().items() if v is not None}
        self._fingerprint = module.content_hash(digest_cache)
        if self._fingerprint is None:
            # A function that does not say when it changes: nothing of it may be reused.
            self._scratch = tempfile.TemporaryDirectory()
            store = EmbeddingStore(self._scratch.name)
        self._protocol = protocol
        self._output = output
        self._store = store
        self._progress = progress
        self._say = say
        self._encoder: handle.Encoder | None = None

    def run(self, prepared: list[PreparedTask]) -> list[dict]:
        known = self._fingerprint[:12] if self._fingerprint else "no fingerprint: nothing is reused"
        self._say(f"{self._module.name} ({self._module.handle}, {known})")
        return [self._result(task) for task in prepared]

    def _result(self, prepared: PreparedTask) -> dict:
        task = prepared.task
        embeddings, key = self._identity(prepared)
        path = results.result_path(
            self._output,
            self._protocol.name,
            self._module.name,
            self._fingerprint,
            self._flags,
            task.id,
        )
        finished = self._finished_before(path, key, task)
        if finished is not None:
            return finished
        space = self._store.space(embeddings)
        started = time.perf_counter()
        failures, embedded = self._embed(prepared, space)
        found = examples(prepared, space)
        embedded_at = time.perf_counter()
        self._say(f"  {task.id}: training the {task.head} head on {len(found.labels)} clips")
        outcome = self._protocol.run(task.head, task.metric, found)
        result = {
            "schema": results.SCHEMA_VERSION,
            "key": key,
            "score": outcome.score,
            "complete": not failures,
            "task": {**task.declaration(), "source": task.source},
            "protocol": {"identity": self._protocol.identity, **outcome.details},
            "clips": {
                **clip_counts(prepared, failures),
                "n_used": len(found.labels),
                "n_scored": outcome.n_test,
            },
            "model": self._model_record(space, found.embeddings.shape[1]),
            "embeddings": embeddings,
            "seconds": {
                "embedding": round(embedded_at - started, 6),
                "head": round(time.perf_counter() - embedded_at, 6),
                "clips_embedded": embedded,
            },
            "environment": results.environment(),
        }
        results.write_result(path, result)
        self._announce(result, path)
        return result

    def _identity(self, prepared: PreparedTask) -> tuple[dict, str]:
        """What the embeddings depend on, and the key of the result that depends on all of it."""
        embeddings = {
            "model": self._fingerprint,
            "adapter": handle.ADAPTER_VERSION,
            "interface": self._interface.as_data(),
            "runtime": "python" if self._module.kind == "python" else "tensorflow",
            "precision": "float32",
            "windows": {"kind": "tiles", "seconds": prepared.task.window_seconds},
            "preprocessing": embedding.PREPROCESSING_VERSION,
        }
        key = results.result_key(
            {
                "schema": results.SCHEMA_VERSION,
                "embeddings": embeddings,
                "task": prepared.task.declaration(),
                "manifest": prepared.manifest_hash,
                "protocol": self._protocol.identity,
            }
        )
        return embeddings, key

    def _finished_before(self, path: Path, key: str, task: Task) -> dict | None:
        """The stored result, if it is up to date and complete."""
        stored = results.read_result(path)
        if stored is None or self._fingerprint is None:
            return None
        # An incomplete result is tried again: what kept a clip from being read may have passed.
        if stored["key"] == key and stored["complete"]:
            self._say(f"  {task.id}: {stored['score']:.1f} (finished before: {path})")
            return stored
        reason = "was incomplete" if stored["key"] == key else "is out of date"
        self._say(f"  {task.id}: the stored result {reason}; scoring anew")
        return None

    def _announce(self, result: dict, path: Path) -> None:
        name, clips = result["task"]["id"], result["clips"]
        self._say(f"  {name}: {result['score']:.1f} ({path})")
        if repeated := clips["n_repeated_across_parts"]:
            self._say(f"  {name}: {repeated} recording(s) stand, byte for byte, in two parts")
        if not result["protocol"].get("converged", True):
            self._say(f"  {name}: the head did not converge; do not trust this score")
        if failures := clips["failures"]:
            self._say(
                f"  {name}: INCOMPLETE, {len(failures)} clip(s) could not be read; "
                f"the first: {next(iter(failures.values()))}"
            )

    def _embed(self, prepared: PreparedTask, space: EmbeddingSpace) -> tuple[dict[str, str], int]:
        """Embeds what is missing; why clips failed (by clip id) and how many were embedded."""
        missing = {
            digest: clip
            for digest, clip in zip(prepared.digests, prepared.manifest.clips, strict=True)
            if digest not in space
        }
        if not missing:
            return {}, 0
        if self._encoder is None:
            self._encoder = handle.open_encoder(self._module, self._interface)
            self._say(f"  {handle.in_words(self._encoder.interface)} ({self._interface_source})")
        seconds = prepared.task.window_seconds
        with (
            _progress_bar(prepared.task.id, len(missing), self._progress) as bar,
            space.writer(notes={"interface": self._encoder.interface}) as writer,
        ):
            failed = embedding.embed_clips(
                list(missing.values()),
                list(missing),
                self._encoder,
                window_samples(seconds, self._interface.sample_rate),
                embedding.batch_size(seconds),
                writer,
                bar.update,
            )
        failures = {
            clip.id: failed[digest]
            for clip, digest in zip(prepared.manifest.clips, prepared.digests, strict=True)
            if digest in failed
        }
        return failures, len(missing) - len(failed)

    def _model_record(self, space: EmbeddingSpace, embedding_size: int) -> dict:
        card = self._module.card or {}
        return {
            "name": self._module.name,
            "handle": self._module.handle,
            "fingerprint": self._fingerprint,
            "embedding_size": int(embedding_size),
            "interface": space.notes().get("interface"),
            "interface_stated_by": self._interface_source,
            **{name: card.get(name) for name in ("version", "parameters", "weights")},
        }


def _progress_bar(task_id: str, total: int, show: bool):
    from tqdm import tqdm

    # Terminals get a live bar, logs a line now and then.
    live = sys.stderr.isatty()
    return tqdm(
        total=total,
        desc=f"  {task_id}: embedding",
        unit="clip",
        mininterval=0.2 if live else 20.0,
        disable=not show,
        leave=False,
        delay=0.0 if live else 20.0,
        dynamic_ncols=True,
    )
