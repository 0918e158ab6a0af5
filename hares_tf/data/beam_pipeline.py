"""Shards written by workers of an Apache Beam runner. Import it only where Beam is installed.

Workers write to the folder themselves, and their part files say what they did: every runner can do
that, and a repeated shard (runners try again) replaces its own.
"""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import apache_beam
from apache_beam.runners.runner import PipelineState

from hares_tf.data.errors import DataError
from hares_tf.data.shard_writer import KEPT, ShardJob, write_shard
from hares_tf.errors import HaresError
from hares_tf.evaluation.distributed.beam_pipeline import _ERROR, _outcomes, _pipeline
from hares_tf.evaluation.errors import EvaluationError
from hares_tf.files import atomic_file

# A pipeline's description holds its elements, and runners limit its size: more recordings than
# these are prepared by several pipelines, one after another.
_RECORDINGS_PER_PIPELINE = 250_000


class _WriteShard(apache_beam.DoFn):
    """Writes shards.

    A mistake that the user has to fix is written down, not raised: runners would repeat the work.

    Args:
        folder: takes the part files, and the mistake.
    """

    def __init__(self, folder: Path):
        self._folder = folder

    def process(self, job: ShardJob):
        if (self._folder / _ERROR).exists():
            return
        try:
            write_shard(job)
        except HaresError as error:
            with atomic_file(self._folder / _ERROR) as path:
                path.write_text(str(error), encoding="utf-8")


def run(
    jobs: Sequence[ShardJob],
    folder: Path,
    runner: str,
    options: Sequence[str],
    on_done: Callable[[ShardJob, dict], None],
) -> None:
    """Writes shards on a Beam runner.

    Args:
        jobs: the shards. All workers must reach audio and output under the paths that they have
            here.
        folder: of the part files.
        runner: as Beam names it: "DirectRunner", "FlinkRunner", "DataflowRunner", ...
        options: further options of the pipeline, each "--key=value".
        on_done: takes a shard and its part (see `write_shard`) when it is finished.

    Raises:
        DataError: the pipeline fails, or a worker met what `write_shard` raises.
    """
    (folder / _ERROR).unlink(missing_ok=True)  # of an earlier run
    try:
        for some in _groups(jobs):
            with _outcomes(folder, some, on_done):
                _run_pipeline(some, folder, runner, options)
    except EvaluationError as error:
        raise DataError(str(error)) from error


def _groups(jobs: Sequence[ShardJob]) -> Iterator[list[ShardJob]]:
    group, recordings = [], 0
    for job in jobs:
        if group and recordings + len(job.clips) > _RECORDINGS_PER_PIPELINE:
            yield group
            group, recordings = [], 0
        group.append(job)
        recordings += len(job.clips)
    if group:
        yield group


def _run_pipeline(
    jobs: Sequence[ShardJob], folder: Path, runner: str, options: Sequence[str]
) -> None:
    pipeline = _pipeline(runner, options)
    try:
        _ = (
            pipeline
            | "Shards" >> apache_beam.Create(jobs)
            | "Write" >> apache_beam.ParDo(_WriteShard(folder))
        )
        result = pipeline.run()
        try:
            state = result.wait_until_finish()
        except KeyboardInterrupt:
            result.cancel()
            raise
    except Exception as error:  # runners raise what they like, also for what a worker raised
        lines = [line for line in str(error).splitlines() if line.strip()] or [repr(error)]
        raise DataError(
            f"Beam's {runner} failed ({type(error).__name__}: {lines[-1].strip()[:300]}); {KEPT}"
        ) from error
    if state not in (None, PipelineState.DONE):
        raise DataError(f"Beam's {runner} ended as {state}; {KEPT}")
