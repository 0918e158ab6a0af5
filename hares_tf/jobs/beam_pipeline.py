"""Workers of an Apache Beam runner. Import it only where Beam is wanted and installed.

Outcomes come back as files in a folder that the workers reach anyway: every runner can do it, and a
repeated job (runners try again) replaces its own.
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
    """Does jobs and writes down what comes of them.

    A mistake that the user has to fix is written down, not raised: runners would repeat the work.

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
        function: of a module; takes a job, gives what JSON can hold. It gives None if it has left
            `NUMBER.json` in the folder by itself.
        groups: of jobs. Each group is a pipeline, one after another: a pipeline's description
            holds its elements, and runners limit its size.
        folder: takes the outcomes. All workers must reach it, and what the function needs, under
            the paths that they have here.
        runner: as Beam names it: "DirectRunner", "FlinkRunner", "DataflowRunner", ...
        options: further options of the pipeline, each "--key=value".
        on_done: takes a job and its outcome when it is finished.

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
    except Exception as error:  # runners raise what they like, also for what a worker raised
        lines = [line for line in str(error).splitlines() if line.strip()] or [repr(error)]
        raise WorkersLostError(
            f"Beam's {runner} failed ({type(error).__name__}: {lines[-1].strip()[:300]})."
        ) from error
    if state not in (None, PipelineState.DONE):
        raise WorkersLostError(f"Beam's {runner} ended as {state}.")


def _pipeline(runner: str, options: Sequence[str]) -> apache_beam.Pipeline:
    try:
        parsed = PipelineOptions([f"--runner={runner}", *options])
        parsed.get_all_options()  # finds values of a wrong type now, not while running
        return apache_beam.Pipeline(options=parsed)
    except SystemExit as error:  # from argparse, which has said why on stderr
        raise JobError(f"Beam does not understand {' '.join(options)}.") from error
    except Exception as error:  # every runner checks its options in its own way
        reason = " ".join(str(error).split()) or repr(error)
        raise JobError(f"Beam does not accept --runner={runner}: {reason}.") from error


@contextlib.contextmanager
def _outcomes(folder: Path, jobs: Sequence, on_done: Callable) -> Iterator[None]:
    """Hands over outcomes as they appear while the block runs, and misses none at its end."""
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
        except BaseException as error:  # said by the thread that waits for this one
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
            f"{len(waiting)} of {len(jobs)} shards left no trace in {folder}; do all workers reach "
            "this folder under this path?"
        )
