"""Evaluation of a model on a task: embeds what is missing, trains, scores, writes the result."""

import time
from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path

from hares_tf.evaluation.embeddings import embedding
from hares_tf.evaluation.embeddings.online import OnlineCrops
from hares_tf.evaluation.embeddings.selection import Selection, select
from hares_tf.evaluation.embeddings.store import EmbeddingSpace
from hares_tf.evaluation.embeddings.windows import Plan
from hares_tf.evaluation.evaluated_model import EvaluatedModel
from hares_tf.evaluation.heads.examples import Examples
from hares_tf.evaluation.heads.threads import blas_threads
from hares_tf.evaluation.joining import embedded_examples, unembedded_examples
from hares_tf.evaluation.protocols import Outcome, Protocol, Work
from hares_tf.evaluation.results import results
from hares_tf.evaluation.results.environment import environment
from hares_tf.evaluation.results.metrics import METRICS
from hares_tf.evaluation.results.results import TaskResult
from hares_tf.evaluation.tasks.leaks import warn_if_predicted
from hares_tf.evaluation.tasks.preparing import PreparedTask, clip_counts
from hares_tf.utils.progress import Progress


class TaskEvaluation:
    """Scores one model on one task.

    Args:
        prepared: the task, with its clips and their digests.
        protocol: how heads are trained on it.
        model: the model, as it is called for this task.
        path: of the result's file.
        progress: takes messages and the progress of phases.
    """

    def __init__(
        self,
        prepared: PreparedTask,
        protocol: Protocol,
        model: EvaluatedModel,
        path: Path,
        progress: Progress,
    ):
        self.prepared, self.task, self.model = prepared, prepared.task, model
        self._protocol, self._path, self._progress = protocol, path, progress
        self._plans = {
            "train": protocol.training_plan(self.task),
            "test": protocol.testing_plan(self.task),
        }
        # Everything that the embeddings of the whole task depend on.
        self._description = model.describe(
            {name: plan.as_data() for name, plan in self._plans.items()}
        )
        self._key = results.result_key(
            {
                "schema": results.SCHEMA_VERSION,
                "embeddings": self._description,
                "task": self.task.declaration(),
                "labels": prepared.manifest.labels.as_data(),
                "manifest": prepared.manifest_hash,
                "incomplete": prepared.incomplete_because,
                "protocol": [protocol.identity, protocol.options_data()],
            }
        )

    def finished_before(self) -> TaskResult | None:
        """Returns the stored result, if it is up to date and nothing failed in it.

        Raises:
            EvaluationError: the file in its place is not a result.
        """
        stored = results.read_result(self._path)
        if stored is None or self.model.fingerprint is None:
            return None
        if stored["key"] != self._key:
            self._progress.say(f"  {self.task.id}: the stored result is out of date; scoring anew")
            return None
        result = TaskResult.from_json(stored, str(self._path))
        if not results.predictions_path(self._path).is_file():
            self._progress.say(f"  {self.task.id}: its predictions are missing; scoring anew")
            return None
        if result.clips["failures"]:
            # The reason why a clip could not be read may have passed.
            self._progress.say(f"  {self.task.id}: clips failed in the stored result; scoring anew")
            return None
        self._progress.say(f"  {self.task.id}: {result.score:.1f} (finished before: {self._path})")
        return result

    @cached_property
    def selections(self) -> dict[str, Selection]:
        """The clips that are embedded for "train" and "test"; one object where they are the same.

        Computed once, because mixing draws partners for millions of clips; `run` forgets it.
        """
        folds, plans = self.prepared.manifest.folds, self._plans
        if not self._protocol.trains:
            test = select(self.prepared, folds or ["test"], plans["test"])
            return {"train": test, "test": test}
        if folds and plans["train"] == plans["test"]:
            both = select(self.prepared, None, plans["test"])
            return {"train": both, "test": both}
        train = ["train", "validation"] if self._protocol.uses_validation else ["train"]
        parts = {"train": None, "test": None} if folds else {"train": train, "test": ["test"]}
        return {name: select(self.prepared, parts[name], plan) for name, plan in plans.items()}

    def missing(self) -> Iterator[tuple[Plan, EmbeddingSpace, list[embedding.Item]]]:
        """Yields for each plan its space and the items that are not in it, each key once."""
        by_plan: dict[Plan, list[Selection]] = {}
        for selection in self.selections.values():
            by_plan.setdefault(selection.plan, []).append(selection)
        for plan, selections in by_plan.items():
            if plan.stored:
                space = self.model.space(plan)
                for sentence in space.news():
                    self._progress.say(f"  {sentence}")
                items = {
                    item.key: item
                    for selection in selections
                    for item in selection.items
                    if item.key not in space
                }
                yield plan, space, list(items.values())

    def run(self) -> TaskResult:
        """Embeds, trains, scores, and writes the result."""
        started = time.perf_counter()
        failures, amounts = self._embed()
        embedded_at = time.perf_counter()
        train, test = self._examples()
        task = self.task
        self._progress.say(f"  {task.id}: training on {len(train)} examples")
        metric = METRICS[task.metric]
        labels = self.prepared.manifest.labels
        rows, dim = train.embeddings.shape
        with blas_threads(rows, dim, labels.width):
            outcome = self._protocol.run(task, train, test, self._work(metric.function))
        score = outcome.score
        if score is None:
            score = metric.function(outcome.scores, outcome.test.targets, labels)
        scored_labels = metric.scored_labels(outcome.test.targets, labels)
        incomplete = self._incomplete_because(failures, scored_labels)
        result = TaskResult(
            schema=results.SCHEMA_VERSION,
            key=self._key,
            score=score,
            interval=self._interval(score, outcome),
            complete=not incomplete,
            incomplete_because=tuple(incomplete),
            task={**task.declaration(), "labels": labels.as_data(), "source": task.source},
            protocol=self._protocol_record(outcome),
            clips={
                **clip_counts(self.prepared, failures),
                "n_used": len({*train.ids.tolist(), *test.ids.tolist()}),
                "n_scored": len(outcome.test),
                "n_labels_scored": scored_labels,
            },
            model=self.model.record(self._plans["test"], test.embeddings.shape[1]),
            embeddings=self._description,
            seconds={
                "embedding": round(embedded_at - started, 6),
                "head": round(time.perf_counter() - embedded_at, 6),
                **amounts,
            },
            predictions=results.predictions_path(self._path).name,
            environment=environment(),
        )
        self._write(result, outcome)
        del self.selections
        self._announce(result)
        return result

    def _embed(self) -> tuple[dict[str, str], dict]:
        """Embeds what is missing.

        Returns:
            Why clips failed, by clip id, and how much was embedded, as JSON data.
        """
        failures: dict[str, str] = {}
        embedded, audio_seconds = 0, 0.0
        for plan, space, items in self.missing():
            if not items:
                continue
            encoder = self.model.open_encoder()
            with (
                self._progress.phase(self.task.id, "embedding", len(items), "clip") as bar,
                space.writer(notes={"interface": encoder.interface}) as writer,
            ):
                failed = embedding.embed_items(items, plan, encoder, writer, bar.update)
            done = [item.key for item in items if item.key not in failed]
            embedded += len(done)
            audio_seconds += sum(space.rows(done)) * plan.seconds
            for selection in self.selections.values():
                if selection.plan == plan:
                    failures |= selection.by_clip(failed)
        return failures, {"clips_embedded": embedded, "audio_seconds": round(audio_seconds, 3)}

    def _examples(self) -> tuple[Examples, Examples]:
        """Returns the training and the test clips with their embeddings and labels."""
        scratch = self.model.store.root / "scratch"
        train, test = self.selections["train"], self.selections["test"]
        test_examples = embedded_examples(test, self.model.space(test.plan), scratch)
        if train is test:
            return test_examples, test_examples
        if not train.plan.stored:
            return unembedded_examples(train, test_examples.embeddings.shape[1]), test_examples
        return embedded_examples(train, self.model.space(train.plan), scratch), test_examples

    def _work(self, metric: Callable) -> Work:
        train = self.selections["train"]
        crops = None if train.plan.stored else OnlineCrops(train, self.model.open_encoder())
        checkpoint = self._path.with_name(f"{self._checkpoint_stem}.head.npz")
        return Work(
            metric=metric,
            progress=self._progress,
            checkpoint=checkpoint if self.model.fingerprint else None,
            embed_crops=crops,
        )

    @property
    def _checkpoint_stem(self) -> str:
        """Hidden, and named by the result's key, so that other configurations do not find it."""
        return f".{self.task.id}-{self._key[:16]}"

    def _interval(self, score: float, outcome: Outcome) -> tuple[float, float]:
        """Returns the 95% interval of the score in percent."""
        from hares_tf.evaluation.results.uncertainty import interval

        manifest, test = self.prepared.manifest, outcome.test
        folds = test.parts if manifest.folds else None
        return interval(
            score, outcome.scores, test.targets, manifest.labels, self.task.metric, folds
        )

    def _incomplete_because(self, failures: dict[str, str], scored_labels: int) -> list[str]:
        reasons = list(self.prepared.incomplete_because)
        partners = sum(why.startswith(embedding.PARTNER_UNREADABLE) for why in failures.values())
        if len(failures) > partners:
            reasons.append(f"{len(failures) - partners} clip(s) could not be read")
        if partners:
            reasons.append(f"{partners} clip(s) were to be mixed with one that could not be read")
        labels = self.prepared.manifest.labels
        if labels.kind == "tags" and scored_labels < labels.width:
            reasons.append(f"{labels.width - scored_labels} tag(s) occur in no test clip")
        return reasons

    def _protocol_record(self, outcome: Outcome) -> dict:
        """Returns the section "protocol" of the result, as JSON data."""
        warnings = list(outcome.details.get("warnings", []))
        test = outcome.test
        if test.labels.kind == "classes" and (
            leak := warn_if_predicted(
                "The number of windows", test.rows_per_clip, test.targets[:, 0]
            )
        ):
            warnings.append(leak)
        return {
            "name": self._protocol.name,
            "version": self._protocol.version,
            "identity": self._protocol.identity,
            "options": self._protocol.options_data(),
            **outcome.details,
            **({"warnings": warnings} if warnings or "warnings" in outcome.details else {}),
        }

    def _write(self, result: TaskResult, outcome: Outcome) -> None:
        """Writes predictions and result, and deletes the checkpoints of the head."""
        results.write_predictions(
            results.predictions_path(self._path),
            self._key,
            outcome.test.ids,
            outcome.scores,
            outcome.test.targets,
        )
        results.write_result(self._path, result)
        for checkpoint in self._path.parent.glob(f"{self._checkpoint_stem}*.head.npz"):
            checkpoint.unlink(missing_ok=True)

    def _announce(self, result: TaskResult) -> None:
        say, name, clips = self._progress.say, self.task.id, result.clips
        say(f"  {name}: {result.score:.1f} ({self._path})")
        if repeated := clips["n_repeated_across_parts"]:
            say(f"  {name}: {repeated} recording(s) are in two parts, byte for byte")
        if not all(_values(result.protocol.get("converged", True))):
            say(f"  {name}: the head did not converge; do not trust this score")
        for warning in result.protocol.get("warnings", []):
            say(f"  {name}: {warning}")
        for reason in result.incomplete_because:
            say(f"  {name}: INCOMPLETE, {reason}")
        if failures := clips["failures"]:
            say(f"  {name}: the first clip that failed: {next(iter(failures.values()))}")


def _values(value: object) -> list:
    """Returns a value, or the values by fold, as a list."""
    return list(value.values()) if isinstance(value, dict) else [value]
