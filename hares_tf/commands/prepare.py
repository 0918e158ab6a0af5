"""The command `hares-prepare`."""

import sys
from collections.abc import Sequence
from pathlib import Path

from absl import flags

from hares_tf.commands import program as command
from hares_tf.commands import where_flag
from hares_tf.data.errors import DataError

NAME = "hares-prepare"
DESCRIPTION = """
makes training clips of recordings: decodes them once, to mono at 16 kHz, into shards that
hares-pretrain reads at the speed of the disk. Nothing is cut away: crops are drawn in training.

    # a folder of recordings, any formats and lengths, folders in folders (LibriSpeech, for example)
    hares-prepare --audio=recordings --output=clips

    # with labels: the first folder's name, or a table with one row per file
    hares-prepare --audio=animals --labels=subfolder --output=clips
    hares-prepare --audio=esc50/audio --labels=esc50/meta/esc50.csv --output=clips \\
        --file_column=filename --label_column=category --where=fold=1,2,3,4

    # the train clips of a HARES task (hares-check-data says how its data set is laid out), or of a
    # task file of your own; never the clips that it is tested with
    hares-prepare --task=nsynth_pitch --data_dir=data --output=clips
    hares-prepare --task=barks.toml --output=clips

    # AudioSet: its lists, and a folder of the clips that you have, named by the id of the video
    hares-prepare --audioset_segments=balanced_train_segments.csv \\
        --audioset_classes=class_labels_indices.csv --audio=audioset/clips --output=clips

    # is a copy whole?
    hares-prepare --verify --output=clips

A table may give several labels in one cell, separated by ";". Recordings that cannot be decoded
are listed with the reason, here and in clips.json. Killed or interrupted? The same command goes on
where it stopped. An hour of recordings takes 115 MB. For a small folder this command is not
needed: hares-pretrain --data=FOLDER prepares it by itself.

A cluster: --runner names an Apache Beam runner (pip install hares-tf[beam]) whose workers reach
audio and output under the same paths:

    hares-prepare --audio=/nfs/audio --output=/nfs/clips --runner=FlinkRunner \\
        --beam_options=--flink_master=host:8081 --beam_options=--environment_type=LOOPBACK
"""
_SHOWN_REASONS = 5
_SHOWN_LABELS = 10


def define_flags() -> flags.FlagValues:
    """The flags of the command."""
    values = flags.FlagValues()
    _define_source_flags(values)
    _define_clip_flags(values)
    _define_running_flags(values)
    return values


def _define_source_flags(values: flags.FlagValues) -> None:
    flags.DEFINE_multi_string(
        "audio",
        None,
        "A folder of recordings (or a .zip or .tar of them); repeat the flag for several.",
        flag_values=values,
    )
    flags.DEFINE_string(
        "labels",
        None,
        "subfolder: the first folder in a file's path is its label. Else a CSV with a header: only "
        "the files it lists are taken, their paths being relative to --audio. Default: no labels.",
        flag_values=values,
    )
    flags.DEFINE_string(
        "file_column", "file", "The column of the CSV that holds paths.", flag_values=values
    )
    flags.DEFINE_string(
        "label_column",
        "label",
        "The column of the CSV that holds labels; empty: use the table to choose files only.",
        flag_values=values,
    )
    where_flag.define(values, " With --task: fold=VALUE,VALUE.")
    flags.DEFINE_multi_string(
        "task",
        None,
        "Id of a HARES task, or a task file (.toml). Several (repeat the flag) are put together "
        "without their labels.",
        flag_values=values,
    )
    flags.DEFINE_string(
        "data_dir",
        None,
        "Where the data set of --task lies, as for hares-evaluate.",
        flag_values=values,
    )
    flags.DEFINE_multi_string(
        "audioset_segments",
        None,
        "A list of AudioSet as published, such as unbalanced_train_segments.csv; may be repeated.",
        flag_values=values,
    )
    flags.DEFINE_string(
        "audioset_classes",
        None,
        "AudioSet's class_labels_indices.csv; its order is that of the labels. Default: the one "
        "beside the first list.",
        flag_values=values,
    )


def _define_clip_flags(values: flags.FlagValues) -> None:
    flags.DEFINE_string("output", None, "The folder to create.", flag_values=values)
    flags.DEFINE_integer(
        "shards",
        None,
        "Number of files. Default: one for about 1000 recordings.",
        flag_values=values,
    )
    flags.DEFINE_integer("sample_rate", 16_000, "Of the clips, in Hz.", flag_values=values)
    flags.DEFINE_integer(
        "piece_seconds",
        60,
        "Longer recordings are cut into nearly equal pieces of at most that length.",
        flag_values=values,
    )
    flags.DEFINE_float("min_seconds", 0.1, "Shorter clips are rejected.", flag_values=values)


def _define_running_flags(values: flags.FlagValues) -> None:
    flags.DEFINE_integer(
        "workers", None, "Processes. Default: one for every core.", flag_values=values
    )
    flags.DEFINE_string(
        "runner",
        "local",
        "local: processes of this machine; else an Apache Beam runner (DirectRunner, FlinkRunner, "
        "DataflowRunner).",
        flag_values=values,
    )
    flags.DEFINE_multi_string(
        "beam_options",
        [],
        "An option of the Beam runner, as --key=value; repeat the flag for several.",
        flag_values=values,
    )
    flags.DEFINE_bool(
        "overwrite",
        False,
        "Replace clips at --output that were prepared otherwise, or are damaged.",
        flag_values=values,
    )
    flags.DEFINE_bool(
        "verify",
        False,
        "Only compare the clips at --output with what was written: sizes, hashes, records.",
        flag_values=values,
    )
    flags.DEFINE_enum(
        "progress",
        "bar",
        ["bar", "json", "none"],
        "On stderr: a bar, one JSON object per line, or nothing.",
        flag_values=values,
    )


def _main(values: flags.FlagValues) -> None:
    if not values.output:
        raise DataError("name the folder of the clips with --output=FOLDER")
    if values.verify:
        _verify(values)
        return
    source = _source(values)
    from hares_tf.data.prepare import prepare

    prepared = prepare(
        source,
        values.output,
        shards=values.shards,
        sample_rate=values.sample_rate,
        piece_seconds=values.piece_seconds,
        min_seconds=values.min_seconds,
        workers=values.workers,
        runner=values.runner,
        beam_options=values.beam_options,
        overwrite=values.overwrite,
        progress=values.progress,
    )
    print(_summary(prepared, values.output))


def _verify(values: flags.FlagValues) -> None:
    for name in ("audio", "task", "audioset_segments", "overwrite"):
        if values[name].value:
            raise DataError(f"--verify looks at --output only; leave out --{name}")
    from hares_tf.data import sidecar

    there = sidecar.verify(values.output, values.progress)
    print(
        f"{values.output} is as it was written: {there['n_clips']} clips in "
        f"{len(there['shards'])} shards, content {there['content_hash'][:16]}"
    )


def _source(values: flags.FlagValues):
    """What the flags ask for."""
    kind = _kind(values)
    belongs = {
        "labels": "audio", "file_column": "labels", "label_column": "labels",
        "data_dir": "task", "audioset_classes": "audioset_segments",
    }  # fmt: skip
    for name, owner in belongs.items():
        if values[name].present and (not values[owner].value or owner == "audio" != kind):
            raise DataError(f"--{name} goes with --{owner}, which chooses another kind of source")
    table = kind == "audio" and values.labels not in (None, "subfolder")
    for name in ("file_column", "label_column"):
        if values[name].present and not table:
            raise DataError(f"--{name} goes with --labels=FILE.csv")
    where = where_flag.read(values)
    if where and not table and kind != "task":
        raise DataError("--where goes with --labels=FILE.csv, or with --task")
    if kind == "audioset_segments":
        from hares_tf.data.published_sources import audioset_source

        if len(values.audio or []) != 1:
            raise DataError("--audioset_segments needs the folder of the clips: one --audio=FOLDER")
        return audioset_source(values.audioset_segments, values.audio[0], values.audioset_classes)
    if kind == "task":
        from hares_tf.data.published_sources import joined_tasks, task_source

        if len(values.task) > 1:
            if where:
                raise DataError("--where chooses folds of one task; give --task once")
            return joined_tasks(values.task, values.data_dir)
        if any(column != "fold" for column, _ in where) or len(where) > 1:
            raise DataError("with --task, --where chooses folds: --where=fold=1,2,3,4")
        return task_source(values.task[0], values.data_dir, [v for _, some in where for v in some])
    from hares_tf.recordings.sources import folder_source, table_source

    if not table:
        return folder_source(values.audio, values.labels)
    if len(values.audio) > 1:
        raise DataError("--labels goes with one folder: give --audio once")
    return table_source(
        values.audio[0],
        values.labels,
        file_column=values.file_column,
        label_column=values.label_column,
        where=where,
    )


def _kind(values: flags.FlagValues) -> str:
    """The flag that chooses the kind of source."""
    if values.task and (values.audio or values.audioset_segments):
        other = "audio" if values.audio else "audioset_segments"
        raise DataError(f"--task and --{other} exclude each other; give one")
    for name in ("task", "audioset_segments", "audio"):
        if values[name].value:
            return name
    raise DataError("name what to prepare: --audio=FOLDER, --task=NAME or --audioset_segments=FILE")


def _summary(prepared: dict, output: str) -> str:
    seconds = prepared["samples"] / prepared["sample_rate"]
    size = sum(shard["bytes"] for shard in prepared["shards"])
    lines = [
        f"{output}: {prepared['n_clips']:,} clips, {seconds / 3600:.2f} hours, "
        f"{len(prepared['shards'])} shard(s), {size / 1e6:,.1f} MB"
    ]
    if prepared["label_names"]:
        counts = dict(zip(prepared["label_names"], prepared["label_counts"], strict=True))
        common = sorted(filter(counts.get, counts), key=lambda name: -counts[name])
        more = f", and {len(common) - _SHOWN_LABELS} more" * (len(common) > _SHOWN_LABELS)
        some = ", ".join(f"{name} {counts[name]:,}" for name in common[:_SHOWN_LABELS])
        bare = f" ({len(counts) - len(common)} without clips)" * (len(common) < len(counts))
        lines.append(f"  {len(counts)} labels{bare}: {some}{more}")
    rejected = prepared["rejected"]
    if rejected:
        lines.append(f"  {len(rejected):,} rejected:")
        lines += [f"    {one['id']}: {one['reason']}" for one in rejected[:_SHOWN_REASONS]]
        if len(rejected) > _SHOWN_REASONS:
            lines.append(f"    ... all of them are listed in {Path(output) / 'clips.json'}")
    lines += [f"  note: {note}" for note in prepared["source"]["notes"]]
    config = "small_classification" if prepared["label_names"] else "small_simclr"
    lines += [
        "next:",
        f"  hares-pretrain --config={config} --data={output} --workdir=runs/first",
    ]
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; gives its exit code."""
    return command.run(NAME, DESCRIPTION, define_flags(), _main, argv)


if __name__ == "__main__":
    sys.exit(main())
