"""Workers of an Apache Beam runner. Import it only where Beam is wanted and installed.

Outcomes come back as files beside the embeddings: the workers reach that folder anyway, every
runner can do it, and a repeated shard (runners try again) replaces its own.
"""

import contextlib
import json
import shutil
import threading
import uuid
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import apache_beam
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.runner import PipelineState

from hares_tf.errors import HaresError
from hares_tf.evaluation.distributed.shards import Shard, run_shard
from hares_tf.evaluation.errors import EvaluationError
from hares_tf.files import atomic_file

# A pipeline's description holds its elements, and runners limit its size: more shards than this
# are embedded by several pipelines, one after another.
_SHARDS_PER_PIPELINE = 2000
_SECONDS_BETWEEN_LOOKS = 1.0
_ERROR = "error.txt"
_KEPT = "what was embedded is kept: run the same command again"


class _EmbedShard(apache_beam.DoFn):
    """Embeds shards; the encoder is kept per process by `run_shard`.

    A mistake that the user has to fix is written down, not raised: runners would repeat the work.

    Args:
        folder: takes the outcomes.
    """

    def __init__(self, folder: Path):
        self._folder = folder

    def process(self, shard: Shard):
        if (self._folder / _ERROR).exists():
            return
        try:
            name, text = f"{shard.number}.json", json.dumps(run_shard(shard))
        except HaresError as error:
            name, text = _ERROR, str(error)
        with atomic_file(self._folder / name) as path:
            path.write_text(text, encoding="utf-8")


def run(
    shards: Sequence[Shard],
    store: Path,
    runner: str,
    options: Sequence[str],
    on_done: Callable[[Shard, dict[str, str]], None],
) -> None:
    """Embeds shards on a Beam runner.

    Args:
        shards: to embed.
        store: root of the store. All workers must reach it, and the audio, under the paths that
            they have here.
        runner: as Beam names it: "DirectRunner", "FlinkRunner", "DataflowRunner", ...
        options: further options of the pipeline, each "--key=value".
        on_done: takes a shard and its failures (see `run_shard`) when it is finished.

    Raises:
        EvaluationError: the pipeline fails, or a worker met what `run_shard` raises.
    """
    folder = store / "scratch" / f"beam-{uuid.uuid4().hex}"
    folder.mkdir(parents=True)
    try:
        for start in range(0, len(shards), _SHARDS_PER_PIPELINE):
            some = shards[start : start + _SHARDS_PER_PIPELINE]
            with _outcomes(folder, some, on_done):
                _run_pipeline(some, folder, runner, options)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _run_pipeline(
    shards: Sequence[Shard], folder: Path, runner: str, options: Sequence[str]
) -> None:
    pipeline = _pipeline(runner, options)
    try:
        _ = (
            pipeline
            | "Shards" >> apache_beam.Create(shards)
            | "Embed" >> apache_beam.ParDo(_EmbedShard(folder))
        )
        result = pipeline.run()
        try:
            state = result.wait_until_finish()
        except KeyboardInterrupt:
            result.cancel()
            raise
    except Exception as error:  # runners raise what they like, also for what a worker raised
        lines = [line for line in str(error).splitlines() if line.strip()] or [repr(error)]
        raise EvaluationError(
            f"Beam's {runner} failed ({type(error).__name__}: {lines[-1].strip()[:300]}); {_KEPT}"
        ) from error
    if state not in (None, PipelineState.DONE):
        raise EvaluationError(f"Beam's {runner} ended as {state}; {_KEPT}")


def _pipeline(runner: str, options: Sequence[str]) -> apache_beam.Pipeline:
    try:
        parsed = PipelineOptions([f"--runner={runner}", *options])
        parsed.get_all_options()  # finds values of a wrong type now, not while running
        return apache_beam.Pipeline(options=parsed)
    except SystemExit as error:  # from argparse, which has said why on stderr
        raise EvaluationError(f"Beam does not understand {' '.join(options)}") from error
    except Exception as error:  # every runner checks its options in its own way
        reason = " ".join(str(error).split()) or repr(error)
        raise EvaluationError(f"Beam does not accept --runner={runner}: {reason}") from error


@contextlib.contextmanager
def _outcomes(
    folder: Path, shards: Sequence[Shard], on_done: Callable[[Shard, dict[str, str]], None]
) -> Iterator[None]:
    """Hands over outcomes as they appear while the block runs, and misses none at its end."""
    waiting = {f"{shard.number}.json": shard for shard in shards}

    def look() -> None:
        for path in folder.glob("[0-9]*.json"):
            if path.name in waiting:
                failures = json.loads(path.read_text(encoding="utf-8"))
                on_done(waiting.pop(path.name), failures)

    ended = threading.Event()

    def keep_looking() -> None:
        while not ended.wait(_SECONDS_BETWEEN_LOOKS):
            look()

    watcher = threading.Thread(target=keep_looking, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        ended.set()
        watcher.join()
    look()
    if (folder / _ERROR).exists():
        raise EvaluationError((folder / _ERROR).read_text(encoding="utf-8"))
    if waiting:
        raise EvaluationError(
            f"{len(waiting)} of {len(shards)} shards left no trace in {folder.parent}; is this "
            "a folder that all workers reach under this path?"
        )
