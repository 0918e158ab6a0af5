"""What predictions show: confusions, the worst classes, differences of models on equal clips."""

import itertools
from collections.abc import Callable, Sequence

import numpy as np

from hares_tf.evaluation.errors import EvaluationError
from hares_tf.evaluation.report.comparison import Row, Table
from hares_tf.evaluation.report.content import ClassScore, Content, Detail, Paired
from hares_tf.evaluation.report.predictions import Predictions, load

MOST_CLASSES = 50  # a larger matrix cannot be read
WORST = 20
# Up to so many models every two are compared; of more, the best one with every other.
ALL_PAIRS = 4


def add(content: Content, resamples: int, seed: int, say: Callable[[str], None]) -> None:
    """Fills `content.details` and `content.paired` from the stored predictions.

    Args:
        content: what is known from the results; what cannot be read is added to its problems.
        resamples: of the paired bootstrap; 0 leaves it out.
        seed: of the paired bootstrap.
        say: is told what takes time.
    """
    for table in content.tables:
        for row in table.task_rows:
            # One task at a time: the answers of all models on all tasks may not fit the memory.
            answers = {}
            for model, cell in zip(table.models, row.cells, strict=True):
                if cell.result is None:
                    continue
                try:
                    answers[model] = load(cell.result)
                except EvaluationError as error:
                    content.problems.append(str(error))
            answers = {model: found for model, found in answers.items() if found is not None}
            for model, found in answers.items():
                content.details[model, table.suite, row.id, table.identity] = describe(found)
            if resamples and len(answers) > 1:
                say(f"{row.name}: comparing {len(answers)} models")
                content.paired += _paired(table, row, answers, resamples, seed)


def describe(found: Predictions) -> list[Detail]:
    """Confusions and worst classes of each group of labels."""
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
    """Clips by true class and answer, `[classes, classes]`."""
    flat = np.bincount(targets.astype(np.int64) * classes + answers, minlength=classes * classes)
    return flat.reshape(classes, classes)


def _classes(group: str, names: Sequence[str], matrix: np.ndarray) -> Detail:
    clips, right = matrix.sum(axis=1), np.diag(matrix)
    wrong = matrix - np.diag(right)
    scored = []
    for i in np.flatnonzero(clips):
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
    # Classes that were never trained carry -inf, which scikit-learn refuses.
    scores = np.nan_to_num(found.scores, neginf=np.finfo(np.float32).min)
    counts = positive.sum(axis=0)
    scored = [
        ClassScore(
            names[i],
            int(counts[i]),
            100 * float(average_precision_score(positive[:, i], scores[:, i])),
        )
        for i in np.flatnonzero(counts)
    ]
    scored.sort(key=lambda one: (one.score, -one.clips))
    return Detail("", (), None, tuple(scored[:WORST]), len(scored))


def _paired(table: Table, row: Row, answers: dict, resamples: int, seed: int) -> list[Paired]:
    """Differences of models whose answers are on the same clips with the same labels."""
    from hares_tf.evaluation.results.uncertainty import paired
    from hares_tf.evaluation.tasks.labels import Labels

    cells = dict(zip(table.models, row.cells, strict=True))
    names = dict(zip(table.models, table.names, strict=True))
    order = sorted(answers, key=lambda model: -cells[model].value)
    couples = list(itertools.combinations(order, 2))
    if len(order) > ALL_PAIRS:
        couples = [(order[0], other) for other in order[1:]]
    made = []
    for first, second in couples:
        a, b = answers[first], answers[second]
        results = cells[first].result, cells[second].result
        manifests = [result.clips.get("manifest_hash") for result in results]
        if results[0].comparable != results[1].comparable or not manifests[0]:
            continue
        if (a.kind, a.groups) != (b.kind, b.groups) or set(a.ids) != set(b.ids):
            continue
        one, other = np.argsort(a.ids, kind="stable"), np.argsort(b.ids, kind="stable")
        if len(a.ids) != len(b.ids) or not np.array_equal(a.targets[one], b.targets[other]):
            continue
        # Names were cleaned for people and need not be distinct any more; only their number counts.
        groups = tuple(
            (str(i), tuple(map(str, range(len(g))))) for i, (_, g) in enumerate(a.groups)
        )
        found = paired(
            a.scores[one],
            b.scores[other],
            a.targets[one],
            Labels(a.kind, groups),
            results[0].metric,
            resamples,
            seed,
        )
        numbers = (float(found[key]) for key in ("difference", "low", "high"))
        made.append(Paired(table.identity, row.name, names[first], names[second], *numbers))
    return made
