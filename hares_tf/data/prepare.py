"""Recordings -> a folder of prepared clips: whole, or such that the same call completes it.

While work is going on, the folder has a subfolder `unfinished`: `plan.json` says what is being
done, `lock` is held by who does it, and every finished shard has a part file. The description
`clips.json` comes last, then `unfinished` goes.
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

# A name that nobody else gives to a folder: what is in it is removed in the end.
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
        source: what to prepare (see `sources`), or a folder of audio.
        output: the folder to create. What an earlier call with the same arguments has finished
            there is not done again.
        shards: number of shards; default: one for about 1000 recordings.
        settings: how recordings become clips; default: `Settings()`.
        runner: where recordings are decoded; default: one local process per core. The workers of a
            Beam runner must reach audio and output under the same paths as here.
        overwrite: whether to replace clips that were prepared with other arguments or are damaged.
        progress: a mode of `hares_tf.utils.progress.Progress`.

    Returns:
        The description that the folder has as `clips.json`.

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
    """Does what a plan says, or what is left of it; see `prepare`.

    Args:
        wait: if another process writes to the folder, wait for its end instead of raising.
        repair: make damaged clips anew instead of raising, unless another process just did.
    """
    runner = runner or Runner()
    runner.check()
    # Links and relative parts are resolved, because workers may have another working directory.
    output = Path(os.path.realpath(output))
    _refuse_foreign(output)
    unfinished = output / UNFINISHED
    if not unfinished.exists() and (there := _finished(output, plan, overwrite, repair)):
        return there
    teller = Progress(progress)
    on_wait = partial(_on_wait, output, wait, teller)
    with full_disk_said(output), locked(unfinished / _LOCK, on_wait):
        if there := _finished(output, plan, overwrite, repair):
            shutil.rmtree(unfinished, ignore_errors=True)
            return there
        _begin(output, plan, overwrite)
        jobs = plan.jobs(output, unfinished)
        open_jobs = [job for job in jobs if read_part(job) is None]
        for job in open_jobs:
            job.part.unlink(missing_ok=True)
        total = len(plan.source.recordings)
        with teller.phase(output.name, "preparing", total, "recording") as bar:
            bar.update(total - sum(len(job.recordings) for job in open_jobs))

            def on_done(job: ShardJob, part: dict) -> None:
                bar.update(len(job.recordings))

            write_shards(open_jobs, unfinished, on_done, runner)
        return _finish(output, plan, jobs)


def _refuse_foreign(output: Path) -> None:
    """Keeps away from folders that hold anything else."""
    if not output.exists():
        return
    if not output.is_dir():
        raise DataError(f"{output} is a file; give the folder to create with --output")
    ours = (output / UNFINISHED).is_dir() or sidecar.finished(output)
    others = [path.name for path in output.iterdir() if not path.match(_TEMPORARY)]
    if others and not ours:
        raise DataError(
            f"{output} holds other files, such as {sorted(others)[0]}; choose a new or empty folder"
        )


def _finished(output: Path, plan: Plan, overwrite: bool, repair: bool) -> dict | None:
    """The description of clips that are there as the plan wants them."""
    if overwrite or not sidecar.finished(output):
        return None
    there = sidecar.read(output)
    _check_same(output, plan, there["source"])
    if problem := sidecar.size_problem(output, there):
        if repair:
            return None
        raise DataError(
            f"{output} is damaged: {problem}; prepare it again with --overwrite, or copy it again"
        )
    return there


def _check_same(output: Path, plan: Plan, there: dict) -> None:
    """Refuses to go on with, or to replace, what was prepared otherwise."""
    if there.get("plan") == plan.hash:
        return
    asked = json.loads(json.dumps(plan.description))
    differing = [
        key for key in asked if key not in ("plan", "notes") and asked[key] != there.get(key)
    ]
    why = "; ".join(f"{key}: there {there.get(key)!r}, asked {asked[key]!r}" for key in differing)
    raise DataError(
        f"{output} holds clips that were prepared otherwise ("
        f"{why or 'recordings or labels have changed since'}); choose another --output, or replace "
        "them with --overwrite"
    )


def _on_wait(output: Path, wait: bool, teller: Progress) -> None:
    """Another process holds the lock of the folder."""
    if not wait:
        raise DataError(f"another process is writing to {output}; wait for its end, or end it")
    teller.say(f"waiting for another process that prepares {output} ...")


def _begin(output: Path, plan: Plan, overwrite: bool) -> None:
    """Makes the folder one of this plan: goes on with what is there, or starts afresh."""
    path = output / UNFINISHED / _PLAN
    path.parent.mkdir(parents=True, exist_ok=True)  # who was waited for may have removed it
    try:
        there = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        there = None
    if there is not None and not overwrite:
        _check_same(output, plan, there)
    if sidecar.finished(output) or there is None or there.get("plan") != plan.hash:
        _clear(output)
        with atomic_file(path) as temporary:
            temporary.write_text(json.dumps(plan.description), encoding="utf-8")
    for folder in (output, path.parent):
        for leftover in folder.glob(_TEMPORARY):  # of a killed run
            leftover.unlink(missing_ok=True)


def _clear(output: Path) -> None:
    """Removes what was prepared, the description first; the lock stays."""
    (output / sidecar.SIDECAR).unlink(missing_ok=True)
    (output / sidecar.OFFSETS).unlink(missing_ok=True)
    parts = (path for path in (output / UNFINISHED).iterdir() if path.name != _LOCK)
    for path in [*parts, *output.glob(sidecar.SHARD_PATTERN)]:
        path.unlink(missing_ok=True)


def _finish(output: Path, plan: Plan, jobs: Sequence[ShardJob]) -> dict:
    parts = [read_part(job) for job in jobs]
    lost = [job.file.name for job, part in zip(jobs, parts, strict=True) if part is None]
    if lost:
        raise DataError(
            f"{output}: {lost[0]} or its part file has vanished; run the same command again"
        )
    rejected = [*plan.source.rejected, *(pair for part in parts for pair in part["rejected"])]
    if not any(part["clips"] for part in parts):
        _clear(output)
        shutil.rmtree(output / UNFINISHED)
        with contextlib.suppress(OSError):  # not empty: it holds what is not ours
            output.rmdir()
        raise DataError(f"no clip is left. {first_reasons(plan.source, rejected)}")
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
