"""Recordings of HARES tasks, and of AudioSet's published lists."""

import os
from collections.abc import Sequence
from pathlib import Path

from hares_tf.data.errors import DataError
from hares_tf.evaluation.suites import resolve
from hares_tf.evaluation.tasks import audioset
from hares_tf.evaluation.tasks.declaration import Manifest, Places
from hares_tf.recordings.recording import ABSENT, Recording, Source, readable

_TEST_LISTS = {name for part, name, _ in audioset.LISTS if part == "test"}


def task_source(
    task: str,
    data_dir: str | os.PathLike | None = None,
    folds: Sequence[str] = (),
) -> Source:
    """Returns the training clips of a task, never those for validation or testing.

    Args:
        task: the id of one task, or a path to a task file (`.toml`).
        data_dir: holds the data set as distributed; for a task file the folder that its manifest
            is relative to, by default the file's own folder.
        folds: the folds to take of a task with folds, which has no train split. At least one must
            be left out for testing.

    Raises:
        DataError: several tasks are named, or the choice of folds is wrong.
        EvaluationError: there is no such task, or its data are absent.
    """
    tasks = resolve([task], data_dir)
    if len(tasks) != 1:
        raise DataError(
            f"{task!r} names {len(tasks)} tasks; give one, such as {tasks[0].id}, since each "
            "has labels of its own."
        )
    manifest = tasks[0].read(Places(data_dir=None if data_dir is None else Path(data_dir)))
    parts = _parts(tasks[0].id, manifest, folds)
    clips = tuple(
        Recording(readable(clip.id), clip.sound, manifest.labels.indices(clip.label))
        for clip in manifest.clips
        if clip.part in parts
    )
    notes = manifest.notes
    if manifest.missing:
        # The manifest does not tell which of them would be train clips.
        notes += (f"{len(manifest.missing)} clips that the data set lists are not there.",)
    description = {"kind": "task", "task": tasks[0].id, "version": tasks[0].version}
    if manifest.folds:
        description["folds"] = sorted(parts)
    names = manifest.labels.names
    return Source(f"task {tasks[0].id}", clips, names, (), description, notes)


def joined_tasks(tasks: Sequence[str], data_dir: str | os.PathLike | None = None) -> Source:
    """Returns the training clips of several tasks, without labels, which differ between tasks.

    Tasks that share recordings may split them differently: a train clip of one can be a test clip
    of another.

    Raises:
        DataError: see `task_source`; or a task is named twice.
    """
    sources = [task_source(task, data_dir) for task in tasks]
    ids = [source.description["task"] for source in sources]
    if len(set(ids)) < len(ids):
        raise DataError(f"--tasks names {max(ids, key=ids.count)} twice.")
    return Source(
        f"{len(sources)} tasks",
        tuple(
            Recording(f"{task}/{clip.id}", clip.sound)
            for task, source in zip(ids, sources, strict=True)
            for clip in source.recordings
        ),
        rejected=tuple(
            (f"{task}/{name}", reason)
            for task, source in zip(ids, sources, strict=True)
            for name, reason in source.rejected
        ),
        description={"kind": "tasks", "tasks": [source.description for source in sources]},
        notes=tuple(note for source in sources for note in source.notes),
    )


def _parts(task_id: str, manifest: Manifest, folds: Sequence[str]) -> set[str]:
    """Returns the parts whose clips may be used for training."""
    if not manifest.folds:
        if folds:
            raise DataError(f"{task_id} has a train split and no folds to choose from.")
        return {"train"}
    known = ",".join(manifest.folds)
    if not folds:
        raise DataError(
            f"{task_id} has no train split but folds ({known}), each of which is tested once: "
            "choose those to train on, for example --where=fold="
            f"{','.join(manifest.folds[:-1])}."
        )
    unknown = [fold for fold in folds if fold not in manifest.folds]
    if unknown:
        raise DataError(f"{task_id} has no fold {unknown[0]!r}; its folds are {known}.")
    if set(folds) == set(manifest.folds):
        raise DataError(f"{task_id}: leave out at least one of the folds {known} for testing.")
    return set(folds)


def audioset_source(
    segments: Sequence[str | os.PathLike],
    audio: str | os.PathLike,
    classes: str | os.PathLike | None = None,
) -> Source:
    """Returns the clips of AudioSet's published lists of segments.

    Args:
        segments: the lists, such as `balanced_train_segments.csv`.
        audio: a folder of clips of 10 s, anywhere below it, also in `.zip` and `.tar` files, named
            `YTID`, `YYTID` or `YTID_START` (in seconds or milliseconds).
        classes: `class_labels_indices.csv`; default: the one beside the first list. Its order is
            that of the labels, so that a classifier trained on them can be scored directly.

    Raises:
        DataError: a list or the classes cannot be read, or none of the listed clips exists.
    """
    lists = [Path(path) for path in segments]
    tested = [path for path in lists if path.name in _TEST_LISTS]
    if tested:
        raise DataError(
            f"{tested[0]} is AudioSet's test list; a model that was trained on it cannot be scored."
        )
    table = Path(classes) if classes else lists[0].parent / "class_labels_indices.csv"
    if not table.is_file():
        raise DataError(
            f"{table}: there is no such file; give AudioSet's class_labels_indices.csv with "
            "--audioset_classes."
        )
    root = Path(os.path.abspath(audio))
    if not root.is_dir():
        raise DataError(f"{audio}: there is no such folder.")
    listed: dict[str, audioset.Segment] = {}
    tags = audioset.tag_names(table)
    for path in lists:
        for video, segment in audioset.read_segments(path, "train", tags):
            if video in listed:
                raise DataError(f"{path} lists {video} again; it is in the lists already.")
            listed[video] = segment
    sounds, surplus = audioset.match_sounds(root, listed)
    if not sounds:
        example = next(iter(listed), "YTID")
        raise DataError(
            f"{root} holds none of the {len(listed):,} listed clips, such as {example}.wav or "
            f"Y{example}.flac; {surplus} files have a listed id with another start."
        )
    names = tuple(tags.values())
    number = {name: index for index, name in enumerate(names)}
    clips = tuple(
        Recording(video, sounds[video], tuple(sorted({number[tag] for tag in segment.tags})))
        for video, segment in listed.items()
        if video in sounds
    )
    notes: tuple[str, ...] = (f"{len(clips):,} of {len(listed):,} listed clips are there.",)
    if surplus:
        notes += (
            f"{surplus:,} files bear the id of a listed clip, but are a second copy or start at "
            "another time; they are not used.",
        )
    return Source(
        f"AudioSet's {', '.join(path.name for path in lists)} and {root}",
        clips,
        names,
        tuple((video, ABSENT) for video in listed if video not in sounds),
        {
            "kind": "audioset",
            "segments": [path.name for path in lists],
            "folders": [root.name],
        },
        notes,
    )
