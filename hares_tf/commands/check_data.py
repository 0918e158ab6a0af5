"""The command `hares-check-data`: which data sets are there, whole and readable."""

import contextlib
import os
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from absl import flags

from hares_tf.audio import AudioError
from hares_tf.commands import program as command
from hares_tf.evaluation.errors import EvaluationError
from hares_tf.evaluation.suites import resolve
from hares_tf.evaluation.tasks import HARES, known_tasks, load_task
from hares_tf.evaluation.tasks.declaration import Clip, Manifest, Places, Task
from hares_tf.evaluation.tasks.preparing import shortfalls
from hares_tf.utils.errors import HaresError
from hares_tf.utils.files import DigestCache, cache_dir
from hares_tf.utils.progress import Progress

NAME = "hares-check-data"
DESCRIPTION = """
says which data sets of the HARES tasks are in a folder, whether they are whole and can be decoded,
and how to obtain and lay out what is missing.

    hares-check-data --data_dir=data                          # all twelve tasks
    hares-check-data --data_dir=data --tasks=esc50 --decode=all
    hares-check-data --data_dir=data --tasks=nsynth_pitch --duplicates

Nothing is downloaded: licences and sizes (AudioSet, VoxCeleb) do not allow it, so the steps are
printed. The exit code is 0 when every task is whole, 1 when something is missing or damaged.
"""

# Clips decoded of each task by default, spread evenly over its list.
DECODED_CLIPS = 50
# A clip shorter than this share of the task's window is worth a look, as is one that is silent.
SHORT_SHARE = 0.1
SILENT_PEAK = 1e-4
_RATE = 16_000
_SHOWN = 5


@dataclass
class Findings:
    """What was found of one task's data.

    Attributes:
        task: the task.
        absent: why there is no list of clips at all, else "".
        manifest: the list of clips, if there is one.
        problems: what keeps it from being whole, as phrases.
        decoded: clips that were decoded.
        seconds: durations of those.
        damaged: why clips could not be decoded, by id.
        remarks: further sentences.
    """

    task: Task
    absent: str = ""
    manifest: Manifest | None = None
    problems: list[str] = field(default_factory=list)
    decoded: int = 0
    seconds: list[float] = field(default_factory=list)
    damaged: dict[str, str] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)

    @property
    def state(self) -> str:
        """One word for the table."""
        if self.manifest is None:
            return "absent"
        if self.damaged:
            return "damaged"
        return "partial" if self.problems else "whole"


def check_task(
    task: Task,
    places: Places,
    decode: int | None = DECODED_CLIPS,
    digests: DigestCache | None = None,
    progress: Progress | None = None,
) -> Findings:
    """Looks at one task's data.

    Args:
        task: its declaration.
        places: where its data may be.
        decode: number of clips to decode; None for all.
        digests: if given, contents are hashed and compared, to find copies.
        progress: reports the decoding.
    """
    findings = Findings(task)
    try:
        findings.manifest = task.read(places)
    except HaresError as error:
        findings.absent = str(error)
        return findings
    clips = findings.manifest.clips
    findings.problems = shortfalls(task, findings.manifest)
    findings.remarks += findings.manifest.notes
    if clips:
        number = len(clips) if decode is None else min(decode, len(clips))
        chosen = [clips[i] for i in np.unique(np.linspace(0, len(clips) - 1, number).astype(int))]
        _decode(findings, chosen, progress or Progress())
        if digests is not None:
            _find_copies(findings, digests)
    return findings


def _decode(findings: Findings, clips: list[Clip], progress: Progress) -> None:
    def look(clip: Clip) -> tuple[float, float] | AudioError:
        try:
            waveform = clip.sound.load(_RATE)
        except AudioError as error:
            return error
        return len(waveform) / _RATE, float(np.abs(waveform).max())

    short = findings.task.windows.seconds * SHORT_SHARE
    silent, brief = [], []
    with (
        ThreadPoolExecutor(os.cpu_count()) as pool,
        progress.phase(findings.task.id, "decoding", len(clips), "clip") as bar,
    ):
        for clip, found in zip(clips, pool.map(look, clips), strict=True):
            bar.update()
            if isinstance(found, AudioError):
                findings.damaged[clip.id] = str(found)
                continue
            seconds, peak = found
            findings.seconds.append(seconds)
            if peak < SILENT_PEAK:
                silent.append(clip.id)
            if seconds < short:
                brief.append(clip.id)
    findings.decoded = len(clips)
    if silent:
        findings.remarks.append(f"{len(silent)} decoded clip(s) are silent: {_some(silent)}")
    if brief:
        findings.remarks.append(
            f"{len(brief)} decoded clip(s) last less than {short:g} s: {_some(brief)}"
        )


def _find_copies(findings: Findings, digests: DigestCache) -> None:
    clips = findings.manifest.clips
    first: dict[str, Clip] = {}
    same, across = [], []
    found = digests.remembered(
        (clip.sound.where, clip.sound.container, clip.sound.content_digest) for clip in clips
    )
    for clip, digest in zip(clips, found, strict=True):
        before = first.setdefault(digest, clip)
        if before is not clip:
            (same if before.part == clip.part else across).append(f"{clip.id} = {before.id}")
    if same:
        findings.remarks.append(f"{len(same)} clip(s) are copies of others: {_some(same)}")
    if across:
        findings.remarks.append(
            f"{len(across)} clip(s) are copies of clips of another split or fold: {_some(across)}"
        )


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")


def details(findings: Findings) -> list[str]:
    """What there is to say of one task, as lines."""
    task, manifest = findings.task, findings.manifest
    title = f"{task.id}: {findings.state}"
    if manifest is None:
        return [title, *("  " + line for line in findings.absent.splitlines())]
    parts = ", ".join(
        f"{part} {size}" + (f" of {task.expected[part]}" if part in task.expected else "")
        for part, size in manifest.part_sizes.items()
    )
    lines = [title, f"  clips: {parts or 'none'}"]
    if manifest.n_excluded:
        lines.append(f"  left out on purpose: {manifest.n_excluded}")
    if findings.seconds:
        lowest, middle, highest = np.percentile(findings.seconds, [0, 50, 100])
        lines.append(
            f"  decoded {findings.decoded} clip(s): {lowest:.2f} to {highest:.2f} s, median "
            f"{middle:.2f} s"
        )
    lines += [f"  ! {problem}" for problem in findings.problems]
    lines += [f"  ! {reason}" for reason in list(findings.damaged.values())[:_SHOWN]]
    if len(findings.damaged) > _SHOWN:
        lines.append(f"  ! and {len(findings.damaged) - _SHOWN} more that cannot be decoded")
    lines += [f"  {remark}" for remark in findings.remarks]
    if findings.problems and task.dataset is not None:
        lines += ["  How to obtain it:", *("    " + t for t in task.dataset.obtain.splitlines())]
    return lines


def table(found: Sequence[Findings]) -> str:
    """The state of all tasks."""
    rows = [["task", "state", "clips", "expected", "missing", "damaged", "hours", "licence"]]
    for one in found:
        manifest, task = one.manifest, one.task
        hours = ""
        if one.seconds:
            about = "" if one.decoded == len(manifest.clips) else "~"
            hours = f"{about}{np.mean(one.seconds) * len(manifest.clips) / 3600:.1f}"
        rows.append(
            [
                task.id,
                one.state,
                str(len(manifest.clips)) if manifest else "0",
                str(sum(task.expected.values())) if task.expected else "any",
                str(len(manifest.missing)) if manifest else "",
                f"{len(one.damaged)} of {one.decoded}" if one.decoded else "",
                hours,
                task.dataset.licence if task.dataset else "",
            ]
        )
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = [
        "  ".join(
            cell.rjust(width) if 2 <= i <= 6 else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
    lines.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join(lines)


def define_flags() -> flags.FlagValues:
    """The flags of the command."""
    values = flags.FlagValues()
    flags.DEFINE_string(
        "data_dir", None, "Folder with one folder per data set, as distributed.", flag_values=values
    )
    flags.DEFINE_string(
        "tfds_dir",
        None,
        "Folder of data sets that tensorflow-datasets has prepared.",
        flag_values=values,
    )
    flags.DEFINE_list(
        "tasks",
        ["all"],
        "Task ids and task files, separated by commas; all: the twelve of HARES; variants: theirs "
        "under other rules.",
        flag_values=values,
    )
    flags.DEFINE_string(
        "decode",
        str(DECODED_CLIPS),
        "How many clips of each task to decode, spread over its list; or all.",
        flag_values=values,
    )
    flags.DEFINE_bool(
        "duplicates",
        False,
        "Hash every clip to find copies; hares-evaluate reuses the hashes.",
        flag_values=values,
    )
    flags.DEFINE_bool("quiet", False, "Print the table only.", flag_values=values)
    return values


def _tasks(names: Sequence[str], data_dir: str | None) -> list[Task]:
    found: list[str] = []
    for name in names:
        if name in ("all", "hares"):
            found += HARES
        elif name == "variants":
            found += [task for task in known_tasks() if task not in HARES]
        else:
            found.append(name)
    return [
        task
        for name in dict.fromkeys(found)
        for task in ([load_task(name)] if name in known_tasks() else resolve([name], data_dir))
    ]


def _main(values: flags.FlagValues) -> int:
    if values.decode != "all" and not values.decode.isdecimal():
        raise EvaluationError(f"--decode must be a number or all, not {values.decode!r}")
    for name in (values.data_dir, values.tfds_dir):
        if name is not None and not os.path.isdir(name):
            raise EvaluationError(f"there is no folder {name}")
    places = Places(
        Path(values.data_dir) if values.data_dir else None,
        Path(values.tfds_dir) if values.tfds_dir else None,
    )
    digests = contextlib.nullcontext()
    if values.duplicates:
        digests = DigestCache(cache_dir() / "embeddings" / "digests.sqlite")
    progress = Progress("none" if values.quiet else "bar")
    found = []
    with digests as cache:
        for task in _tasks(values.tasks, values.data_dir):
            decode = None if values.decode == "all" else int(values.decode)
            found.append(check_task(task, places, decode, cache, progress))
            if not values.quiet:
                print("\n".join(details(found[-1])) + "\n")
    print(table(found))
    return 0 if all(one.state == "whole" for one in found) else 1


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; gives its exit code."""
    return command.run(NAME, DESCRIPTION, define_flags(), _main, argv)


if __name__ == "__main__":
    sys.exit(main())
