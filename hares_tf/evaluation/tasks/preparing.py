"""Prepares a task: reads and checks its manifest, and hashes its clips."""

import sys
from dataclasses import dataclass

from hares_tf.evaluation.errors import EvaluationError
from hares_tf.evaluation.tasks.declaration import Manifest, Places, Task
from hares_tf.utils.files import DigestCache
from hares_tf.utils.progress import Progress


@dataclass(frozen=True)
class PreparedTask:
    """A task with its clips and their digests.

    Attributes:
        task: its declaration.
        manifest: its clips.
        digests: SHA-256 of the audio of each clip, in the manifest's order.
        manifest_hash: see `Manifest.content_hash`.
        incomplete_because: how this copy of the data differs from the whole task, as phrases.
    """

    task: Task
    manifest: Manifest
    digests: list[str]
    manifest_hash: str
    incomplete_because: tuple[str, ...] = ()


def prepare(
    task: Task, places: Places, digest_cache: DigestCache, subset: bool, progress: Progress
) -> PreparedTask:
    """Reads and checks the task's manifest, and hashes its clips.

    Args:
        task: its declaration.
        places: the folders in which the user keeps data.
        digest_cache: digests of files known from before.
        subset: whether to accept a part of the data; the result is then marked as incomplete.
        progress: reports the hashing, which takes hours for the largest data sets.

    Raises:
        EvaluationError: the data are absent, malformed, or (unless `subset`) not complete.
    """
    manifest = task.read(places)
    problems = shortfalls(task, manifest)
    if problems and not subset:
        raise EvaluationError(
            f"{task.id}: {'; '.join(problems)}. `hares-check-data` shows what is missing; with "
            "--subset the part that is there is scored, and the result is marked as incomplete."
        )
    _check_parts(task, manifest)
    with progress.phase(task.id, "checking files", len(manifest.clips), "clip") as bar:

        def contents():
            for clip in manifest.clips:
                yield clip.sound.where, clip.sound.container, clip.sound.content_digest
                bar.update()

        # Interned, so that the store's keys are the same objects instead of copies.
        digests = list(map(sys.intern, digest_cache.remembered(contents())))
    return PreparedTask(task, manifest, digests, manifest.content_hash(digests), tuple(problems))


def shortfalls(task: Task, manifest: Manifest) -> list[str]:
    """Returns how a copy of the data differs from a complete one, as phrases."""
    problems = []
    if manifest.missing:
        names = ", ".join(manifest.missing[:3]) + (", ..." if len(manifest.missing) > 3 else "")
        problems.append(f"{len(manifest.missing)} listed clip(s) are missing ({names})")
    sizes = manifest.part_sizes
    for part, expected in task.expected.items():
        size = sizes.get(part, 0)
        if size != expected:
            problems.append(f"{part} has {size} clips where a whole copy has {expected}")
    return problems


def _check_parts(task: Task, manifest: Manifest) -> None:
    """Raises EvaluationError if a split is empty or there are fewer than two folds."""
    required = set(manifest.folds) or {"train", "test"}
    absent = sorted(required - set(manifest.part_sizes))
    if absent:
        raise EvaluationError(f"{task.id}: there is no clip of {', '.join(absent)}.")
    if manifest.folds and len(manifest.folds) < 2:
        raise EvaluationError(
            f"{task.id}: there is only one fold, {manifest.folds[0]!r}; a task needs two or more."
        )


def clip_counts(prepared: PreparedTask, failures: dict[str, str]) -> dict:
    """Returns the section "clips" of a result, as JSON data.

    Args:
        prepared: the task.
        failures: why clips could not be read, by their id.
    """
    manifest = prepared.manifest
    return {
        "n_expected": sum(prepared.task.expected.values())
        or len(manifest.clips) + len(manifest.missing),
        "n_missing": len(manifest.missing),
        "n_failed": len(failures),
        "n_excluded": manifest.n_excluded,
        "n_repeated_across_parts": _repeated_across_parts(prepared),
        "parts": manifest.part_sizes,
        "failures": failures,
        "notes": list(manifest.notes),
        "manifest_hash": prepared.manifest_hash,
        "n_labels": manifest.labels.width,
    }


def _repeated_across_parts(prepared: PreparedTask) -> int:
    """Returns the number of recordings that are in two splits or folds: leaked test data."""
    part_of: dict[str, str] = {}
    repeated = set()
    for clip, digest in zip(prepared.manifest.clips, prepared.digests, strict=True):
        if part_of.setdefault(digest, clip.part) != clip.part:
            repeated.add(digest)
    return len(repeated)
