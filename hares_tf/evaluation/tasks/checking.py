"""Checks of the data of tasks: which data sets are there, complete and readable."""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np

from hares_tf.audio import AudioError
from hares_tf.evaluation.tasks.declaration import Clip, Manifest, Places, Task
from hares_tf.evaluation.tasks.leaks import warn_if_predicted
from hares_tf.evaluation.tasks.preparing import shortfalls
from hares_tf.utils.errors import HaresError
from hares_tf.utils.files import DigestCache
from hares_tf.utils.progress import Progress
from hares_tf.utils.tables import text_table

#: Clips of each task that are decoded by default, spread evenly over its list.
DECODED_CLIPS = 50
# Clips shorter than this share of the task's window, and silent ones, are remarked.
SHORT_SHARE = 0.1
SILENT_PEAK = 1e-4
_RATE = 16_000
_SHOWN = 5


@dataclass
class Findings:
    """The state of one task's data.

    Attributes:
        task: the task.
        absent: why the list of clips cannot be read, else "".
        manifest: the list of clips, if it can be read.
        problems: why the data set is not complete, as phrases.
        decoded: number of clips that were decoded.
        seconds: their durations.
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
        """The state in one word: absent, damaged, partial or whole."""
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
    """Checks one task's data.

    Args:
        task: its declaration.
        places: where its data may be.
        decode: number of clips to decode; None for all.
        digests: if given, contents are hashed and compared, to find copies.
        progress: reports the decoding.

    Returns:
        The findings; data that are absent or damaged are findings, not errors.
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
        spread = np.unique(np.linspace(0, len(clips) - 1, number).astype(int))
        _decode(findings, [clips[i] for i in spread], progress or Progress())
        if digests is not None:
            _find_copies(findings, clips, digests)
    return findings


def _decode(findings: Findings, clips: list[Clip], progress: Progress) -> None:
    def measure(clip: Clip) -> tuple[float, float] | AudioError:
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
        for clip, measured in zip(clips, pool.map(measure, clips), strict=True):
            bar.update()
            if isinstance(measured, AudioError):
                findings.damaged[clip.id] = str(measured)
                continue
            seconds, peak = measured
            findings.seconds.append(seconds)
            if peak < SILENT_PEAK:
                silent.append(clip.id)
            if seconds < short:
                brief.append(clip.id)
    findings.decoded = len(clips)
    if findings.manifest is not None and findings.manifest.labels.kind == "classes":
        heard = [clip for clip in clips if clip.id not in findings.damaged]
        numbers = {label: n for n, label in enumerate(sorted({str(clip.label) for clip in heard}))}
        leak = warn_if_predicted(
            "The length of a clip", findings.seconds, [numbers[str(clip.label)] for clip in heard]
        )
        findings.remarks += [leak] if leak else []
    if silent:
        findings.remarks.append(f"{len(silent)} decoded clip(s) are silent: {_shortened(silent)}")
    if brief:
        findings.remarks.append(
            f"{len(brief)} decoded clip(s) last less than {short:g} s: {_shortened(brief)}"
        )


def _find_copies(findings: Findings, clips: Sequence[Clip], digests: DigestCache) -> None:
    first: dict[str, Clip] = {}
    same: list[str] = []
    across: list[str] = []
    hashes = digests.remembered(
        (clip.sound.where, clip.sound.container, clip.sound.content_digest) for clip in clips
    )
    for clip, digest in zip(clips, hashes, strict=True):
        original = first.setdefault(digest, clip)
        if original is not clip:
            (same if original.part == clip.part else across).append(f"{clip.id} = {original.id}")
    if same:
        findings.remarks.append(f"{len(same)} clip(s) are copies of others: {_shortened(same)}")
    if across:
        findings.remarks.append(
            f"{len(across)} clip(s) are copies of clips of another split or fold: "
            f"{_shortened(across)}"
        )


def _shortened(names: Sequence[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")


def details(findings: Findings) -> list[str]:
    """Returns all findings on one task, as lines."""
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


def table(results: Sequence[Findings]) -> str:
    """Returns the state of all tasks as a table."""
    header = ["task", "state", "clips", "expected", "missing", "damaged", "hours", "license"]
    rows = []
    for findings in results:
        manifest, task = findings.manifest, findings.task
        hours = ""
        if manifest is not None and findings.seconds:
            about = "" if findings.decoded == len(manifest.clips) else "~"
            hours = f"{about}{np.mean(findings.seconds) * len(manifest.clips) / 3600:.1f}"
        damaged = f"{len(findings.damaged)} of {findings.decoded}" if findings.decoded else ""
        rows.append(
            [
                task.id,
                findings.state,
                str(len(manifest.clips)) if manifest else "0",
                str(sum(task.expected.values())) if task.expected else "any",
                str(len(manifest.missing)) if manifest else "",
                damaged,
                hours,
                task.dataset.license if task.dataset else "",
            ]
        )
    return "\n".join(text_table(header, rows, right=range(2, 7)))
