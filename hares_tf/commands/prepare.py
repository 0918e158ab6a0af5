"""The command `hares-prepare`: recordings to training clips."""

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from hares_tf.commands import flags
from hares_tf.commands.declaration import SWITCH, Exclusive, Flag, UsageError, given
from hares_tf.commands.program import Command

DESCRIPTION = """
prepares recordings for training: decodes them once, to mono at 16 kHz, into shards that
hares-pretrain reads at the speed of the disk. Whole recordings are kept; training draws crops.

    # a folder of recordings, any formats and lengths, folders in folders (LibriSpeech, for example)
    hares-prepare --audio=recordings --output=clips

    # with labels: the first folder's name, or a table with one row per file
    hares-prepare --audio=animals --labels=subfolder --output=clips
    hares-prepare --audio=esc50/audio --labels=esc50/meta/esc50.csv --output=clips \\
        --file_column=filename --label_column=category --where=fold=1,2,3,4

    # the training clips of HARES tasks (hares-check-data describes the layout of their data sets),
    # or of task files of your own; never the clips that they are tested with
    hares-prepare --tasks=nsynth_pitch --data_dir=data --output=clips
    hares-prepare --tasks=barks.toml,birds.toml --output=clips

    # AudioSet: its lists, and a folder of the clips that you have, named by the id of the video
    hares-prepare --audioset_segments=balanced_train_segments.csv \\
        --audioset_classes=class_labels_indices.csv --audio=audioset/clips --output=clips

    # check a copy: sizes, hashes, records
    hares-prepare --verify --output=clips

A table may give several labels in one cell, separated by ";". Recordings that cannot be decoded
are listed with the reason, here and in clips.json. After an interruption the same command continues
where it stopped. An hour of recordings takes 115 MB. A small folder needs no preparation:
hares-pretrain --data=FOLDER does it.

On a cluster --runner names an Apache Beam runner (pip install hares-tf[beam]) whose workers reach
audio and output under the same paths:

    hares-prepare --audio=/nfs/audio --output=/nfs/clips --runner=FlinkRunner \\
        --beam_options=--flink_master=host:8081,--environment_type=LOOPBACK
"""
_SHOWN_REASONS = 5
_SHOWN_LABELS = 10

FLAGS = {
    "Recordings": (
        flags.listed("audio", (), "Folders of recordings, or .zip or .tar files of them."),
        replace(
            flags.LABELS,
            help="subfolder: the first folder in a file's path is its label. Else a CSV file with "
            "a header: only the files in it are used, with paths relative to --audio. Default: no "
            "labels.",
            goes_with=(given("audio"),),
        ),
        flags.FILE_COLUMN,
        replace(
            flags.LABEL_COLUMN,
            help="The column that holds labels; empty: the table only chooses files.",
        ),
        replace(
            flags.WHERE,
            help=f"{flags.WHERE.help} With --tasks: fold=VALUE,VALUE.",
            goes_with=(flags.TABLE, given("tasks")),
        ),
        replace(
            flags.TASKS,
            default=[],
            help="Ids of HARES tasks, and task files (.toml), whose training clips are used. "
            "Several are put together without their labels.",
        ),
        replace(flags.DATA_DIR, goes_with=(given("tasks"),)),
        flags.listed(
            "audioset_segments",
            (),
            "Lists of AudioSet as published, such as unbalanced_train_segments.csv.",
            goes_with=(given("audio"),),
        ),
        Flag(
            "audioset_classes",
            "AudioSet's class_labels_indices.csv, whose order is that of the labels. Default: the "
            "one beside the first list.",
            goes_with=(given("audioset_segments"),),
        ),
    ),
    "Clips": (
        flags.OUTPUT,
        flags.OVERWRITE,
        Flag(
            "verify",
            "Only compare the clips at --output with what was written: sizes, hashes, records.",
            False,
            SWITCH,
        ),
        flags.integer("shards", None, "Number of files. Default: one per 1000 recordings."),
        flags.integer("sample_rate", 16_000, "Sample rate of the clips in hertz."),
        flags.integer(
            "piece_seconds",
            60,
            "Longer recordings are cut into nearly equal pieces of at most this length.",
        ),
        flags.number("min_seconds", 0.1, "Shorter clips are rejected."),
    ),
    "Processes": (flags.RUNNER, flags.WORKERS, flags.BEAM_OPTIONS, flags.PROGRESS),
}
EXCLUSIVE = (
    Exclusive(("audio", "tasks", "verify"), required=True),
    Exclusive(("labels", "audioset_segments")),
    Exclusive(("overwrite", "verify")),
)


def _run(values: Any) -> None:
    if values.verify:
        from hares_tf.data import sidecar

        clips = sidecar.verify(values.output, values.progress)
        print(
            f"{values.output} is as it was written: {clips['n_clips']} clips in "
            f"{len(clips['shards'])} shards, content {clips['content_hash'][:16]}"
        )
        return
    source = _source(values)
    from hares_tf.data.prepare import prepare
    from hares_tf.data.shard_writer import Settings
    from hares_tf.jobs import Runner

    clips = prepare(
        source,
        values.output,
        shards=values.shards,
        settings=Settings(values.sample_rate, values.piece_seconds, values.min_seconds),
        runner=Runner(values.runner, values.workers, tuple(values.beam_options)),
        overwrite=values.overwrite,
        progress=values.progress,
    )
    print(_summary(clips, values.output))


def _source(values: Any):
    """Returns the source that the flags name."""
    where = flags.where(values)
    if values.tasks:
        return _tasks(values, where)
    if values.audioset_segments:
        from hares_tf.data.published_sources import audioset_source

        if len(values.audio) > 1:
            raise UsageError("--audioset_segments goes with one --audio=FOLDER, that of the clips.")
        return audioset_source(values.audioset_segments, values.audio[0], values.audioset_classes)
    from hares_tf.recordings import Columns, folder_source, table_source

    if values.labels in (None, "subfolder"):
        return folder_source(values.audio, values.labels)
    if len(values.audio) > 1:
        raise UsageError("--labels=FILE.csv goes with one --audio=FOLDER.")
    return table_source(
        values.audio[0],
        values.labels,
        Columns(values.file_column, values.label_column),
        where,
    )


def _tasks(values: Any, where: list[tuple[str, tuple[str, ...]]]):
    from hares_tf.data.published_sources import joined_tasks, task_source

    if len(values.tasks) > 1:
        if where:
            raise UsageError("--where chooses folds of one task; name one with --tasks.")
        return joined_tasks(values.tasks, values.data_dir)
    if any(column != "fold" for column, _ in where) or len(where) > 1:
        raise UsageError("With --tasks, --where chooses folds: --where=fold=1,2,3,4.")
    folds = [fold for _, folds in where for fold in folds]
    return task_source(values.tasks[0], values.data_dir, folds)


def _summary(clips: dict, output: str) -> str:
    seconds = clips["samples"] / clips["sample_rate"]
    size = sum(shard["bytes"] for shard in clips["shards"])
    lines = [
        f"{output}: {clips['n_clips']:,} clips, {seconds / 3600:.2f} hours, "
        f"{len(clips['shards'])} shard(s), {size / 1e6:,.1f} MB"
    ]
    if clips["label_names"]:
        counts = dict(zip(clips["label_names"], clips["label_counts"], strict=True))
        common = sorted(filter(counts.get, counts), key=lambda name: -counts[name])
        more = f", and {len(common) - _SHOWN_LABELS} more" * (len(common) > _SHOWN_LABELS)
        names = ", ".join(f"{name} {counts[name]:,}" for name in common[:_SHOWN_LABELS])
        bare = f" ({len(counts) - len(common)} without clips)" * (len(common) < len(counts))
        lines.append(f"  {len(counts)} labels{bare}: {names}{more}")
    rejected = clips["rejected"]
    if rejected:
        lines.append(f"  {len(rejected):,} rejected:")
        lines += [f"    {clip['id']}: {clip['reason']}" for clip in rejected[:_SHOWN_REASONS]]
        if len(rejected) > _SHOWN_REASONS:
            lines.append(f"    ... all are listed in {Path(output) / 'clips.json'}")
    lines += [f"  note: {note}" for note in clips["source"]["notes"]]
    config = "small_classification" if clips["label_names"] else "small_simclr"
    lines += [
        "next:",
        f"  hares-pretrain --config={config} --data={output} --workdir=runs/first",
    ]
    return "\n".join(lines)


COMMAND = Command("hares-prepare", DESCRIPTION, FLAGS, _run, EXCLUSIVE)
main = COMMAND.main

if __name__ == "__main__":
    sys.exit(main())
