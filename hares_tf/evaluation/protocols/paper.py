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

from hares_tf.evaluation.embeddings.windows import Plan, testing_plan
from hares_tf.evaluation.errors import EvaluationError
from hares_tf.evaluation.heads.examples import Examples
from hares_tf.evaluation.protocols import svm
from hares_tf.evaluation.protocols.base import Outcome, Protocol, Work, has_folds, over_folds
from hares_tf.evaluation.protocols.descent import descend
from hares_tf.evaluation.tasks.declaration import Task

# Appendix A, ESC-50: "10 epochs worth of augmented samples".
SVM_EPOCHS = 10
# Distance of the windows of `views="grid"`.
GRID_SECONDS = 0.25


class Paper(Protocol):
    """See the module."""

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
        changed = {"K": views} if isinstance(views, int) else {"views": views}
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
        seconds, views = task.windows.seconds, self.options.views
        if task.head == "svm":
            if self.options.augmentation == "none":
                return testing_plan(task.windows)
            return Plan("crops", seconds, SVM_EPOCHS, mixing=True)
        if task.windows.train == "whole":
            return testing_plan(task.windows)
        if views == "grid":
            if task.mixing:
                raise EvaluationError(
                    f"--views=grid and the mixed examples of {task.id} do not go together; give a "
                    "number of views."
                )
            return Plan("grid", seconds, hop_seconds=GRID_SECONDS)
        if views == "online":
            return Plan("online", seconds, mixing=task.mixing)
        return Plan("crops", seconds, views, mixing=task.mixing)

    def run(self, task: Task, train: Examples, test: Examples, work: Work) -> Outcome:
        if task.head == "svm":
            outcome = svm.published(train, test, self.clip_scores, work, task.id)
            honest = svm.nested(test, test, self.clip_scores, work, task.id)
            outcome.details["nested"] = {
                "score": honest.score,
                "c": honest.details["c"],
                "trained_on": "clips without augmentation",
            }
            return outcome

        def split(train: Examples, test: Examples, fold: str = "") -> Outcome:
            return descend(task, self.options, train, test, self.clip_scores, work, fold)

        if has_folds(test):
            return over_folds(train, test, split, work.metric)
        return split(train, test)
