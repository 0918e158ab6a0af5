"""`fast/2`: convex heads with a regularization that is chosen on validation clips.

Everything is trained on the windows of testing, standardized with the fitted clips' mean and
deviation. What is chosen is chosen on the validation split (where there is none: on every fifth
training clip per label, by SHA-1 of its id), ties to the more regularized; then the head is fitted
again on training and validation clips together. Nothing is chosen on test clips.

* linear: logistic regression (multinomial per slot, binary per tag) by L-BFGS: summed
  cross-entropy + |W|^2 / 2C, bias free, C from 1e-4 to 10 by decades. Above 50,000 training windows
  every n-th clip per label is searched first, until two in a row are worse than the best; on all
  clips the search begins two decades below the best C there and ends after one C that is worse,
  with fits that are solved to 1e-5. The last fit starts from the chosen head.
* svm: C from the paper's list (Appendix A, ESC-50) inside the training folds of each test fold.
* mlp: the paper's AudioSet head, one hidden layer of 512. It is not convex, so here it is Adam with
  a cosine schedule over a fixed number of epochs, and what is chosen is the weight decay.
"""

from hares_tf.evaluation.heads.examples import Examples
from hares_tf.evaluation.protocols.base import Outcome, Protocol, Work
from hares_tf.evaluation.protocols.heads import HEADS
from hares_tf.evaluation.tasks.declaration import Task


class Fast(Protocol):
    """The protocol `fast`, see the module."""

    name = "fast"
    version = 2

    def run(self, task: Task, train: Examples, test: Examples, work: Work) -> Outcome:
        return HEADS[task.head].fast(self, task, train, test, work)
