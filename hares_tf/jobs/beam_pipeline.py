"""Runs jobs on the workers of an Apache Beam runner. Importing it needs Apache Beam.

Outcomes come back as files in a shared folder, which works with every runner; a job that a runner
repeats replaces its own outcome.
"""

import contextlib
import json
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import apache_beam
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.runner import PipelineState

from hares_tf.jobs.errors import JobError, WorkersLostError
from hares_tf.utils.errors import HaresError
from hares_tf.utils.files import atomic_file

_SECONDS_BETWEEN_LOOKS = 1.0
_ERROR = "error.txt"


class _DoJob(apache_beam.DoFn):
    """Does jobs and writes their outcomes to files.

    An error that the user can correct is written to a file, because a runner would repeat the work
    of a job that raises.

    Args:
        function: see `run`.
        folder: see `run`.
    """

    def __init__(self, function: Callable, folder: Path):
        self._function, self._folder = function, folder

    def process(self, job):
        if (self._folder / _ERROR).exists():
            return
        try:
            outcome = self._function(job)
        except HaresError as error:
            self._write(_ERROR, str(error))
        else:
            if outcome is not None:
                self._write(f"{job.number}.json", json.dumps(outcome))

    def _write(self, name: str, text: str) -> None:
        with atomic_file(self._folder / name) as path:
            path.write_text(text, encoding="utf-8")


def run(
    function: Callable,
    groups: Sequence[Sequence],
    folder: Path,
    runner: str,
    options: Sequence[str],
    on_done: Callable,
) -> None:
    """Does jobs on a Beam runner.

    Args:
        function: a module-level function from a job to JSON data; None if it has written
            `NUMBER.json` to the folder itself.
        groups: of jobs. Each group is a pipeline, one after another, because a pipeline's
            description holds its elements, and runners limit its size.
        folder: for the outcomes. All workers must reach it, and all files that the function needs,
            under the same paths as this machine.
        runner: its name in Beam: "DirectRunner", "FlinkRunner", "DataflowRunner", ...
        options: further options of the pipeline, each "--key=value".
        on_done: called with a job and its outcome when it is finished.

    Raises:
        JobError: the pipeline fails (`WorkersLostError`), or the function raised a `HaresError`.
    """
    (folder / _ERROR).unlink(missing_ok=True)  # of an earlier run
    for jobs in groups:
        with _outcomes(folder, jobs, on_done):
            _run_pipeline(function, jobs, folder, runner, options)


def _run_pipeline(
    function: Callable, jobs: Sequence, folder: Path, runner: str, options: Sequence[str]
) -> None:
    pipeline = _pipeline(runner, options)
    try:
        _ = (
            pipeline
            | "Jobs" >> apache_beam.Create(jobs)
            | "Do" >> apache_beam.ParDo(_DoJob(function, folder))
        )
        result = pipeline.run()
        try:
            state = result.wait_until_finish()
        except KeyboardInterrupt:
            result.cancel()
            raise
    except Exception as error:  # runners raise any type, also for errors of workers
        lines = [line for line in str(error).splitlines() if line.strip()] or [repr(error)]
        raise WorkersLostError(
            f"Beam's {runner} failed ({type(error).__name__}: {lines[-1].strip()[:300]})."
        ) from error
    if state not in (None, PipelineState.DONE):
        raise WorkersLostError(f"Beam's {runner} ended as {state}.")


def _pipeline(runner: str, options: Sequence[str]) -> apache_beam.Pipeline:
    try:
        parsed = PipelineOptions([f"--runner={runner}", *options])
        parsed.get_all_options()  # finds values of a wrong type before the pipeline runs
        return apache_beam.Pipeline(options=parsed)
    except SystemExit as error:  # from argparse, which has printed the reason on stderr
        raise JobError(f"Beam does not understand {' '.join(options)}.") from error
    except Exception as error:  # every runner checks its options in its own way
        reason = " ".join(str(error).split()) or repr(error)
        raise JobError(f"Beam does not accept --runner={runner}: {reason}.") from error


@contextlib.contextmanager
def _outcomes(folder: Path, jobs: Sequence, on_done: Callable) -> Iterator[None]:
    """Calls `on_done` for each outcome, while the block runs and at its end."""
    waiting = {f"{job.number}.json": job for job in jobs}

    def look() -> None:
        for path in folder.glob("[0-9]*.json"):
            if path.name in waiting:
                on_done(waiting[path.name], json.loads(path.read_text(encoding="utf-8")))
                del waiting[path.name]

    ended = threading.Event()
    failures: list[BaseException] = []

    def keep_looking() -> None:
        try:
            while not ended.wait(_SECONDS_BETWEEN_LOOKS):
                look()
        except BaseException as error:  # raised by the thread that waits for this one
            failures.append(error)

    watcher = threading.Thread(target=keep_looking, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        ended.set()
        watcher.join()
    if failures:
        raise failures[0]
    look()
    if (folder / _ERROR).exists():
        raise JobError((folder / _ERROR).read_text(encoding="utf-8"))
    if waiting:
        raise JobError(
            f"{len(waiting)} of {len(jobs)} shards left no outcome in {folder}. Check that all "
            "workers reach this folder under this path."
        )
