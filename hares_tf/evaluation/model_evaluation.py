"""Evaluation of a model on several tasks."""

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from hares_tf.evaluation.embeddings import preview
from hares_tf.evaluation.embeddings.store import EmbeddingStore
from hares_tf.evaluation.encoders.encoder import Encoder
from hares_tf.evaluation.encoders.handle import open_encoder, stated_interface
from hares_tf.evaluation.encoders.interface import Interface
from hares_tf.evaluation.encoders.runtime import DEFAULT, OPENVINO
from hares_tf.evaluation.evaluated_model import EvaluatedModel
from hares_tf.evaluation.protocols import NativeHead
from hares_tf.evaluation.results.results import TaskResult, model_folder
from hares_tf.evaluation.settings import EvaluationSettings
from hares_tf.evaluation.task_evaluation import TaskEvaluation
from hares_tf.evaluation.tasks.preparing import PreparedTask
from hares_tf.hub import loader
from hares_tf.jobs import Runner
from hares_tf.runtimes.errors import ConversionError
from hares_tf.utils.errors import reason
from hares_tf.utils.files import DigestCache
from hares_tf.utils.progress import Progress


class ModelEvaluation:
    """Scores one model on several tasks; loads it when its first embedding is missing.

    Args:
        module: the model, located.
        settings: how it is evaluated.
        digest_cache: digests of files known from before.
        progress: takes messages and the progress of phases.
    """

    def __init__(
        self,
        module: loader.LocatedModule,
        settings: EvaluationSettings,
        digest_cache: DigestCache,
        progress: Progress,
    ):
        self._module, self._settings, self._progress = module, settings, progress
        self._interface, self._interface_source = stated_interface(module, settings.interface)
        self._protocol = settings.make_protocol()
        self._fingerprint = module.content_hash(digest_cache)
        store = settings.store_folder
        if self._fingerprint is None:
            # Changes of the function cannot be noticed, so its embeddings are not reused.
            self._scratch = tempfile.TemporaryDirectory()
            store = Path(self._scratch.name)
        self._store = EmbeddingStore(store)
        self._runtime = settings.runtime.of(module)
        if settings.runtime.name == OPENVINO != self._runtime.name:
            progress.say(f"{module.name} is a function: it runs as it is, without OpenVINO.")
        self._encoders: dict[Interface, Encoder] = {}

    @property
    def handle(self) -> str:
        """The handle of the model, as the user gave it."""
        return self._module.handle

    def run(self, prepared: Sequence[PreparedTask]) -> list[TaskResult]:
        """Returns the results of all tasks, in order."""
        content = "no fingerprint: nothing is reused"
        if self._fingerprint is not None:
            content = self._fingerprint[:12]
        self._progress.say(f"{self._module.name} ({self._module.handle}, {content})")
        evaluations, finished = self._look_up(prepared)
        if self._falls_back(_unfinished(evaluations, finished)):
            evaluations, finished = self._look_up(prepared)
        if waiting := _unfinished(evaluations, finished):
            preview.announce(waiting, self._progress)
        return [finished[task.task.id] or task.run() for task in evaluations]

    def embed(self, prepared: Sequence[PreparedTask], runner: Runner) -> dict[str, dict[str, str]]:
        """Runs the embedding phase only, in several processes (see `distributed.embed`).

        Returns:
            Why clips could not be read, by task and clip id.
        """
        from hares_tf.evaluation.embeddings import distributed

        evaluations = self._task_evaluations(prepared)
        if self._falls_back(evaluations):
            evaluations = self._task_evaluations(prepared)
        return distributed.embed(self._module, evaluations, runner, self._progress)

    def _look_up(
        self, prepared: Sequence[PreparedTask]
    ) -> tuple[list[TaskEvaluation], dict[str, TaskResult | None]]:
        """Returns all tasks, and the stored result of each (None: it waits to be scored)."""
        evaluations = self._task_evaluations(prepared)
        return evaluations, {task.task.id: task.finished_before() for task in evaluations}

    def _falls_back(self, evaluations: Sequence[TaskEvaluation]) -> bool:
        """Returns whether the runtime does not take the model; then TensorFlow computes.

        Decided before anything is embedded, because what TensorFlow computes is stored as such.
        """
        if self._runtime.name != OPENVINO:
            return False
        try:
            for task in evaluations:
                task.model.open_encoder()
        except ConversionError as error:
            self._progress.say(f"  {reason(error, 500)}; TensorFlow computes instead.")
            self._runtime = DEFAULT
            self._encoders.clear()
            return True
        return False

    def _task_evaluations(self, prepared: Sequence[PreparedTask]) -> list[TaskEvaluation]:
        return [self._task_evaluation(task) for task in prepared]

    def _task_evaluation(self, prepared: PreparedTask) -> TaskEvaluation:
        interface, protocol, name = self._interface, self._protocol, prepared.task.id
        output_key = self._settings.native_head
        if output_key is not None and prepared.task.native_head:
            if self._module.kind != "python":  # a function has one output, whatever its name
                interface = replace(interface, output_key=output_key)
            protocol = NativeHead(protocol, output_key)
            name += "-native_head"  # beside the score of a trained head
        model = EvaluatedModel(
            self._module,
            self._fingerprint,
            interface,
            self._runtime,
            self._store,
            partial(self._open_encoder, interface),
        )
        folder = Path(self._settings.output, protocol.folder, self._model_folder())
        return TaskEvaluation(prepared, protocol, model, folder / f"{name}.json", self._progress)

    def _model_folder(self) -> str:
        stated = self._settings.interface.as_data()
        flags = {key: value for key, value in stated.items() if value is not None}
        return model_folder(
            self._module.name,
            self._module.handle,
            self._fingerprint,
            {**flags, **self._runtime.as_flags()},
        )

    def _open_encoder(self, interface: Interface) -> Encoder:
        if interface not in self._encoders:
            encoder = open_encoder(self._module, interface, self._runtime)
            self._encoders[interface] = encoder
            self._progress.say(f"  {encoder.description} ({self._interface_source})")
        return self._encoders[interface]


def _unfinished(
    evaluations: Sequence[TaskEvaluation], finished: dict[str, TaskResult | None]
) -> list[TaskEvaluation]:
    return [task for task in evaluations if finished[task.task.id] is None]
