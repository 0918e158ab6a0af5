"""The linear SVM head."""

import warnings

import numpy as np


class LinearSVM:
    """One-against-rest linear support vector machines (squared hinge), as the paper's ESC-50 head.

    Args:
        embeddings: standardized `[rows, dim]`.
        labels: `[rows]` class numbers below `n_classes`.
        n_classes: columns of the logits; a class without rows gets minus infinity.
        c: the regularization parameter of scikit-learn's LinearSVC.
    """

    def __init__(self, embeddings: np.ndarray, labels: np.ndarray, n_classes: int, c: float):
        from sklearn.svm import LinearSVC

        self._n_classes = n_classes
        self._model = LinearSVC(C=c, dual="auto", random_state=0, max_iter=20_000)
        with warnings.catch_warnings():
            # With few clips per class scikit-learn takes class numbers for measurements.
            warnings.filterwarnings("ignore", "The number of unique classes")
            self._model.fit(embeddings, labels)

    def logits(self, embeddings: np.ndarray) -> np.ndarray:
        """Returns the decision values, `[rows, classes]`."""
        return _class_columns(self._model, embeddings, self._n_classes)


def _class_columns(model, embeddings: np.ndarray, n_classes: int) -> np.ndarray:
    """Returns decision values with one column for every class of the task.

    scikit-learn gives one column for two classes, and none for classes it never saw (all their
    training clips were unreadable).
    """
    decision = model.decision_function(embeddings)
    if decision.ndim == 1:
        decision = np.stack([-decision, decision], axis=1)
    columns = np.full((len(decision), n_classes), -np.inf, decision.dtype)
    columns[:, model.classes_] = decision
    return columns
