"""Comparison of results: one table per protocol identity and suite.

A table has the paper's layout: tasks down, grouped by domain in the order of Table 1, models
across. An average is shown only where every task of it is complete; otherwise its cell says why.
"""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace

from hares_tf.evaluation.published import DOMAIN_TASKS, TASKS, PublishedRow
from hares_tf.evaluation.report.names import model_names
from hares_tf.evaluation.report.reading import SUITES, Result
from hares_tf.evaluation.results.intervals import mean_interval

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


@dataclass(frozen=True)
class Cell:
    """One score of a table."""

    value: float | None  # percent
    interval: tuple[float, float] | None = None  # 95%, percent
    best: bool = False  # no comparable complete score of the row is higher, rounded to 0.1
    complete: bool = True  # all clips took part
    reasons: tuple[str, ...] = ()  # why the value is absent or incomplete
    result: Result | None = None  # None for averages


@dataclass(frozen=True)
class Row:
    """A task or an average."""

    kind: str  # "task", "average" or "total"
    id: str
    name: str  # as shown
    domain: str  # "" for the total
    metric: str  # as shown; "" for averages
    cells: tuple[Cell, ...]  # one per model of the table
    published: tuple[float | None, ...]  # the paper's value per row of `Table.paper`
    reasons: tuple[str, ...] = ()  # why no best is marked although several models have a score


@dataclass(frozen=True)
class Table:
    """Results of one protocol identity and suite."""

    identity: str
    suite: str  # one of `reading.SUITES`
    models: tuple[str, ...]  # keys of the models, one per column
    names: tuple[str, ...]  # their names, distinct
    series: tuple[int, ...]  # their numbers in the report, which decide their colors
    paper: tuple[PublishedRow, ...]  # shown beside them; only for the suite hares
    rows: tuple[Row, ...]  # in the order of Table 1; of other suites by domain and id

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
    """Returns the tables of a report, by identity and suite; identities with HARES tasks first.

    Args:
        results: no two of one model, suite, task and identity.
        paper: published rows to stand beside the twelve tasks.
    """
    names = model_names(results)
    hares = {result.identity for result in results if result.suite == "hares"}
    made = []
    for identity in sorted({r.identity for r in results}, key=lambda i: (i not in hares, i)):
        for suite in SUITES:
            some = [r for r in results if r.identity == identity and r.suite == suite]
            if some:
                made.append(_table(some, names, tuple(paper) if suite == "hares" else ()))
    return made


def _table(results: list[Result], names: dict[str, str], paper: tuple[PublishedRow, ...]) -> Table:
    """Returns the table of results of one identity and suite."""
    models = tuple(key for key in names if any(r.model == key for r in results))
    rows = _Rows(models, {(r.model, r.task): r for r in results}, paper)
    suite = results[0].suite
    return Table(
        results[0].identity,
        suite,
        models,
        names=tuple(names[key] for key in models),
        series=tuple(list(names).index(key) for key in models),
        paper=paper,
        rows=tuple(rows.hares() if suite == "hares" else rows.others(results)),
    )


def _table_1_position(task: str) -> int:
    """Position in Table 1 of the task that a variant or mini task is named after, or the end."""
    known = [i for i, name in enumerate(TASKS) if task.removeprefix("mini_").startswith(name)]
    return known[0] if known else len(TASKS)


@dataclass(frozen=True)
class _Rows:
    """Makes the rows of one table.

    Attributes:
        models: keys, one per column.
        found: results by model and task.
        paper: published rows beside them.
    """

    models: tuple[str, ...]
    found: dict[tuple[str, str], Result]
    paper: tuple[PublishedRow, ...]

    def hares(self) -> list[Row]:
        rows = []
        for domain, ids in DOMAIN_TASKS.items():
            for task in ids:
                metric = "exact_match" if task == "fluent_speech_commands" else TASKS[task].metric
                metrics = [
                    r.metric for model in self.models if (r := self.found.get((model, task)))
                ]
                rows.append(self._task(task, TASKS[task].name, domain, (metrics or [metric])[0]))
            rows.append(self._average("average", domain, domain, ids))
        return [*rows, self._average("total", "hares", "", tuple(TASKS))]

    def others(self, results: list[Result]) -> list[Row]:
        """Rows of a suite without averages, by domain, place in Table 1, and id."""
        domains = list(DOMAIN_TASKS)
        first = {result.task: result for result in reversed(results)}
        order = sorted(
            first, key=lambda t: (domains.index(first[t].domain), _table_1_position(t), t)
        )
        return [self._task(task, task, first[task].domain, first[task].metric) for task in order]

    def _complete(self, task: str) -> list[Result]:
        found = (self.found.get((model, task)) for model in self.models)
        return [result for result in found if result is not None and result.complete]

    def _is_ranked(self, task: str) -> bool:
        """Whether all complete scores of a task come from the same clips and question."""
        return len({result.comparable for result in self._complete(task)}) <= 1

    def _task(self, task: str, name: str, domain: str, metric: str) -> Row:
        ranked = self._is_ranked(task)
        cells = []
        for model in self.models:
            if (result := self.found.get((model, task))) is None:
                cells.append(Cell(None, reasons=("this task was not run",)))
                continue
            reasons = tuple(f"incomplete: {reason}" for reason in result.reasons)
            cells.append(
                Cell(
                    result.score,
                    result.interval,
                    complete=result.complete,
                    reasons=reasons,
                    result=result,
                )
            )
        return Row(
            "task",
            task,
            name,
            domain,
            METRIC_NAMES.get(metric, metric),
            _with_best(cells) if ranked else tuple(cells),
            tuple(row.scores[task] for row in self.paper),
            () if ranked else ("not ranked: the models were tested on different clips or heads",),
        )

    def _average(self, kind: str, name: str, domain: str, ids: Sequence[str]) -> Row:
        cells = [self._mean(model, ids) for model in self.models]
        return Row(
            kind,
            name,
            AVERAGE_NAMES[name],
            domain,
            "",
            # Means are ranked only where every task of theirs is.
            _with_best(cells) if all(map(self._is_ranked, ids)) else tuple(cells),
            tuple(row.averages[name] for row in self.paper),
        )

    def _mean(self, model: str, ids: Sequence[str]) -> Cell:
        results = {task: self.found.get((model, task)) for task in ids}
        absent = [TASKS[task].name for task, r in results.items() if r is None]
        partial = [TASKS[task].name for task, r in results.items() if r and not r.complete]
        reasons = tuple(
            f"no average: {_are(names, len(ids))} {state}"
            for names, state in ((absent, "not run"), (partial, "incomplete"))
            if names
        )
        if reasons:
            return Cell(None, reasons=reasons)
        counted = [result for result in results.values() if result is not None]
        scores = [result.score for result in counted]
        interval = mean_interval(scores, [result.interval for result in counted])
        return Cell(statistics.fmean(scores), interval)


def _are(names: list[str], of: int) -> str:
    if len(names) == of:
        return "all of its tasks are"
    return f"{', '.join(names)} {'is' if len(names) == 1 else 'are'}"


def _with_best(cells: Sequence[Cell]) -> tuple[Cell, ...]:
    """Marks the highest of several complete scores, rounded as they are printed."""
    rounded = [round(c.value, 1) if c.value is not None and c.complete else None for c in cells]
    scores = [score for score in rounded if score is not None]
    if len(scores) < 2:
        return tuple(cells)
    return tuple(
        replace(cell, best=score == max(scores)) for cell, score in zip(cells, rounded, strict=True)
    )
