"""Charts of a table: bars of its scores, and scores against parameters and time."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from string import ascii_uppercase

from markupsafe import Markup

from hares_tf.evaluation.published import DOMAIN_TASKS
from hares_tf.evaluation.report.comparison import Cell, Row, Table
from hares_tf.evaluation.report.names import paper_names
from hares_tf.evaluation.report.ranking import Ranking
from hares_tf.evaluation.report.reading import Result
from hares_tf.evaluation.report.scatter import Point, scatter
from hares_tf.evaluation.report.svg import SERIES

PARAMETERS = "parameters"
TIME = "ms of embedding per second of audio"
_SENSIBLE = (1e-6, 1e15)  # quantities outside are mistakes, and cannot be drawn beside others


@dataclass(frozen=True)
class Bar:
    """One bar: a name, a score in percent with its interval, and what to say about it."""

    name: str
    series: int
    value: float
    interval: tuple[float, float] | None
    complete: bool
    hint: str


@dataclass(frozen=True)
class BarChart:
    """Bars from 0 to 100 percent."""

    title: str
    note: str
    bars: tuple[Bar, ...]


def bar_charts(table: Table) -> list[BarChart]:
    """Returns a chart per task and average; of a single model, one chart with all of them."""
    rows = [row for row in table.rows if any(cell.value is not None for cell in row.cells)]
    if len(table.models) == 1:
        bars = [_bar(row.name, 0, row.cells[0]) for row in rows]
        return [BarChart(table.names[0], "", tuple(bars))]
    return [
        BarChart(
            row.name,
            row.metric,
            tuple(
                _bar(name, series, cell)
                for name, series, cell in zip(table.names, table.series, row.cells, strict=True)
                if cell.value is not None
            ),
        )
        for row in rows
    ]


def _bar(name: str, series: int, cell: Cell) -> Bar:
    value = cell.value or 0.0
    hint = f"{name}: {value:.1f}"
    if cell.interval:
        hint += f", 95% interval {cell.interval[0]:.1f} to {cell.interval[1]:.1f}"
    hint = "; ".join([hint, *cell.reasons])
    return Bar(name, series % SERIES, value, cell.interval, cell.complete, hint)


def ranking_scatters(table: Table, ranking: Ranking) -> list[Markup]:
    """Returns the mean scores of a ranking against parameters and against time."""
    scores = {standing.column: standing.mean for standing in ranking.standings}
    total = next((row for row in table.rows if row.kind == "total"), None)
    published = total.published if total and ranking.is_total else ()
    return _scatters(table, ranking.mean_name, ranking.tasks, scores, published)


def row_scatters(table: Table) -> list[tuple[str, list[Markup]]]:
    """Returns for each average and task its name and its scores against parameters and time."""
    made = []
    for row in table.rows:
        ids = {"average": DOMAIN_TASKS.get(row.id, ()), "task": (row.id,)}.get(row.kind, ())
        tasks = [other for other in table.rows if other.kind == "task" and other.id in ids]
        scores = {
            column: cell.value
            for column, cell in enumerate(row.cells)
            if cell.value is not None and cell.complete
        }
        if drawn := _scatters(table, row.name, tasks, scores, row.published):
            made.append((row.name, drawn))
    return made


def paper_marks(table: Table) -> list[str]:
    """Returns the marks of the paper's rows: A ... Z, AA ..."""
    letters = len(ascii_uppercase)
    return [
        ascii_uppercase[i // letters - 1] * (i >= letters) + ascii_uppercase[i % letters]
        for i in range(len(table.paper))
    ]


def _scatters(
    table: Table,
    title: str,
    rows: Iterable[Row],
    scores: dict[int, float],
    published: Sequence[float | None],
) -> list[Markup]:
    """Returns the figures that have two points or more, one of them ours.

    Args:
        table: the table.
        title: what the vertical axis shows.
        rows: the tasks whose embedding is timed.
        scores: percent by column.
        published: percent of the paper's rows; empty for none.
    """
    tasks = list(rows)
    ours: dict[str, list[Point]] = {PARAMETERS: [], TIME: []}
    for column, score in scores.items():
        results = [row.cells[column].result for row in tasks]
        series = table.series[column]
        for quantity, value in ((PARAMETERS, _parameters(results)), (TIME, _time(results))):
            if value is not None and _SENSIBLE[0] <= value <= _SENSIBLE[1]:
                mark, kind = str(series + 1), f"bar s{series % SERIES}"
                ours[quantity].append(Point(mark, table.names[column], value, score, kind))
    paper = {PARAMETERS: _published_points(table, published), TIME: []}
    return [
        scatter(title, quantity, [*paper[quantity], *points])
        for quantity, points in ours.items()
        if points and len(points) + len(paper[quantity]) > 1
    ]


def _published_points(table: Table, published: Sequence[float | None]) -> list[Point]:
    # Table 2 prints "63m".
    return [
        Point(
            mark,
            f"{name} (published)",
            1e6 * float(row.parameters.removesuffix("m")),
            y,
            "hollow",
        )
        for mark, name, row, y in zip(
            paper_marks(table), paper_names(table.paper), table.paper, published, strict=False
        )
        if y is not None and row.parameters
    ]


def _parameters(results: Sequence[Result | None]) -> float | None:
    values = (result.number("model", "parameters") for result in results if result is not None)
    return next((value for value in values if value and value > 0), None)


def _time(results: Sequence[Result | None]) -> float | None:
    """Returns the mean over all tasks whose embeddings were computed, not found in the store."""
    timed = [r for r in results if r is not None and r.milliseconds_per_second]
    audio = sum(result.number("seconds", "audio_seconds") or 0 for result in timed)
    seconds = sum(result.number("seconds", "embedding") or 0 for result in timed)
    return 1000 * seconds / audio if timed and seconds > 0 else None


def quantities(rows: Iterable[Row], column: int) -> tuple[float | None, float | None]:
    """Returns parameters and time (ms per second of audio) of a model, over some tasks."""
    results = [row.cells[column].result for row in rows]
    return _parameters(results), _time(results)
