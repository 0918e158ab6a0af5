"""One model on one task: embed what is missing, train, score, write the result."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

from hares_tf.evaluation.embeddings import embedding
from hares_tf.evaluation.embeddings.online import OnlineCrops
from hares_tf.evaluation.embeddings.store import EmbeddingSpace, EmbeddingStore
from hares_tf.evaluation.embeddings.windows import Plan
from hares_tf.evaluation.encoders import handle
from hares_tf.evaluation.encoders.interface import Interface
from hares_tf.evaluation.encoders.runtime import Runtime
from hares_tf.evaluation.errors import EvaluationError
from hares_tf.evaluation.heads.examples import Examples
from hares_tf.evaluation.protocols import Outcome, Protocol, Work
from hares_tf.evaluation.results import results
from hares_tf.evaluation.results.metrics import METRICS
from hares_tf.evaluation.tasks.preparing import PreparedTask, Selection, clip_counts, select
from hares_tf.hub import loader
from hares_tf.utils.progress import Progress


class TaskEvaluation:
    """One model on one task. Arguments as in `ModelEvaluation`, made specific to the task."""

    def __init__(
        self,
        prepared: PreparedTask,
        protocol: Protocol,
        module: loader.LocatedModule,
        fingerprint: str | None,
        interface: Interface,
        store: EmbeddingStore,
        path: Path,
        runtime: Runtime,
        open_encoder: Callable[[], handle.Encoder],
        progress: Progress,
    ):
        self.prepared, self.task = prepared, prepared.task
        self._protocol, self._module, self._fingerprint = protocol, module, fingerprint
        self._interface, self._store, self._path = interface, store, path
        self._runtime = runtime
        self.open_encoder, self._progress = open_encoder, progress
        self._plans = {
            "train": protocol.training_plan(self.task),
            "test": protocol.testing_plan(self.task),
        }
        self._key = results.result_key(
            {
                "schema": results.SCHEMA_VERSION,
                "embeddings": self._description(),
                "task": self.task.declaration(),
                "labels": prepared.manifest.labels.as_data(),
                "manifest": prepared.manifest_hash,
                "incomplete": prepared.incomplete_because,
                "protocol": [protocol.identity, protocol.options_data()],
            }
        )

    def _describe(self, windows: dict) -> dict:
        """Everything but the clip that an embedding depends on."""
        return {
            "model": self._fingerprint,
            "adapter": handle.ADAPTER_VERSION,
            "interface": self._interface.as_data(),
            "runtime": self._runtime.name,
            "precision": self._runtime.precision,
            "windows": windows,
            "preprocessing": embedding.PREPROCESSING_VERSION,
        }

    def _description(self) -> dict:
        """What the embeddings of the whole task depend on."""
        return self._describe({name: plan.as_data() for name, plan in self._plans.items()})

    def finished_before(self) -> dict | None:
        """The stored result, if it is up to date and nothing failed in it.

        Raises:
            EvaluationError: what stands in its place is no result.
        """
        stored = results.read_result(self._path)
        if stored is not None and stored["key"] == self._key:
            try:
                float(stored["score"]), dict(stored["clips"]["failures"])
            except (KeyError, TypeError, ValueError) as error:
                raise EvaluationError(
                    f"{self._path} is a damaged result ({type(error).__name__}: {error}); move it "
                    "away and run again"
                ) from error
        if stored is None or self._fingerprint is None:
            return None
        if not results.predictions_path(self._path).is_file():
            self._progress.say(f"  {self.task.id}: its predictions are gone; scoring anew")
            return None
        if stored["key"] != self._key:
            self._progress.say(f"  {self.task.id}: the stored result is out of date; scoring anew")
            return None
        if not stored["clips"]["failures"]:
            self._progress.say(
                f"  {self.task.id}: {stored['score']:.1f} (finished before: {self._path})"
            )
            return stored
        # What kept a clip from being read may have passed.
        self._progress.say(f"  {self.task.id}: clips failed in the stored result; scoring anew")
        return None

    def selections(self) -> dict[str, Selection]:
        """The clips that are embedded, by what for; one object where it is the same."""
        if not self._protocol.trains:
            test = select(
                self.prepared, self.prepared.manifest.folds or ["test"], self._plans["test"]
            )
            return {"train": test, "test": test}
        folds = self.prepared.manifest.folds
        train = ["train", "validation"] if self._protocol.uses_validation else ["train"]
        parts = {"train": None, "test": None} if folds else {"train": train, "test": ["test"]}
        if folds and self._plans["train"] == self._plans["test"]:
            both = select(self.prepared, None, self._plans["test"])
            return {"train": both, "test": both}
        return {
            name: select(self.prepared, parts[name], plan) for name, plan in self._plans.items()
        }

    def missing(
        self, selections: dict[str, Selection]
    ) -> Iterator[tuple[Plan, EmbeddingSpace, list[embedding.Item]]]:
        """What has to be embedded: for each plan its space and the items that are not there."""
        by_plan: dict[Plan, list[Selection]] = {}
        for selection in selections.values():
            by_plan.setdefault(selection.plan, []).append(selection)
        for plan, some in by_plan.items():
            if plan.stored:
                space = self._space(plan)
                yield plan, space, _missing_items(some, space)

    def _space(self, plan: Plan) -> EmbeddingSpace:
        return self._store.space(self._describe(plan.as_data()))

    def _embed(self, selections: dict[str, Selection]) -> tuple[dict[str, str], dict]:
        """Embeds what is missing; why clips failed (by clip id), and how much was embedded."""
        failures: dict[str, str] = {}
        embedded, audio_seconds = 0, 0.0
        for plan, space, items in self.missing(selections):
            if not items:
                continue
            encoder = self.open_encoder()
            with (
                self._progress.phase(self.task.id, "embedding", len(items), "clip") as bar,
                space.writer(notes={"interface": encoder.interface}) as writer,
            ):
                failed = embedding.embed_items(items, plan, encoder, writer, bar.update)
            done = [item.key for item in items if item.key not in failed]
            embedded += len(done)
            audio_seconds += sum(space.rows(done)) * plan.seconds
            clips = self.prepared.manifest.clips
            failures |= {
                clips[i].id: failed[item.key]
                for selection in selections.values()
                if failed and selection.plan == plan
                for i, item in zip(selection.clips, selection.items, strict=True)
                if item.key in failed
            }
        return failures, {"clips_embedded": embedded, "audio_seconds": round(audio_seconds, 3)}

    def run(self) -> dict:
        """Embeds, trains, scores, and writes the result."""
        selections = self.selections()
        started = time.perf_counter()
        failures, amounts = self._embed(selections)
        embedded_at = time.perf_counter()
        train, test = self._examples(selections)
        task = self.task
        self._progress.say(f"  {task.id}: training on {len(train)} examples")
        metric = METRICS[task.metric]
        outcome = self._protocol.run(task, train, test, self._work(selections, metric.function))
        labels = self.prepared.manifest.labels
        score = outcome.score
        if score is None:
            score = metric.function(outcome.scores, outcome.test.targets, labels)
        scored_labels = metric.scored_labels(outcome.test.targets, labels)
        incomplete = self._incomplete_because(failures, scored_labels)
        result = {
            "schema": results.SCHEMA_VERSION,
            "key": self._key,
            "score": score,
            "interval": self._interval(outcome),
            "complete": not incomplete,
            "incomplete_because": incomplete,
            "task": {**task.declaration(), "labels": labels.as_data(), "source": task.source},
            "protocol": {
                "name": self._protocol.name,
                "version": self._protocol.version,
                "identity": self._protocol.identity,
                "options": self._protocol.options_data(),
                **outcome.details,
            },
            "clips": {
                **clip_counts(self.prepared, failures),
                "n_used": self._clips_used(train, test),
                "n_scored": len(outcome.test),
                "n_labels_scored": scored_labels,
            },
            "model": self._model_record(selections["test"].plan, test.embeddings.shape[1]),
            "embeddings": self._description(),
            "seconds": {
                "embedding": round(embedded_at - started, 6),
                "head": round(time.perf_counter() - embedded_at, 6),
                **amounts,
            },
            "predictions": results.predictions_path(self._path).name,
            "environment": results.environment(),
        }
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
        self._announce(result)
        return result

    def _interval(self, outcome: Outcome) -> list[float]:
        """95%, in percent."""
        from hares_tf.evaluation.results.uncertainty import interval

        manifest, test = self.prepared.manifest, outcome.test
        folds = test.parts if manifest.folds else None
        return list(
            interval(outcome.scores, test.targets, manifest.labels, self.task.metric, folds=folds)
        )

    def _examples(self, selections: dict[str, Selection]) -> tuple[Examples, Examples]:
        scratch = self._store.root / "scratch"
        test = selections["test"].examples(self._space(self._plans["test"]), scratch)
        if selections["train"] is selections["test"]:
            return test, test
        if not selections["train"].plan.stored:
            return selections["train"].without_embeddings(test.embeddings.shape[1]), test
        return selections["train"].examples(self._space(self._plans["train"]), scratch), test

    def _work(self, selections: dict[str, Selection], metric) -> Work:
        train = selections["train"]
        crops = None
        if not train.plan.stored:
            crops = OnlineCrops(train, self.open_encoder())
        checkpoint = self._path.with_name(f"{self._checkpoint_stem}.head.npz")
        return Work(
            metric=metric,
            progress=self._progress,
            checkpoint=checkpoint if self._fingerprint else None,
            embed_crops=crops,
        )

    @property
    def _checkpoint_stem(self) -> str:
        """Hidden, and named by the result's key: another configuration never finds it."""
        return f".{self.task.id}-{self._key[:16]}"

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

    @staticmethod
    def _clips_used(train: Examples, test: Examples) -> int:
        return len({*train.ids.tolist(), *test.ids.tolist()})

    def _model_record(self, plan: Plan, embedding_size: int) -> dict:
        card = self._module.card or {}
        # With all embeddings in the store the model was not loaded; its first run left this.
        interface = self._space(plan).notes().get("interface", {})
        return {
            "name": self._module.name,
            "handle": self._module.handle,
            "fingerprint": self._fingerprint,
            "parameters": card.get("parameters"),
            "training": card.get("weights"),
            "embedding_size": embedding_size,
            "interface": {**self._interface.as_data(), **interface},
        }

    def _announce(self, result: dict) -> None:
        say, name, clips = self._progress.say, self.task.id, result["clips"]
        say(f"  {name}: {result['score']:.1f} ({self._path})")
        if repeated := clips["n_repeated_across_parts"]:
            say(f"  {name}: {repeated} recording(s) stand, byte for byte, in two parts")
        if not all(_values(result["protocol"].get("converged", True))):
            say(f"  {name}: the head did not converge; do not trust this score")
        for warning in result["protocol"].get("warnings", []):
            say(f"  {name}: {warning}")
        for reason in result["incomplete_because"]:
            say(f"  {name}: INCOMPLETE, {reason}")
        if failures := clips["failures"]:
            say(f"  {name}: the first that failed: {next(iter(failures.values()))}")


def _missing_items(selections: list[Selection], space: EmbeddingSpace) -> list[embedding.Item]:
    """Items that a space does not have, each key once."""
    items = {
        item.key: item
        for selection in selections
        for item in selection.items
        if item.key not in space
    }
    return list(items.values())


def _values(value) -> list:
    """A value, or the values by fold."""
    return list(value.values()) if isinstance(value, dict) else [value]
