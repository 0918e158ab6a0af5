"""Fine-tuning from beginning to end: recordings and a handle to a module and its report."""

import hashlib
import json
import math
import os
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from hares_tf.evaluation.embeddings.windows import window_samples
from hares_tf.evaluation.encoders.encoder import Encoder
from hares_tf.evaluation.encoders.handle import stated_interface
from hares_tf.evaluation.encoders.interface import Interface
from hares_tf.evaluation.heads.threads import blas_threads
from hares_tf.finetune import report as reports
from hares_tf.finetune import rescue
from hares_tf.finetune.clips import decode
from hares_tf.finetune.embedding import WindowEmbedder, targets_of
from hares_tf.finetune.errors import FinetuneError
from hares_tf.finetune.head import LINEAR_C, FittedHead, Head, Score, fit_head, score
from hares_tf.finetune.settings import Settings
from hares_tf.finetune.splits import split
from hares_tf.hub.export.exporter import check_destination
from hares_tf.hub.loader import LocatedModule, load, locate
from hares_tf.recordings.recording import PARTS, Source
from hares_tf.utils.errors import reason
from hares_tf.utils.files import atomic_directory
from hares_tf.utils.progress import Progress

# Long recordings are seen in windows of a few seconds, as the HARES tasks are.
LONGEST_WINDOW_SECONDS = 5.0
_LENGTH_PERCENTILE = 95


@dataclass(frozen=True)
class Outcome:
    """Result of a run.

    Attributes:
        output: the module's folder.
        report_folder: the report's folder.
        report: the content of `report.json`.
        text: a summary for people.
    """

    output: Path
    report_folder: Path
    report: dict
    text: str


def finetune(
    handle: str | os.PathLike,
    recordings: Source,
    output: str | os.PathLike,
    *,
    settings: Settings | None = None,
    interface: Interface | None = None,
    report: str | os.PathLike | None = None,
    name: str | None = None,
    overwrite: bool = False,
    progress: str = "none",
) -> Outcome:
    """Fine-tunes a module and writes it, with a report on clips that were held out.

    Args:
        handle: of a SavedModel, see `hub.locate`.
        recordings: see `read_recordings`.
        output: the folder of the new module.
        settings: see `Settings`.
        interface: what is known of how the module is called.
        report: the folder of the report; default: `output` with "-report" behind it.
        name: of the new module; default: that of the old one and "_finetuned".
        overwrite: replace a module and a report that are there already.
        progress: a mode of `hares_tf.utils.progress.Progress`.

    Returns:
        Where module and report are, and the report; both folders appear only when complete.

    Raises:
        FinetuneError: recordings, a module or an option cannot be used; the message says which.
    """
    settings = settings or Settings()
    module, output, report_folder = check_paths(handle, output, report, overwrite)
    stated, _ = stated_interface(module, interface or Interface())
    run = _Run(module, stated, recordings, output, settings, Progress(progress))
    head = run.fit_head()
    frozen = run.test_logits(head.best)
    tuned = run.unfreeze(head, output)
    held_out = reports.HeldOut(
        run.parts["test"], recordings.label_names, frozen, run.test_logits(tuned)
    )
    name = name or f"{module.name}_finetuned"
    content = run.report(name, held_out)
    # Both are renamed when both are complete, the module first: it states its accuracy also without
    # the report, and a report without its module is useless.
    try:
        with (
            atomic_directory(report_folder, overwrite) as report_draft,
            atomic_directory(output, overwrite) as module_draft,
        ):
            reports.write(report_draft, content, held_out)
            run.save(module_draft, name, tuned, content)
    except Exception as error:
        raise FinetuneError(run.keep(output, tuned, error)) from error
    run.discard(output)
    text = reports.summary(content, held_out, output, report_folder)
    return Outcome(output, report_folder, content, text)


def check_paths(
    handle: str | os.PathLike,
    output: str | os.PathLike,
    report: str | os.PathLike | None = None,
    overwrite: bool = False,
) -> tuple[LocatedModule, Path, Path]:
    """Checks the paths of `finetune` before anything is read or computed.

    Needs no TensorFlow for local handles, nor for folders that exist already.

    Returns:
        The module, its new folder and the folder of the report.

    Raises:
        FinetuneError: something would be written where it must not, or the module cannot be
            fine-tuned.
    """
    output = Path(output)
    report = Path(f"{output}-report" if report is None else report)
    target, reported = (Path(os.path.realpath(path)) for path in (output, report))
    if reported == target or target in reported.parents or reported in target.parents:
        raise FinetuneError(
            f"--report={report} and --output={output} lie in each other. Choose separate folders."
        )
    check_destination(output, overwrite)
    reports.check_destination(report, overwrite)
    module = locate(handle)
    if module.kind != "saved_model":
        what = "a Keras file" if module.kind == "keras" else "a Python function"
        raise FinetuneError(
            f"{module.handle} is {what}. Only a SavedModel can be fine-tuned: export it as one."
        )
    assert module.path is not None  # a SavedModel has a folder
    source = Path(os.path.realpath(module.path))
    if target == source or target in source.parents:
        raise FinetuneError(f"--output={output} is where the module itself lies. Choose another.")
    return module, output, report


class _Run:
    """A run of fine-tuning, with a method for each step."""

    def __init__(self, module, stated, recordings, output, settings, progress):
        from hares_tf.evaluation.encoders.probe import probe
        from hares_tf.finetune.encoder import open_module

        self._module, self._recordings = module, recordings
        self._settings, self._progress = settings, progress
        # Digests now: the module may be on a disk that is changed later.
        self._source_hash = module.content_hash()
        loaded = load(module)
        probed = Encoder(*probe(module.handle, loaded, stated))
        trainable = bool(getattr(loaded, "trainable_variables", None))
        self._encoder = open_module(module, probed.interface, trainable)
        rate = probed.sample_rate
        noise = np.random.default_rng(0).normal(0, 0.1, (2, rate)).astype(np.float32)
        self._encoder.check_against(probed.embed, noise)
        # The probed copy of the module is not the one that is trained.
        self._adapter = replace(probed, function=self._encoder.embed, graph=None)
        progress.say(f"{module.name}: {self._adapter.description}")

        self._scratch = output.resolve().parent
        self._scratch.mkdir(parents=True, exist_ok=True)
        self._audio, clips, self._rejected = decode(recordings, rate, self._scratch, progress)
        if self._rejected:
            progress.say(f"  {len(self._rejected)} recording(s) left out, listed at the end")
        clips, self._notes = split(clips, recordings.label_names, settings.seed)
        for note in self._notes:
            progress.say(f"  note: {note}")
        self.parts = {part: [c for c in clips if c.part == part] for part in PARTS}
        self._seconds = self._window_seconds()
        self._window = window_samples(self._seconds, rate)
        counts = ", ".join(f"{len(clips)} {part}" for part, clips in self.parts.items())
        progress.say(
            f"{len(recordings.label_names)} classes, {counts} clips, windows of {self._seconds:g} s"
        )
        self._embedder = WindowEmbedder(
            self._adapter, self._audio, self._seconds, self._scratch, progress
        )

    def fit_head(self) -> FittedHead:
        """Phase 1: the head on the frozen encoder."""
        train, validation = (
            self._embedder.embeddings(self.parts[part], part) for part in ("train", "validation")
        )
        rows, dim = train.embeddings.shape
        with (
            self._progress.phase("head", "fit", len(LINEAR_C), "fit") as bar,
            blas_threads(rows, dim, len(self._recordings.label_names)),
        ):
            fitted = fit_head(
                train, validation, self._recordings.label_names, self._scratch, bar.update
            )
        self._head_choice, self._first = fitted.choice, fitted.score
        self._progress.say(
            f"  head on the frozen encoder: validation accuracy {self._first.accuracy:.1f}% "
            f"(C = {fitted.choice['c']:g})"
        )
        return fitted

    def keep(self, output: Path, head: Head, error: Exception) -> str:
        """Keeps the trained weights of a run that could not be written; returns a message."""
        sentence = f"{str(error).rstrip('.') or type(error).__name__}."
        if not self._training["best_epoch"]:
            return sentence
        try:
            path = rescue.keep(output, self._key(), head, self._encoder.hub.weights, self._training)
        except OSError as failed:
            return f"{sentence} The trained weights cannot be kept either: {reason(failed)}."
        return (
            f"{sentence} The trained weights are kept in {path}: run the same command again, and "
            "they are written without being trained again."
        )

    def discard(self, output: Path) -> None:
        """Removes weights that an earlier run kept."""
        rescue.discard(output)

    def _key(self) -> str:
        """Identifies what the trained weights depend on."""
        content = [
            self._source_hash,
            self._data()["content_hash"],
            self._settings.as_data(),
            self._seconds,
            self._adapter.interface,
        ]
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    def unfreeze(self, fitted: FittedHead, output: Path) -> Head:
        """Phase 2: encoder and head together; returns the head of the best epoch."""
        skipped = None
        if not self._settings.epochs:
            skipped = "--epochs=0 asks for the head alone"
        elif not self._encoder.hub.trainable:
            skipped = "the module has no trainable variables"
        self._training: dict = {
            "skipped": skipped,
            "epochs": 0 if skipped else self._settings.epochs,
            "best_epoch": 0,
            "history": [],
        }
        if skipped:
            self._progress.say(f"  fine-tuning is skipped: {skipped}")
            return fitted.best
        if kept := rescue.restore(output, self._key(), self._encoder.hub.weights):
            path, head, self._training = kept
            self._progress.say(f"  trained before: the weights are those in {path}")
            return head
        from hares_tf.finetune.training import BestEpoch, Crops, fit

        if not self._encoder.hub.has_training_mode:
            note = "the module has no training mode: it is trained as it is called in inference"
            self._notes.append(note)
            self._progress.say(f"  note: {note}")
        settings, clips = self._settings, self.parts["train"]
        crops = Crops(
            self._audio, clips, self._window, min(settings.batch, len(clips)), settings.seed
        )
        best = BestEpoch(self._first, self._validate, settings, self._progress)
        head = fit(self._encoder, fitted.start, crops, settings, best, self._progress)
        self._training |= {"best_epoch": best.best_epoch, "history": best.history}
        return head if best.best_epoch else fitted.best

    def _validate(self, head: Head) -> Score:
        clips = self.parts["validation"]
        return score(self._embedder.clip_logits(clips, head.dense()), targets_of(clips))

    def test_logits(self, head: Head) -> np.ndarray:
        """Logits of the test clips, with the encoder as it is now."""
        return self._embedder.clip_logits(self.parts["test"], head.dense(), "test")

    def report(self, name: str, held_out: reports.HeldOut) -> dict:
        """The content of `report.json`."""
        return {
            "schema": 1,
            "name": name,
            "source": {"name": self._module.name, "content_hash": self._source_hash},
            "results": held_out.results(),
            "confusion": held_out.confusion().tolist(),
            "classes": list(self._recordings.label_names),
            "data": self._data(),
            "window_seconds": self._seconds,
            "settings": self._settings.as_data(),
            "interface": self._adapter.interface,
            "head": self._head_choice,
            "validation": {"accuracy": self._first.accuracy, "loss": self._first.loss},
            "training": self._training,
            "rejected": [{"id": id, "reason": reason} for id, reason in self._rejected],
            "notes": self._notes,
        }

    def save(self, directory: Path, name: str, head: Head, report: dict) -> None:
        """Writes the module, and checks what was written."""
        from hares_tf.finetune import module as export
        from hares_tf.finetune.card import make_card

        self._progress.say("writing the module ...")
        tuned = report["results"]["fine_tuned"]
        source_card = self._module.card
        weights = {
            "source": "fine-tuned",
            "from": {
                **report["source"],
                **({"weights": source_card["weights"]} if "weights" in source_card else {}),
            },
            "data": report["data"],
            "settings": {**report["settings"], "window_seconds": self._seconds},
            "epochs_kept": report["training"]["best_epoch"],
            "held_out": {key: tuned[key] for key in ("accuracy", "interval", "clips")},
        }
        encoder = self._encoder
        card = make_card(
            self._module.card,
            name=name,
            sample_rate=self._adapter.sample_rate,
            embedding_size=encoder.size,
            classes=self._recordings.label_names,
            parameters=sum(int(np.prod(v.shape)) for v in encoder.hub.trainable_variables),
            weights=weights,
            signatures=export.wrapped_signatures(encoder),
        )
        export.save(encoder, head.dense(), self._recordings.label_names, card, directory)

    def _window_seconds(self) -> float:
        if self._settings.window_seconds is not None:
            return self._settings.window_seconds
        fixed, rate = self._adapter.interface["window_samples"], self._adapter.sample_rate
        if fixed:
            return fixed / rate
        lengths = [
            clip.samples / rate for part in ("train", "validation") for clip in self.parts[part]
        ]
        usual = float(np.percentile(lengths, _LENGTH_PERCENTILE))
        return min(LONGEST_WINDOW_SECONDS, math.ceil(100 * usual) / 100)

    def _data(self) -> dict:
        """The recordings: counts, and a hash that changes with any clip, label or part."""
        clips = sorted((c for part in self.parts.values() for c in part), key=lambda c: c.id)
        classes = self._recordings.label_names
        content = hashlib.sha256()
        for clip in clips:
            line = "\0".join((clip.id, clip.digest, classes[clip.label], clip.part))
            content.update(f"{line}\n".encode())
        by_class = Counter(clip.label for clip in clips)
        return {
            **self._recordings.description,
            "clips": {part: len(clips) for part, clips in self.parts.items()},
            "seconds": round(sum(c.samples for c in clips) / self._adapter.sample_rate, 1),
            "clips_by_class": {name: by_class[label] for label, name in enumerate(classes)},
            "rejected": len(self._rejected),
            "content_hash": content.hexdigest(),
        }
