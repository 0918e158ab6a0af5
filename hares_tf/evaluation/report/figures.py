"""Figures of a table: bars, radar, and scores against parameters and time."""

import statistics
from collections.abc import Sequence

from markupsafe import Markup

from hares_tf.evaluation.published import DOMAIN_TASKS
from hares_tf.evaluation.report import plots, svg
from hares_tf.evaluation.report.comparison import Row, Table
from hares_tf.evaluation.report.names import paper_names
from hares_tf.evaluation.report.reading import Result

PARAMETERS = "parameters"
TIME = "ms of embedding per second of audio"


def bars(table: Table) -> list[Markup]:
    """Returns a bar chart per task."""
    made = []
    for row in table.task_rows:
        entries = []
        for name, series, cell in zip(table.names, table.series, row.cells, strict=True):
            if cell.value is None:
                continue
            hint = f"{name}: {cell.value:.1f}"
            if cell.interval:
                hint += f", 95% interval {cell.interval[0]:.1f} to {cell.interval[1]:.1f}"
            hint = "; ".join([hint, *cell.reasons])
            entries.append((name, series, cell.value, cell.interval, cell.complete, hint))
        made.append(svg.bars(f"{row.name} ({row.metric})", entries))
    return made


def radar(table: Table) -> tuple[Markup, list[tuple[str, int]], int] | None:
    """Returns a radar chart of the three domains, for models with an average in each.

    The averages of the mini suite are means of its tasks; the caption has to say so.

    Returns:
        The figure, its legend (name, series) and the number of models left out, because no more
        than eight lines can be distinguished; None where there is nothing to draw.
    """
    entries: list[tuple[str, int, list[float]]] = []
    for column, name in enumerate(table.names):
        means = [_domain_value(table, domain, column) for domain in DOMAIN_TASKS]
        values = [mean for mean in means if mean is not None]
        if len(values) == len(means):
            entries.append((name, table.series[column], values))
    if not entries or table.suite not in ("hares", "mini"):
        return None
    kept = sorted(entries, key=lambda entry: -sum(entry[2]))[: svg.SERIES]
    kept = sorted(kept, key=lambda entry: entry[1])
    # Some of more than eight models share a color; then those shown get new numbers.
    if len({series % svg.SERIES for _, series, _ in kept}) < len(kept):
        kept = [(name, number, values) for number, (name, _, values) in enumerate(kept)]
    kept = [(name, series % svg.SERIES, values) for name, series, values in kept]
    drawn = svg.radar([domain.capitalize() for domain in DOMAIN_TASKS], kept)
    return drawn, [(name, series) for name, series, _ in kept], len(entries) - len(kept)


def _domain_value(table: Table, domain: str, column: int) -> float | None:
    if average := table.average(domain):
        return average.cells[column].value
    cells = [row.cells[column] for row in table.task_rows if row.domain == domain]
    values = [cell.value for cell in cells if cell.value is not None and cell.complete]
    return statistics.fmean(values) if values and len(values) == len(cells) else None


def against(table: Table) -> tuple[list[Markup], list[Markup]]:
    """Returns scores against parameters and time: those of averages, and of single tasks."""
    averages = [row for row in table.rows if row.kind == "total" and _known(row)]
    averages = averages or [row for row in table.rows if row.kind == "average" and _known(row)]
    return (
        [drawn for row in averages for drawn in _pair(table, row)],
        [drawn for row in table.task_rows for drawn in _pair(table, row)],
    )


def _known(row: Row) -> bool:
    return any(cell.value is not None for cell in row.cells)


def _pair(table: Table, row: Row) -> list[Markup]:
    tasks = {
        "task": [row.id],
        "average": list(DOMAIN_TASKS.get(row.id, ())),
        "total": [task for ids in DOMAIN_TASKS.values() for task in ids],
    }[row.kind]
    rows = [other for other in table.rows if other.kind == "task" and other.id in tasks]
    ours: dict[str, list[tuple[str, int, float, float]]] = {PARAMETERS: [], TIME: []}
    for column, (name, cell) in enumerate(zip(table.names, row.cells, strict=True)):
        if cell.value is None or not cell.complete:
            continue
        results = [one.cells[column].result for one in rows]
        quantities = {PARAMETERS: _parameters(results), TIME: _time(results)}
        for quantity, value in quantities.items():
            if value:
                ours[quantity].append((name, table.series[column] % svg.SERIES, value, cell.value))
    paper = [
        # Table 2 prints "63m".
        (name, 1e6 * float(model.parameters.removesuffix("m")), value)
        for name, model, value in zip(
            paper_names(table.paper), table.paper, row.published, strict=True
        )
        if value is not None and model.parameters
    ]
    return [
        plots.scatter(row.name, quantity, points, published)
        for (quantity, points), published in zip(ours.items(), (paper, []), strict=True)
        if points and len(points) + len(published) > 1
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
