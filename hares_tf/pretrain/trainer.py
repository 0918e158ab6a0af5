"""The training run: read it from top to bottom."""

import contextlib
import signal
import time
from pathlib import Path

import numpy as np
import tensorflow as tf

from hares_tf.checkpoints.run_files import CHECKPOINTS
from hares_tf.data import open_clips
from hares_tf.data.clip_set import ClipSet, check_files
from hares_tf.data.reader import explain
from hares_tf.pretrain.checkpoints import Checkpoints
from hares_tf.pretrain.errors import PretrainError
from hares_tf.pretrain.gradient_caching import check_chunkable
from hares_tf.pretrain.interruption import only_process, stop_request
from hares_tf.pretrain.journal import METRICS, Journal, in_words, read_metrics
from hares_tf.pretrain.learner import create_learner, make_objective
from hares_tf.pretrain.loop import Loop, make_iterator
from hares_tf.pretrain.numerics import sums_bfloat16_exactly
from hares_tf.pretrain.optimizer import learning_rate_schedule
from hares_tf.pretrain.ranking import RecentRanking
from hares_tf.pretrain.run_record import (
    check_resumable,
    fingerprint,
    make_record,
    read_record,
    write_record,
)
from hares_tf.pretrain.strategy import check_agreement, is_chief
from hares_tf.utils.errors import reason
from hares_tf.utils.progress import Progress
from hares_tf.utils.tensorflow import keep_float32

# Errors of TensorFlow for a file that is damaged or removed during training.
_READING = (
    tf.errors.DataLossError,
    tf.errors.FailedPreconditionError,
    tf.errors.NotFoundError,
    tf.errors.OutOfRangeError,
    tf.errors.PermissionDeniedError,
)

# A preempted machine has little time between the signal and the end.
_CALL_SECONDS = 5.0
# A gradient's norm, in units of the loss, that is rounding: clips of silence gave 1e-6, and noise
# above 1.
_ROUNDING = 1e-4


def pretrain(
    config,
    data,
    workdir,
    *,
    strategy=None,
    exact_resume: bool = False,
    probe=None,
    progress: str = "none",
) -> int:
    """Trains an encoder, or goes on with a run that was interrupted.

    Args:
        config: of `hares_tf.pretrain.load_config`.
        data: a folder that `hares-prepare` wrote.
        workdir: the run's folder: run.json, metrics.jsonl, checkpoints/, tensorboard/.
        strategy: the `tf.distribute` strategy; default: the current one.
        exact_resume: recorded, and compared on resuming; the caller sets the threads.
        probe: a `hares_tf.pretrain.probe.Probe` that scores the encoder while it is trained.
        progress: "bar", "json" or "none".

    Returns:
        0 when the last step is done; 128 and the number of the signal that ended it before.

    Raises:
        PretrainError, DataError, ModelError, ObjectiveError: something the user can fix; the last
            good checkpoint is kept.
    """
    if "://" in str(workdir):
        raise PretrainError(f"--workdir={workdir}: a run needs a folder of this machine's disks.")
    keep_float32()
    strategy = strategy or tf.distribute.get_strategy()
    workdir = Path(workdir)
    reporter = Progress(progress)
    if config.precision == "mixed_bfloat16" and not sums_bfloat16_exactly():
        reporter.say(
            "this processor adds up gradients in bfloat16, which loses digits; "
            "--config.precision=float32 does not"
        )
    clips = open_clips(data)
    check_batch(config, strategy)
    check_clips(config, clips)
    record = make_record(config, clips, strategy, exact_resume)
    begun = read_record(workdir)
    if begun is not None:
        check_resumable(begun, record, workdir)

    checkpoints = Checkpoints(workdir / CHECKPOINTS, config.keep)
    if begun is None and checkpoints.steps():
        raise PretrainError(
            f"{workdir} holds checkpoints, but no run.json; choose another --workdir."
        )
    with strategy.scope():
        learner = create_learner(config, len(clips.label_names))
    if config.chunk:
        check_chunkable(learner, config.objective.name)
    chief = is_chief(strategy)
    with only_process(workdir) if chief else contextlib.nullcontext():
        if chief:
            checkpoints.clean()
        variables = learner.named_variables()
        about, passed = checkpoints.restore(variables)
        step = about["step"]
        check_agreement(strategy, step=step, record=fingerprint(record))
        for sentence in passed:
            reporter.say(f"{sentence}; going on from step {step}")
        if chief and begun is None:
            write_record(workdir, record)
        if step:
            reporter.say(f"going on from step {step:,} in {workdir}")
        run = _Run(config, workdir, strategy, clips, learner, checkpoints, chief, probe, reporter)
        # The first loss of the run, also where it is resumed: explosions are measured by it.
        run.first_loss = about.get("first_loss")
        return run.train(step, variables)


def check_batch(config, strategy) -> None:
    """Raises PretrainError if the batch does not divide among replicas and chunks."""
    replicas = strategy.num_replicas_in_sync
    if config.batch % replicas:
        raise PretrainError(
            f"A batch of {config.batch} clips cannot be dealt out to {replicas} replicas: choose "
            f"a multiple of {replicas}."
        )
    (examples, *_) = make_objective(config).encoder_rows(config.batch // replicas)
    if config.chunk and config.chunk < examples and examples % config.chunk:
        raise PretrainError(
            f"--config.chunk={config.chunk} does not divide the {examples} crops of a replica; "
            "choose a divisor, or 0 to do without gradient caching."
        )
    if config.jit_compile and not isinstance(strategy, type(tf.distribute.get_strategy())):
        raise PretrainError(
            "jit_compile=true is for one device: replicas cannot meet inside a compiled step, and "
            "a TPU compiles it anyway."
        )


def check_clips(config, clips: ClipSet) -> None:
    """Raises PretrainError if the objective cannot learn anything from the clips."""
    objective = make_objective(config)
    name, fewest = config.objective.name, objective.fewest_clips
    for where, count in (("a batch", config.batch), (str(clips.folder), clips.n_clips)):
        if count < fewest:
            raise PretrainError(
                f"{name} compares clips, so {where} needs at least {fewest} of them, not {count}."
            )
    counts = clips.label_counts
    if objective.needs_labels and counts and set(counts) <= {0, clips.n_clips}:
        raise PretrainError(
            f"All clips in {clips.folder} have the same labels ({', '.join(clips.label_names)}), "
            f"so {name} has nothing to tell apart; prepare clips of several labels."
        )


class _Run:
    """The moving parts of a run."""

    def __init__(
        self, config, workdir, strategy, clips, learner, checkpoints, chief, probe, progress
    ):
        self.config, self.workdir, self.strategy = config, workdir, strategy
        self.clips, self.learner, self.checkpoints = clips, learner, checkpoints
        self.chief, self.probe, self.progress = chief, probe, progress
        self.schedule = learning_rate_schedule(config)
        self.several_workers = isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy)
        self.first_loss: float | None = None
        # Seconds of a step, when known: a signal is seen between calls, so these must be short.
        self.pace: float | None = None

    def train(self, step: int, variables: dict) -> int:
        config = self.config
        loop = Loop(self.strategy, self.learner, config)
        missed = self._missed_probe(step)
        if step >= config.steps and not missed:
            self.progress.say(f"all {config.steps:,} steps are done: {self.workdir}")
            return 0
        journal = Journal(self.workdir, step, self.chief)
        if missed:
            self._probe(variables, step, journal)
        iterator = make_iterator(self.strategy, config, self.clips, self.learner, step)
        ranking = RecentRanking() if self.learner.objective.needs_labels else None
        window: list[np.ndarray] = []
        started = time.monotonic()
        with (
            stop_request() as stop,
            self.progress.phase("pretraining", config.model.name, config.steps, "step") as bar,
        ):
            bar.update(step)
            while step < config.steps:
                count = self._steps_in_call(step)
                began = time.monotonic()
                with self._explained():
                    report = loop.run(iterator, step, count, bool(stop))
                # The first call also traces, so the second is as short.
                self.pace = (time.monotonic() - began) / count
                self._check(report["series"], loop.names, step)
                step += count
                bar.update(count)
                window.append(report["series"])
                if ranking is not None:
                    ranking.add(report["scores"], report["labels"])
                if step % config.log_every == 0 or step == config.steps:
                    metrics = self._metrics(np.concatenate(window), loop.names, step, started)
                    if ranking is not None:
                        metrics["mean_average_precision"] = ranking.mean_average_precision()
                    journal.record(step, metrics)
                    self.progress.say(in_words(step, config.steps, metrics))
                    window, started = [], time.monotonic()
                # A single worker does not have to wait until all workers know.
                stopped = report["stop"] or (bool(stop) and not self.several_workers)
                if stopped or step == config.steps or step % config.checkpoint_every == 0:
                    self._checkpoint(variables, step)
                if self.probe is not None and self._due(config.probe.every, step) and not stopped:
                    self._probe(variables, step, journal)
                if stopped:
                    journal.close()
                    self.progress.say(
                        f"stopped after step {step:,} as asked; the same command goes on from there"
                    )
                    return 128 + (stop.signal or signal.SIGTERM)
        journal.close()
        return 0

    @contextlib.contextmanager
    def _explained(self):
        """Turns TensorFlow's errors that a user can do something about into sentences."""
        try:
            yield
        except tf.errors.ResourceExhaustedError as error:
            raise PretrainError(
                f"Out of memory ({reason(error)}). Lower batch, or keep it "
                "and compute its gradients in chunks (--config.chunk=64) or with "
                "--config.model.gradient_checkpointing=true; --dry_run estimates what a step takes."
            ) from error
        except _READING as error:
            raise explain(error, self.clips) from error
        except tf.errors.InvalidArgumentError:
            # A shard that was cut during training gives this error, among other causes.
            check_files(self.clips)
            raise

    def _steps_in_call(self, step: int) -> int:
        """Returns the number of steps of the next call, at most to the next checkpoint or log."""
        config = self.config
        count = min(config.steps_per_call, config.steps - step)
        for every in (config.log_every, config.checkpoint_every, config.probe.every):
            if every:
                count = min(count, every - step % every)
        if not self.several_workers:  # workers must make the same calls
            # One to begin with: a step may take a minute, and none is known yet.
            fitting = 1 if self.pace is None else max(1, int(_CALL_SECONDS / self.pace))
            count = min(count, fitting)
        return count

    def _missed_probe(self, step: int) -> bool:
        """Returns whether the run ended between the checkpoint of `step` and its probe."""
        if not step or self.probe is None or not self._due(self.config.probe.every, step):
            return False
        recorded = read_metrics(self.workdir) if (self.workdir / METRICS).exists() else []
        return not any(line["step"] == step and "probe/mean" in line for line in recorded)

    def _due(self, every: int, step: int) -> bool:
        return bool(every) and (step % every == 0 or step == self.config.steps)

    def _check(self, series: np.ndarray, names, first: int) -> None:
        """Stops a run whose numbers have become useless, before anything of it is saved."""
        finite = np.isfinite(series).all(axis=1)
        losses = series[:, names.index("loss")]
        if self.first_loss is None and finite[0]:
            self.first_loss = float(losses[0])
        gradients = series[:, names.index("gradient_norm")]
        if first == 0 and (gradients <= _ROUNDING * np.abs(losses)).all():
            raise PretrainError(
                "Step 1: The gradient is zero but for rounding, so nothing is learned from these "
                "clips; they may all be silent or alike. The run was stopped."
            )
        limit = self.config.explosion * abs(self.first_loss or 1.0)
        bad = ~finite | (losses > limit)
        if not bad.any():
            return
        index = int(np.argmax(bad))
        step = first + index + 1
        kept = [saved for saved in self.checkpoints.steps() if saved <= first]
        what = (
            f"{names[int(np.argmin(np.isfinite(series[index])))]} is not a finite number"
            if not finite[index]
            else f"the loss is {losses[index]:.4g}, {self.config.explosion:g} times its first value"
        )
        where = f"{self.checkpoints.path(kept[-1])} is kept" if kept else "there is no checkpoint"
        raise PretrainError(
            f"Step {step}: {what}. The run was stopped; {where}. Lower learning_rate or lengthen "
            "warmup_steps, in another --workdir."
        )

    def _metrics(self, series, names, step: int, started: float) -> dict[str, float]:
        """Means since the last report, by name."""
        clips = len(series) * self.config.batch
        return {
            **dict(zip(names, map(float, series.mean(axis=0)), strict=True)),
            "learning_rate": float(self.schedule(step - 1)),
            "clips_per_second": clips / max(time.monotonic() - started, 1e-9),
        }

    def _checkpoint(self, variables: dict, step: int) -> None:
        if not self.chief:
            return
        self.checkpoints.save(variables, step, first_loss=self.first_loss)

    def _probe(self, variables: dict, step: int, journal: Journal) -> None:
        """Scores the encoder as it is, and remembers the best checkpoint by the mean score."""
        if not self.chief:
            return
        scores = self.probe.run(self.learner.encoder, step)
        journal.record(step, {f"probe/{task}": score for task, score in scores.items()})
        self.progress.say("  ".join(f"{task} {score:.1f}" for task, score in scores.items()))
        if step not in self.checkpoints.steps():
            self._checkpoint(variables, step)
        # Means over other tasks cannot be compared.
        by = " ".join(["probe/mean", *self.config.probe.tasks, self.config.probe.protocol])
        self.checkpoints.judge(step, by, scores["mean"])
