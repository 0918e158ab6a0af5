"""`paper/1`: heads trained as Appendix A of the paper does, on cached embeddings.

* linear, mlp (AudioSet: one hidden layer of 512): Adam, the learning rate rising from 0 to 2e-4 in
  5k steps and falling to 0 along a cosine; 400k steps of 64 clips, unless the task says otherwise.
  Validation clips are ignored. AudioSet trains on mixed examples with soft labels.
* svm (ESC-50): scikit-learn's linear SVM on ten epochs of augmented clips; C is the published
  sweep's, chosen on the first fold, and the nested choice's figure stands beside it.

The paper draws a new random crop at every step. Here every training clip has K crops, drawn and
embedded once, and a step draws one of them: `paper(K=4)`. It is exact where clips are one window
long. `views="online"` embeds every crop anew, as the paper did.

Not stated by the paper, hence options with defaults: what is averaged over windows (logits),
ESC-50's augmentation (mixing), whether features are scaled for Adam (not).
"""

from hares_tf.evaluation.embeddings.windows import Plan
from hares_tf.evaluation.heads.examples import Examples
from hares_tf.evaluation.protocols.base import Outcome, Protocol, Work
from hares_tf.evaluation.protocols.heads import HEADS
from hares_tf.evaluation.tasks.declaration import Task


class Paper(Protocol):
    """The protocol `paper`, see the module."""

    name = "paper"
    version = 1
    uses_validation = False

    @property
    def identity(self) -> str:
        options = ",".join(f"{k}={v}" for k, v in self.changed_options().items())
        return f"{self.name}({options})/{self.version}"

    def changed_options(self) -> dict:
        options = self.options
        views = options.views
        changed: dict[str, int | str] = {"K" if isinstance(views, int) else "views": views}
        if options.augmentation != "mixing":
            changed["augmentation"] = options.augmentation
        if options.standardize:
            changed["standardize"] = "yes"
        if options.steps is not None:
            changed["steps"] = options.steps
        return {**changed, **super().changed_options()}

    def options_data(self) -> dict:
        return {
            "views": self.options.views,
            "seeds": self.options.seeds,
            "average": self.options.average,
            "augmentation": self.options.augmentation,
            "standardize": self.options.standardize,
            "steps": self.options.steps,
        }

    def training_plan(self, task: Task) -> Plan:
        return HEADS[task.head].paper_plan(task, self.options)

    def run(self, task: Task, train: Examples, test: Examples, work: Work) -> Outcome:
        return HEADS[task.head].paper(self, task, train, test, work)
