"""Ranking of the models of a table: means, mean ranks, and clear wins."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from hares_tf.evaluation.published import TASKS
from hares_tf.evaluation.report.comparison import Cell, Row, Table
from hares_tf.evaluation.report.differences import Differences
from hares_tf.evaluation.results.intervals import difference_interval, mean_interval


@dataclass(frozen=True)
class Standing:
    """One model in a ranking.

    Attributes:
        column: of the model in the table.
        place: by the mean, from 1; equal means (as printed) share the better place.
        mean: percent.
        interval: 95% interval of the mean, or None.
        rank_place: place by the mean rank.
        mean_rank: mean over tasks of the rank of its score; equal scores (as printed) share the
            mean of their ranks.
        ranks: (low, high), means over tasks of 1 + the number of models that are clearly better,
            and of the number of models that are not clearly worse.
        wins: tasks times models than which it is clearly better; likewise ties and losses.
    """

    column: int
    place: int
    mean: float
    interval: tuple[float, float] | None
    rank_place: int
    mean_rank: float
    ranks: tuple[float, float]
    wins: int
    ties: int
    losses: int


@dataclass(frozen=True)
class Ranking:
    """Models of one table that completed the same tasks on the same clips.

    Attributes:
        tasks: the rows that count.
        standings: best first.
        unranked: (column, reason) of the other models.
        is_total: whether the mean is the HARES total.
    """

    tasks: tuple[Row, ...]
    standings: tuple[Standing, ...]
    unranked: tuple[tuple[int, str], ...]
    is_total: bool

    @property
    def mean_name(self) -> str:
        """Name of the mean score."""
        if self.is_total:
            return "HARES total"
        return f"Mean of {len(self.tasks)} tasks" if len(self.tasks) > 1 else self.tasks[0].name


def ranking(table: Table, differences: Mapping[str, Differences]) -> Ranking | None:
    """Returns the ranking of a table's models; None where no task is complete.

    Args:
        table: of one protocol identity and suite.
        differences: paired differences by task id; where a task has none, the intervals of the two
            scores decide which difference is clear.
    """
    # A row with reasons was tested on different clips by different models.
    rows = [row for row in table.task_rows if not row.reasons]
    completed = [
        frozenset(row.id for row in rows if _counts(row.cells[column]))
        for column in range(len(table.models))
    ]
    tasks = _largest_block(completed)
    if not tasks:
        return None
    counted = tuple(row for row in rows if row.id in tasks)
    columns = [column for column, done in enumerate(completed) if tasks <= done]
    names = {row.id: row.name for row in rows}
    unranked = tuple(
        (column, f"not complete: {', '.join(names[task] for task in names if task in missing)}")
        for column, done in enumerate(completed)
        if (missing := tasks - done)
    )
    is_total = table.suite == "hares" and tasks == set(TASKS)
    standings = _standings(table, counted, columns, differences)
    return Ranking(counted, standings, unranked, is_total)


def _counts(cell: Cell) -> bool:
    return cell.value is not None and cell.complete


def _largest_block(completed: Sequence[frozenset[str]]) -> frozenset[str]:
    """Returns tasks so that tasks times models that completed all of them are the most.

    One model with a single task must not shrink the ranking of all others to that task; but two
    models with any task in common are ranked rather than one alone.
    """

    def worth(tasks: frozenset[str]) -> tuple:
        models = sum(tasks <= done for done in completed)
        return min(models, 2), len(tasks) * models, models, sorted(tasks)

    candidates = {a & b for a in completed for b in completed} - {frozenset()}
    return max(candidates, key=worth, default=frozenset())


def _standings(
    table: Table,
    rows: Sequence[Row],
    columns: Sequence[int],
    differences: Mapping[str, Differences],
) -> tuple[Standing, ...]:
    means, intervals, mean_ranks = {}, {}, {}
    for column in columns:
        cells = [row.cells[column] for row in rows]
        scores = [cell.value for cell in cells if cell.value is not None]
        means[column] = statistics.fmean(scores)
        intervals[column] = mean_interval(scores, [cell.interval for cell in cells])
        mean_ranks[column] = statistics.fmean(_rank(row, column, columns) for row in rows)
    standings = []
    for column in sorted(columns, key=lambda column: (-round(means[column], 1), column)):
        signs = [
            [sign(table, row, column, other, differences) for other in columns if other != column]
            for row in rows
        ]
        every = [sign for of_row in signs for sign in of_row]
        standings.append(
            Standing(
                column=column,
                place=1 + sum(round(m, 1) > round(means[column], 1) for m in means.values()),
                mean=means[column],
                interval=intervals[column],
                rank_place=1
                + sum(round(r, 2) < round(mean_ranks[column], 2) for r in mean_ranks.values()),
                mean_rank=mean_ranks[column],
                ranks=(
                    statistics.fmean(1 + of_row.count(-1) for of_row in signs),
                    statistics.fmean(len(columns) - of_row.count(1) for of_row in signs),
                ),
                wins=every.count(1),
                ties=every.count(0),
                losses=every.count(-1),
            )
        )
    return tuple(standings)


def _rank(row: Row, column: int, columns: Sequence[int]) -> float:
    """Returns the rank of a score within its row, from 1; ties share the mean of their ranks."""
    scores = [round(row.cells[other].value or 0, 1) for other in columns]
    own = round(row.cells[column].value or 0, 1)
    return sum(score > own for score in scores) + (1 + scores.count(own)) / 2


def sign(
    table: Table, row: Row, first: int, second: int, differences: Mapping[str, Differences]
) -> int:
    """Returns 1 where one column is clearly better than another on a task, -1 if worse, else 0."""
    pair = differences.get(row.id, {}).get((table.models[first], table.models[second]))
    if pair is not None:
        return pair.sign
    a, b = row.cells[first], row.cells[second]
    if a.value is None or b.value is None or a.interval is None or b.interval is None:
        return 0
    low, high = difference_interval(a.value, a.interval, b.value, b.interval)
    return int(low > 0) - int(high < 0)
