"""What may stand beside what: results in tables of one protocol identity and suite each.

A table has the paper's layout: tasks down, grouped by domain in the order of Table 1, models
across. An average appears only where the paper's rule allows one; where not, its place says why.
"""

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from hares_tf.evaluation import published
from hares_tf.evaluation.encoders.runtime import OPENVINO
from hares_tf.evaluation.published import DOMAIN_TASKS, TASKS, PublishedRow
from hares_tf.evaluation.report.reading import SUITES, Result, text

SUITE_TITLES = {
    "hares": "The twelve tasks of HARES",
    "variant": "Variants: other splits or releases of the data sets",
    "mini": "Mini: synthetic recordings",
    "user": "Own tasks",
}
SUITE_NOTES = {
    "hares": "",
    "variant": "Variants never enter a HARES total, and the paper has no scores for them.",
    "mini": "Synthetic tasks show that the path works. They say nothing about real recordings, "
    "never enter a HARES total, and the paper has no scores for them.",
    "user": "Tasks of your own never enter a HARES total, and the paper has no scores for them.",
}
AVERAGE_NAMES = {
    "environment": "Environment average",
    "speech": "Speech average",
    "music": "Music average",
    "hares": "HARES total",
}
METRIC_NAMES = {
    "accuracy": "accuracy",
    "exact_match": "exact match",
    "mean_average_precision": "mAP",
}
OBJECTIVE_NAMES = {
    "classification": "supervised",
    "simclr": "SimCLR",
    "byol_a": "BYOL-A",
    "cpc": "CPC",
    "wav2vec2": "Wav2Vec2.0",
}


@dataclass(frozen=True)
class Cell:
    """One place of a table.

    Attributes:
        value: percent, or None for a dash.
        interval: (low, high) of 95%, or None.
        best: whether no comparable complete score of the row is higher (to 0.1, as printed).
        complete: whether all clips took part.
        reasons: why the value is absent or incomplete.
        result: what it comes from, None for averages and published scores.
    """

    value: float | None
    interval: tuple[float, float] | None = None
    best: bool = False
    complete: bool = True
    reasons: tuple[str, ...] = ()
    result: Result | None = None


@dataclass(frozen=True)
class Row:
    """A task or an average.

    Attributes:
        kind: "task", "average" or "total".
        id: of the task or average.
        name: for people.
        domain: "environment", "speech", "music", or "" for the total.
        metric: for people; "" for averages.
        cells: one per model of the table.
        published: the paper's value per column of the table, None where it has none.
        reasons: why no best is marked although several models have a score.
    """

    kind: str
    id: str
    name: str
    domain: str
    metric: str
    cells: tuple[Cell, ...]
    published: tuple[float | None, ...]
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True)
class Table:
    """Results of one protocol identity and suite.

    Attributes:
        identity: of the protocol.
        suite: one of `reading.SUITES`.
        models: keys of the models, one per column.
        names: names of the models, distinct.
        series: number of each model in the whole report: it has one color in all figures.
        paper: the published rows that stand beside them; only for the suite hares.
        rows: in the order of Table 1; of other suites by domain and id.
    """

    identity: str
    suite: str
    models: tuple[str, ...]
    names: tuple[str, ...]
    series: tuple[int, ...]
    paper: tuple[PublishedRow, ...]
    rows: tuple[Row, ...]

    @property
    def task_rows(self) -> list[Row]:
        """The rows of tasks that some model has a score on."""
        return [
            row
            for row in self.rows
            if row.kind == "task" and any(cell.result is not None for cell in row.cells)
        ]

    def average(self, name: str) -> Row | None:
        """The row of an average, None where the suite has none."""
        return next((row for row in self.rows if row.kind != "task" and row.id == name), None)


def tables(results: Sequence[Result], paper: Sequence[PublishedRow] = ()) -> list[Table]:
    """The tables of a report: identities by name, those with real tasks first; in each the suites.

    Args:
        results: no two of one model, suite, task and identity.
        paper: published rows to stand beside the twelve tasks.
    """
    names = model_names(results)
    made = []
    real = {result.identity for result in results if result.suite == "hares"}
    for identity in sorted({r.identity for r in results}, key=lambda i: (i not in real, i)):
        for suite in SUITES:
            some = [r for r in results if r.identity == identity and r.suite == suite]
            if some:
                made.append(_table(identity, suite, some, names, paper))
    return made


def model_names(results: Iterable[Result]) -> dict[str, str]:
    """A distinct name for each model (by key), in order of appearance."""
    first: dict[str, Result] = {}
    for result in results:
        first.setdefault(result.model, result)
    names: dict[str, str] = {}
    for key, result in first.items():
        own = _own_name(result)
        twins = [other for other, r in first.items() if _own_name(r) == own]
        mark = str(result.section("model").get("fingerprint") or "")[:6]
        name = f"{own} ({mark})" if len(twins) > 1 and mark else own
        number = 2
        while name in names.values():
            name = f"{own} #{number}"
            number += 1
        names[key] = name
    return names


def _own_name(result: Result) -> str:
    """The model's name, and what computed it if that was not TensorFlow."""
    made = result.section("embeddings")
    if made.get("runtime") != OPENVINO:
        return result.name
    return f"{result.name} (OpenVINO {text(made.get('precision'), 20)})"


def paper_rows(numbers: Iterable[int]) -> list[PublishedRow]:
    """Rows of the paper's tables without repetition: what one table printed, another need not.

    Raises:
        EvaluationError: there are no scores in a table of that number.
    """
    kept: dict[tuple, PublishedRow] = {}
    for table_number in numbers:
        for row in published.rows(table_number):
            key = (row.model, row.objective, row.training_data, row.source)
            kept.setdefault(key, row)
    return list(kept.values())


def paper_names(rows: Sequence[PublishedRow]) -> list[str]:
    """Short distinct names: the paper's "(ours)" would mean somebody else here."""
    names = []
    for row in rows:
        name = row.name.replace(" (ours)", "").replace("(ours, LS)", "(LS)")
        names.append(name if row.source == "ours" else f"{name} {row.source.split()[0]}")
    return [
        f"{name} {OBJECTIVE_NAMES[row.objective]}" if names.count(name) > 1 else name
        for name, row in zip(names, rows, strict=True)
    ]


def _table(identity, suite, results, names, paper) -> Table:
    models = tuple(key for key in names if any(r.model == key for r in results))
    found = {(result.model, result.task): result for result in results}
    paper = tuple(paper) if suite == "hares" else ()
    if suite == "hares":
        rows = _hares_rows(models, found, paper)
    else:
        order = list(DOMAIN_TASKS)
        first = {result.task: result for result in reversed(results)}
        rows = [
            _task_row(task, task, first[task].domain, first[task].metric, models, found, ())
            for task in sorted(first, key=lambda t: (order.index(first[t].domain), _place(t), t))
        ]
    return Table(
        identity,
        suite,
        models,
        names=tuple(names[key] for key in models),
        series=tuple(list(names).index(key) for key in models),
        paper=paper,
        rows=tuple(rows),
    )


def _place(task: str) -> int:
    """The place in Table 1 of the task that a variant or miniature is named after; else the end."""
    known = [i for i, name in enumerate(TASKS) if task.removeprefix("mini_").startswith(name)]
    return known[0] if known else len(TASKS)


def _hares_rows(models, found, paper) -> list[Row]:
    rows = []
    for domain, ids in DOMAIN_TASKS.items():
        for task in ids:
            metric = next((found[m, task].metric for m in models if (m, task) in found), None)
            if metric is None:
                metric = "exact_match" if task == "fluent_speech_commands" else TASKS[task].metric
            numbers = tuple(row.scores[task] for row in paper)
            rows.append(_task_row(task, TASKS[task].name, domain, metric, models, found, numbers))
        rows.append(_average_row("average", domain, domain, ids, models, found, paper))
    rows.append(_average_row("total", "hares", "", tuple(TASKS), models, found, paper))
    return rows


def _task_row(task, name, domain, metric, models, found, numbers) -> Row:
    results = [found.get((model, task)) for model in models]
    ranked = [result for result in results if result is not None and result.complete]
    alike = len({result.comparable for result in ranked}) <= 1
    top = max((_printed(r.score) for r in ranked), default=None) if alike else None
    cells = tuple(
        Cell(None, reasons=("this task was not run",))
        if result is None
        else Cell(
            result.score,
            result.interval,
            best=len(ranked) > 1 and result.complete and _printed(result.score) == top,
            complete=result.complete,
            reasons=tuple(f"incomplete: {reason}" for reason in result.reasons),
            result=result,
        )
        for result in results
    )
    reasons = () if alike else ("not ranked: the models were tested on different clips or heads",)
    metric = METRIC_NAMES.get(metric, metric)
    return Row("task", task, name, domain, metric, cells, numbers, reasons)


def _average_row(kind, name, domain, ids, models, found, paper) -> Row:
    cells = [_average(model, ids, found) for model in models]
    values = [_printed(cell.value) for cell in cells if cell.value is not None]
    # Means are ranked only where every task of theirs could be.
    alike = all(
        len({r.comparable for m in models if (r := found.get((m, task))) and r.complete}) <= 1
        for task in ids
    )
    cells = [
        Cell(
            cell.value,
            best=alike and len(values) > 1 and _printed(cell.value) == max(values),
            reasons=cell.reasons,
        )
        for cell in cells
    ]
    numbers = tuple(row.averages[name] for row in paper)
    return Row(kind, name, AVERAGE_NAMES[name], domain, "", tuple(cells), numbers)


def _average(model: str, ids: Sequence[str], found: dict) -> Cell:
    absent = [TASKS[task].name for task in ids if (model, task) not in found]
    partial = [
        TASKS[task].name
        for task in ids
        if (model, task) in found and not found[model, task].complete
    ]
    reasons = []
    if absent:
        reasons.append(f"no average: {_some(absent, len(ids))} not run")
    if partial:
        reasons.append(f"no average: {_some(partial, len(ids))} incomplete")
    if reasons:
        return Cell(None, reasons=tuple(reasons))
    return Cell(statistics.fmean(found[model, task].score for task in ids))


def _some(names: list[str], of: int) -> str:
    if len(names) == of:
        return "all of its tasks are"
    listed = ", ".join(names)
    return f"{listed} {'is' if len(names) == 1 else 'are'}"


def _printed(value: float | None) -> float | None:
    return None if value is None else round(value, 1)


class Footnotes:
    """Numbers for reasons; equal reasons share a number."""

    def __init__(self):
        self.texts: list[str] = []

    def marks(self, reasons: Iterable[str]) -> list[int]:
        """The numbers of reasons, ascending; new ones are added."""
        numbers = []
        for reason in reasons:
            if reason not in self.texts:
                self.texts.append(reason)
            numbers.append(self.texts.index(reason) + 1)
        return sorted(numbers)
