"""One model on several tasks: the order of work of an evaluation."""

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from hares_tf.evaluation.embeddings import preview
from hares_tf.evaluation.embeddings.store import EmbeddingStore
from hares_tf.evaluation.encoders import handle
from hares_tf.evaluation.encoders.interface import Interface
from hares_tf.evaluation.encoders.runtime import DEFAULT, OPENVINO, Runtime
from hares_tf.evaluation.protocols import NativeHead, Protocol
from hares_tf.evaluation.results import results
from hares_tf.evaluation.task_evaluation import TaskEvaluation
from hares_tf.evaluation.tasks.preparing import PreparedTask
from hares_tf.hub import loader
from hares_tf.runtimes.errors import ConversionError
from hares_tf.utils.files import DigestCache
from hares_tf.utils.progress import Progress


class ModelEvaluation:
    """Scores one model; it is loaded when its first embedding is missing.

    Args:
        module: the model, located.
        digest_cache: digests of files known from before.
        protocol: how heads are trained.
        output: results folder.
        store: folder of the embedding store.
        flags: what flags say of the model's interface.
        native_head: see `evaluate`.
        runtime: what computes the embeddings; TensorFlow where it does not take the model.
        progress: takes messages and the progress of phases.
    """

    def __init__(
        self,
        module: loader.LocatedModule,
        digest_cache: DigestCache,
        protocol: Protocol,
        output: Path,
        store: Path,
        flags: Interface,
        native_head: str | None,
        runtime: Runtime,
        progress: Progress,
    ):
        self._module = module
        self._interface, self._interface_source = handle.stated_interface(module, flags)
        self._flags = {k: v for k, v in flags.as_data().items() if v is not None}
        self._fingerprint = module.content_hash(digest_cache)
        if self._fingerprint is None:
            # A function that does not say when it changes: nothing of it may be reused.
            self._scratch = tempfile.TemporaryDirectory()
            store = Path(self._scratch.name)
        self._protocol = protocol
        self._output = output
        self._store = EmbeddingStore(store)
        self._native_head = native_head
        self._runtime = runtime.of(module)
        if runtime.name == OPENVINO != self._runtime.name:
            progress.say(f"{module.name} is a function: it runs as it is, without OpenVINO")
        self._progress = progress
        self._encoders: dict[Interface, handle.Encoder] = {}

    def run(self, prepared: list[PreparedTask]) -> list[dict]:
        """The results of all tasks, in order."""
        known = self._fingerprint[:12] if self._fingerprint else "no fingerprint: nothing is reused"
        self._progress.say(f"{self._module.name} ({self._module.handle}, {known})")
        evaluations, finished, waiting = self._progress_so_far(prepared)
        if self._falls_back(waiting):
            evaluations, finished, waiting = self._progress_so_far(prepared)
        if waiting:
            preview.announce(waiting, self._progress)
        return [finished[one.task.id] or one.run() for one in evaluations]

    def _progress_so_far(
        self, prepared: list[PreparedTask]
    ) -> tuple[list[TaskEvaluation], dict, list[TaskEvaluation]]:
        """All tasks, what is stored of each (by id), and those that wait to be scored."""
        evaluations = [self._task_evaluation(task) for task in prepared]
        finished = {one.task.id: one.finished_before() for one in evaluations}
        return evaluations, finished, [one for one in evaluations if finished[one.task.id] is None]

    def _falls_back(self, evaluations: Sequence[TaskEvaluation]) -> bool:
        """Whether the runtime does not take the model; from then on TensorFlow computes.

        Asked before anything is embedded: what is computed by TensorFlow is stored as that.
        """
        if self._runtime.name != OPENVINO:
            return False
        try:
            for one in evaluations:
                one.open_encoder()
        except ConversionError as error:
            self._progress.say(f"  {error}; TensorFlow computes instead")
            self._runtime = DEFAULT
            self._encoders.clear()
            return True
        return False

    def embed(
        self,
        prepared: list[PreparedTask],
        runner: str = "local",
        workers: int | None = None,
        beam_options: Sequence[str] = (),
    ) -> dict[str, dict[str, str]]:
        """Only the embedding phase, in several processes (see `distributed.embed`).

        Returns:
            Why clips failed, by task and clip id.
        """
        from hares_tf.evaluation.embeddings import distributed

        evaluations = [self._task_evaluation(task) for task in prepared]
        if self._falls_back(evaluations):
            evaluations = [self._task_evaluation(task) for task in prepared]
        return distributed.embed(
            self._module,
            evaluations,
            runner=runner,
            workers=workers,
            beam_options=beam_options,
            progress=self._progress,
        )

    def _task_evaluation(self, prepared: PreparedTask) -> TaskEvaluation:
        interface, protocol, name = self._interface, self._protocol, prepared.task.id
        if self._native_head is not None and prepared.task.native_head:
            if self._module.kind != "python":  # a function has one output, whatever its name
                interface = replace(interface, output_key=self._native_head)
            protocol = NativeHead(protocol, self._native_head)
            name += "-native_head"  # beside the score of a trained head
        return TaskEvaluation(
            prepared,
            protocol,
            self._module,
            self._fingerprint,
            interface,
            self._store,
            results.result_path(
                self._output,
                protocol.folder,
                self._module.name,
                self._module.handle,
                self._fingerprint,
                {**self._flags, **self._runtime.as_flags()},
                name,
            ),
            self._runtime,
            partial(self._open_encoder, interface),
            self._progress,
        )

    def _open_encoder(self, interface: Interface) -> handle.Encoder:
        if interface not in self._encoders:
            encoder = handle.open_encoder(self._module, interface, self._runtime)
            self._encoders[interface] = encoder
            words = handle.in_words(encoder.interface)
            self._progress.say(f"  {words} ({self._interface_source})")
        return self._encoders[interface]
