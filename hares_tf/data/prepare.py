"""Prepares recordings as a folder of clips, which an interrupted call leaves resumable.

Until the folder is complete it has a subfolder `.hares-unfinished` with `plan.json` (the plan),
`lock` (held by the process that writes) and a part file for every finished shard. The description
`clips.json` is written last, then the subfolder is removed.
"""

import contextlib
import json
import os
import shutil
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from hares_tf.data import sidecar
from hares_tf.data.errors import DataError
from hares_tf.data.plan import Plan, first_reasons, make_plan
from hares_tf.data.shard_writer import Settings, ShardJob, full_disk_said, read_part
from hares_tf.data.workers import write_shards
from hares_tf.jobs import Runner
from hares_tf.recordings.labeled_folder import folder_source
from hares_tf.recordings.recording import Source
from hares_tf.utils.files import atomic_file, locked
from hares_tf.utils.progress import Progress

# An unusual name, because the folder is removed in the end.
UNFINISHED = ".hares-unfinished"
_PLAN, _LOCK = "plan.json", "lock"
_TEMPORARY = ".tmp-*"


def prepare(
    source: Source | str | os.PathLike,
    output: str | os.PathLike,
    *,
    shards: int | None = None,
    settings: Settings | None = None,
    runner: Runner | None = None,
    overwrite: bool = False,
    progress: str = "none",
) -> dict:
    """Prepares recordings as shards of training clips.

    Several processes decode; a script that calls this needs the usual
    `if __name__ == "__main__":`.

    Args:
        source: the recordings (see `hares_tf.recordings`), or a folder of audio.
        output: the folder to create. Shards that an earlier call with the same arguments has
            finished are kept.
        shards: number of shards; default: one for about 1000 recordings.
        settings: how recordings become clips; default: `Settings()`.
        runner: where recordings are decoded; default: one local process per core. The workers of a
            Beam runner must reach audio and output under the same paths as here.
        overwrite: whether to replace clips that were prepared with other arguments or are damaged.
        progress: a mode of `hares_tf.utils.progress.Progress`.

    Returns:
        The content of `clips.json`.

    Raises:
        DataError: something that the user can fix; finished shards are kept.
        JobError: options of the runner that do not fit together or that it does not accept.
    """
    if not isinstance(source, Source):
        source = folder_source(source)
    plan = make_plan(source, settings or Settings(), shards)
    return carry_out(plan, output, runner=runner, overwrite=overwrite, progress=progress)


def carry_out(
    plan: Plan,
    output: str | os.PathLike,
    *,
    runner: Runner | None = None,
    overwrite: bool = False,
    wait: bool = False,
    repair: bool = False,
    progress: str = "none",
) -> dict:
    """Carries out a plan, or what is left of it; see `prepare`.

    Args:
        plan: which recordings become clips.
        output: the folder to create.
        runner: see `prepare`.
        overwrite: see `prepare`.
        wait: whether to wait for another process that writes to the folder instead of raising.
        repair: whether to prepare damaged clips again instead of raising, unless another process
            just did.
        progress: a mode of `hares_tf.utils.progress.Progress`.
    """
    runner = runner or Runner()
    runner.check()
    # Links and relative parts are resolved, because workers may have another working directory.
    output = Path(os.path.realpath(output))
    _refuse_foreign(output)
    unfinished = output / UNFINISHED
    if not unfinished.exists() and (complete := _finished(output, plan, overwrite, repair)):
        return complete
    reporter = Progress(progress)
    on_wait = partial(_on_wait, output, wait, reporter)
    with full_disk_said(output), locked(unfinished / _LOCK, on_wait):
        if complete := _finished(output, plan, overwrite, repair):
            shutil.rmtree(unfinished, ignore_errors=True)
            return complete
        _begin(output, plan, overwrite)
        jobs = plan.jobs(output, unfinished)
        open_jobs = [job for job in jobs if read_part(job) is None]
        for job in open_jobs:
            job.part.unlink(missing_ok=True)
        total = len(plan.source.recordings)
        with reporter.phase(output.name, "preparing", total, "recording") as bar:
            bar.update(total - sum(len(job.recordings) for job in open_jobs))

            def on_done(job: ShardJob, part: dict) -> None:
                bar.update(len(job.recordings))

            write_shards(open_jobs, unfinished, on_done, runner)
        return _finish(output, plan, jobs)


def _refuse_foreign(output: Path) -> None:
    """Raises DataError for a folder that holds other files."""
    if not output.exists():
        return
    if not output.is_dir():
        raise DataError(f"{output} is a file; give a new folder with --output.")
    ours = (output / UNFINISHED).is_dir() or sidecar.finished(output)
    others = [path.name for path in output.iterdir() if not path.match(_TEMPORARY)]
    if others and not ours:
        raise DataError(
            f"{output} holds other files, such as {sorted(others)[0]}; choose a new or empty "
            "folder."
        )


def _finished(output: Path, plan: Plan, overwrite: bool, repair: bool) -> dict | None:
    """Returns the description of complete clips of the same plan, or None."""
    if overwrite or not sidecar.finished(output):
        return None
    description = sidecar.read(output)
    _check_same(output, plan, description["source"])
    if problem := sidecar.size_problem(output, description):
        if repair:
            return None
        raise DataError(
            f"{output} is damaged: {problem}; prepare it again with --overwrite, or copy it again."
        )
    return description


def _check_same(output: Path, plan: Plan, stored: dict) -> None:
    """Raises DataError for clips that were prepared with another plan."""
    if stored.get("plan") == plan.hash:
        return
    asked = json.loads(json.dumps(plan.description))
    differing = [
        key for key in asked if key not in ("plan", "notes") and asked[key] != stored.get(key)
    ]
    why = "; ".join(f"{key}: there {stored.get(key)!r}, asked {asked[key]!r}" for key in differing)
    raise DataError(
        f"{output} holds clips that were prepared otherwise ("
        f"{why or 'recordings or labels have changed since'}); choose another --output, or replace "
        "them with --overwrite."
    )


def _on_wait(output: Path, wait: bool, reporter: Progress) -> None:
    """Waits for, or refuses to wait for, another process that holds the lock of the folder."""
    if not wait:
        raise DataError(
            f"Another process is writing to {output}; wait until it has finished, or stop it."
        )
    reporter.say(f"waiting for another process that prepares {output} ...")


def _begin(output: Path, plan: Plan, overwrite: bool) -> None:
    """Prepares the folder for this plan: keeps finished shards of it and clears others."""
    path = output / UNFINISHED / _PLAN
    path.parent.mkdir(parents=True, exist_ok=True)  # another process may have removed it
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        stored = None
    if stored is not None and not overwrite:
        _check_same(output, plan, stored)
    if sidecar.finished(output) or stored is None or stored.get("plan") != plan.hash:
        _clear(output)
        with atomic_file(path) as temporary:
            temporary.write_text(json.dumps(plan.description), encoding="utf-8")
    for folder in (output, path.parent):
        for leftover in folder.glob(_TEMPORARY):  # left by a killed run
            leftover.unlink(missing_ok=True)


def _clear(output: Path) -> None:
    """Removes all prepared files, the description first; the lock stays."""
    (output / sidecar.SIDECAR).unlink(missing_ok=True)
    (output / sidecar.OFFSETS).unlink(missing_ok=True)
    parts = (path for path in (output / UNFINISHED).iterdir() if path.name != _LOCK)
    for path in [*parts, *output.glob(sidecar.SHARD_PATTERN)]:
        path.unlink(missing_ok=True)


def _finish(output: Path, plan: Plan, jobs: Sequence[ShardJob]) -> dict:
    parts = []
    for job in jobs:
        part = read_part(job)
        if part is None:
            raise DataError(
                f"{output}: {job.file.name} or its part file has vanished; run the same command "
                "again."
            )
        parts.append(part)
    rejected = [*plan.source.rejected, *(pair for part in parts for pair in part["rejected"])]
    if not any(part["clips"] for part in parts):
        _clear(output)
        shutil.rmtree(output / UNFINISHED)
        with contextlib.suppress(OSError):  # not empty: it holds other files
            output.rmdir()
        hint = first_reasons(plan.source, rejected)
        raise DataError(f"No clip is left. {hint}")
    written = sidecar.write(
        output,
        sample_rate=plan.settings.sample_rate,
        label_names=plan.source.label_names,
        source=plan.description,
        parts=parts,
        rejected=plan.source.rejected,
    )
    shutil.rmtree(output / UNFINISHED)
    return written
