"""The report on held-out clips: files for programs and for people."""

import csv
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hares_tf.evaluation.results.intervals import wilson
from hares_tf.evaluation.results.uncertainty import paired
from hares_tf.evaluation.tasks.labels import Labels
from hares_tf.finetune.clips import Clip
from hares_tf.finetune.confusion import confusion_svg
from hares_tf.finetune.errors import FinetuneError
from hares_tf.finetune.head import log_softmax
from hares_tf.utils.files import write_json

REPORT = "report.json"
HELD_OUT = "held_out.csv"
CONFUSION = "confusion.svg"
_SHOWN_CONFUSIONS = 5
_SHOWN_REASONS = 5


@dataclass(frozen=True)
class HeldOut:
    """Test clips and their logits.

    Attributes:
        clips: the test clips.
        classes: names.
        frozen: logits `[clips, classes]` of the head on the frozen encoder.
        final: logits `[clips, classes]` of the exported module.
    """

    clips: Sequence[Clip]
    classes: Sequence[str]
    frozen: np.ndarray
    final: np.ndarray

    @property
    def targets(self) -> np.ndarray:
        """`[clips]` classes."""
        return np.array([clip.label for clip in self.clips])

    def confusion(self) -> np.ndarray:
        """Numbers of clips `[true class, predicted class]` of the exported module."""
        counts = np.zeros((len(self.classes),) * 2, int)
        np.add.at(counts, (self.targets, self.final.argmax(axis=1)), 1)
        return counts

    def result(self, logits: np.ndarray) -> dict:
        """Accuracy with its interval, and the recall of each class, in percent."""
        targets = self.targets
        right = logits.argmax(axis=1) == targets
        return {
            **accuracy(int(right.sum()), len(right)),
            "recall": {
                name: 100.0 * float(right[targets == label].mean())
                if (targets == label).any()
                else None
                for label, name in enumerate(self.classes)
            },
        }

    def results(self) -> dict:
        """Results of the frozen head and of the exported module, and their difference."""
        column = self.targets.astype(np.int32)[:, None]
        labels = Labels.classes(self.classes)
        return {
            "frozen_head": self.result(self.frozen),
            "fine_tuned": self.result(self.final),
            "gain": paired(self.final, self.frozen, column, labels, "accuracy"),
        }


def accuracy(right: int, clips: int) -> dict:
    """Percent, with Wilson's 95% interval, which also holds for few clips and for 100%."""
    percent = 100.0 * right / clips
    return {
        "accuracy": percent,
        "interval": list(wilson(percent, clips)),
        "right": right,
        "clips": clips,
    }


def check_destination(folder: Path, overwrite: bool) -> None:
    """Raises FinetuneError where a report must not be written."""
    if not folder.exists():
        return
    if not overwrite:
        raise FinetuneError(
            f"{folder} exists already. Choose another --report, or add --overwrite."
        )
    replaceable = folder.is_dir() and ((folder / REPORT).is_file() or not any(folder.iterdir()))
    if not replaceable:
        raise FinetuneError(f"{folder} is not a report, so --overwrite leaves it alone.")


def write(folder: Path, report: dict, held_out: HeldOut) -> None:
    """Writes the files of the report into an empty folder."""
    write_json(folder / REPORT, report)
    _write_table(folder / HELD_OUT, held_out)
    tuned = report["results"]["fine_tuned"]
    drawing = confusion_svg(
        held_out.confusion(),
        held_out.classes,
        report["name"],
        f"{in_words(tuned)} of {tuned['clips']} held-out clips right; shade: share of the row",
    )
    (folder / CONFUSION).write_text(drawing, encoding="utf-8")


def _write_table(path: Path, held_out: HeldOut) -> None:
    probabilities = np.exp(log_softmax(held_out.final))
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("id", "label", "predicted", "probability"))
        for clip, row in zip(held_out.clips, probabilities, strict=True):
            predicted = int(row.argmax())
            names = (held_out.classes[clip.label], held_out.classes[predicted])
            writer.writerow((clip.id, *names, f"{row[predicted]:.4f}"))


def in_words(result: dict) -> str:
    """`93.3% (84.1 to 97.4)`."""
    low, high = result["interval"]
    return f"{result['accuracy']:.1f}% ({low:.1f} to {high:.1f})"


def summary(report: dict, held_out: HeldOut, output: str | os.PathLike, folder: Path) -> str:
    """The results in a few lines."""
    results, counts = report["results"], report["data"]["clips"]
    tuned, frozen = results["fine_tuned"], results["frozen_head"]
    parts = ", ".join(f"{number} {part}" for part, number in counts.items())
    lines = [
        f"{output}: {len(held_out.classes)} classes, {parts} clips, windows of "
        f"{report['window_seconds']:g} s",
        f"  held-out accuracy, with 95% intervals, on {tuned['clips']} clips:",
        f"    head on the frozen encoder  {in_words(frozen)}",
    ]
    training = report["training"]
    if training["skipped"]:
        lines.append(f"    fine-tuning was skipped: {training['skipped']}")
    else:
        gain = results["gain"]
        lines.append(f"    fine-tuned                  {in_words(tuned)}")
        lines.append(
            f"    difference                  {gain['difference']:+.1f} points "
            f"({gain['low']:+.1f} to {gain['high']:+.1f})"
        )
        best = training["best_epoch"]
        lines.append(
            f"  kept: epoch {best} of {training['epochs']}, the best on validation clips"
            if best
            else "  kept: the frozen encoder, since no epoch was better on validation clips"
        )
    mistakes = held_out.confusion()
    np.fill_diagonal(mistakes, 0)
    worst = np.argsort(mistakes, axis=None)[::-1][:_SHOWN_CONFUSIONS]
    frequent = [
        f"{held_out.classes[true]} as {held_out.classes[predicted]} ({mistakes[true, predicted]})"
        for true, predicted in zip(*np.unravel_index(worst, mistakes.shape), strict=True)
        if mistakes[true, predicted]
    ]
    if frequent:
        lines.append("  most frequent mistakes: " + ", ".join(frequent))
    rejected = report["rejected"]
    if rejected:
        lines.append(f"  {len(rejected)} recording(s) left out:")
        lines += [f"    {row['id']}: {row['reason']}" for row in rejected[:_SHOWN_REASONS]]
        if len(rejected) > _SHOWN_REASONS:
            lines.append(f"    ... all of them are listed in {folder / REPORT}")
    lines += [f"  note: {note}" for note in report["notes"]]
    lines.append(f"  report: {folder / REPORT}, {HELD_OUT}, {CONFUSION}")
    return "\n".join(lines)
