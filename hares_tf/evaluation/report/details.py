"""Details from predictions: confusions, worst classes, differences of models on equal clips."""

from collections.abc import Callable, Sequence

import numpy as np

from hares_tf.evaluation.errors import EvaluationError
from hares_tf.evaluation.report.content import ClassScore, Content, Detail
from hares_tf.evaluation.report.differences import Answers, model_differences
from hares_tf.evaluation.report.predictions import Predictions, load

MOST_CLASSES = 50  # a larger matrix cannot be read
WORST = 20


def add(content: Content, resamples: int, seed: int, say: Callable[[str], None]) -> None:
    """Fills `content.details` and `content.differences` from the stored predictions.

    Args:
        content: the content so far; files that cannot be read are added to its problems.
        resamples: of the paired bootstrap; 0 leaves it out.
        seed: of the paired bootstrap.
        say: called with a sentence about each step that takes time.
    """
    for table in content.tables:
        for row in table.task_rows:
            # One task at a time, because all predictions together may not fit the memory.
            answers: list[Answers] = []
            for model, cell in zip(table.models, row.cells, strict=True):
                if cell.result is None:
                    continue
                try:
                    found = load(cell.result)
                except EvaluationError as error:
                    content.problems.append(str(error))
                    continue
                if found is not None:
                    answers.append(Answers(cell.result, found))
                    content.details[model, table.suite, row.id, table.identity] = describe(found)
            if resamples and len(answers) > 1:
                say(f"{row.name}: comparing {len(answers)} models")
                try:
                    pairs = model_differences(answers, resamples, seed)
                except EvaluationError as error:
                    content.problems.append(f"{row.name}: The models are not compared ({error})")
                    continue
                content.differences[table.suite, row.id, table.identity] = pairs


def describe(found: Predictions) -> list[Detail]:
    """Returns confusions and worst classes of each group of labels."""
    if found.kind == "tags":
        return [_tags(found)]
    details, start = [], 0
    for column, (group, names) in enumerate(found.groups):
        answers = np.argmax(found.scores[:, start : start + len(names)], axis=1)
        start += len(names)
        matrix = confusion(found.targets[:, column], answers, len(names))
        details.append(_classes(group if len(found.groups) > 1 else "", names, matrix))
    return details


def confusion(targets: np.ndarray, answers: np.ndarray, classes: int) -> np.ndarray:
    """Returns the confusion matrix `[classes, classes]`, true classes down."""
    flat = np.bincount(targets.astype(np.int64) * classes + answers, minlength=classes * classes)
    return flat.reshape(classes, classes)


def _classes(group: str, names: Sequence[str], matrix: np.ndarray) -> Detail:
    clips, right = matrix.sum(axis=1), np.diag(matrix)
    wrong = matrix - np.diag(right)
    scored = []
    for i in np.flatnonzero(clips).tolist():
        j = int(np.argmax(wrong[i]))
        mistaken, times = (names[j], int(wrong[i, j])) if wrong[i, j] else ("", 0)
        scored.append(
            ClassScore(names[i], int(clips[i]), 100 * float(right[i] / clips[i]), mistaken, times)
        )
    scored.sort(key=lambda one: (one.score, -one.clips))
    order = np.argsort(-wrong, axis=None, kind="stable")[:WORST]
    pairs = [divmod(int(place), len(names)) for place in order]
    return Detail(
        group=group,
        names=tuple(names),
        matrix=matrix.tolist() if len(names) <= MOST_CLASSES else None,
        classes=tuple(scored[:WORST]),
        n_classes=len(scored),
        pairs=tuple((names[i], names[j], int(wrong[i, j])) for i, j in pairs if wrong[i, j]),
    )


def _tags(found: Predictions) -> Detail:
    from sklearn.metrics import average_precision_score

    ((_, names),) = found.groups
    positive = found.targets > 0.5
    # Classes that were never trained have -inf, which scikit-learn refuses.
    scores = np.nan_to_num(found.scores, neginf=float(np.finfo(np.float32).min))
    counts = positive.sum(axis=0)
    scored = [
        ClassScore(
            names[i],
            int(counts[i]),
            100 * float(average_precision_score(positive[:, i], scores[:, i])),
        )
        for i in np.flatnonzero(counts).tolist()
    ]
    scored.sort(key=lambda one: (one.score, -one.clips))
    return Detail("", (), None, tuple(scored[:WORST]), len(scored))
