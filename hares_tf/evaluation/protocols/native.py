"""`native_head`: a model that brings its own AudioSet classifier is scored by it.

The paper does so for its supervised rows: "for supervised classification, we do not perform a
second stage of fine-tuning" (Appendix A). Nothing is trained; the windows' scores are averaged as
always, and the result keeps the identity of the protocol that the other tasks are scored with.
"""

from hares_tf.evaluation.embeddings.windows import Plan
from hares_tf.evaluation.errors import EvaluationError
from hares_tf.evaluation.heads.examples import Examples
from hares_tf.evaluation.protocols.base import Outcome, Protocol, Work
from hares_tf.evaluation.tasks.declaration import Task


class NativeHead(Protocol):
    """Stands in for another protocol on one task.

    Args:
        protocol: whose name and options the result carries.
        output: the module's output that holds its scores.
    """

    def __init__(self, protocol: Protocol, output: str):
        super().__init__(protocol.options)
        self._output = output
        self.name, self.version, self.trains = protocol.name, protocol.version, False
        self._protocol = protocol

    @property
    def identity(self) -> str:
        return self._protocol.identity

    @property
    def folder(self) -> str:
        return self._protocol.folder

    def options_data(self) -> dict:
        return {**self._protocol.options_data(), "native_head": self._output}

    def training_plan(self, task: Task) -> Plan:
        return self.testing_plan(task)

    def run(self, task: Task, train: Examples, test: Examples, work: Work) -> Outcome:
        if test.embeddings.shape[1] != test.labels.width:
            raise EvaluationError(
                f"{task.id}: --native_head names an output with {test.embeddings.shape[1]} "
                f"numbers; its own classifier must give the {test.labels.width} classes of the "
                "task, in the task's order."
            )
        scores = self.clip_scores(test.embeddings, test)
        return Outcome(scores, test, {"native_head": self._output})
