"""Views of a ranking and of the models in the figures, for the templates of the page."""

from hares_tf.evaluation.report import charts
from hares_tf.evaluation.report.comparison import Table
from hares_tf.evaluation.report.names import paper_names
from hares_tf.evaluation.report.ranking import Ranking, Standing
from hares_tf.evaluation.report.scatter import amount


def ranking_view(table: Table, ranking: Ranking) -> dict:
    """Returns the ranking with places on a common axis."""
    ends = [end for s in ranking.standings for end in (s.mean, *(s.interval or ()))]
    low = max(0.0, 5 * (min(ends) // 5))
    high = min(100.0, 5 * (max(ends) // 5 + 1))
    if high - low < 10:
        low, high = max(0.0, low - 5), min(100.0, high + 5)

    def place(percent: float) -> float:
        return round(100 * (min(max(percent, low), high) - low) / (high - low), 2)

    return {
        "name": ranking.mean_name,
        "total": ranking.is_total,
        "tasks": ranking.tasks,
        "left_out": [row.name for row in table.task_rows if row not in ranking.tasks],
        "several": len(ranking.standings) > 1,
        "ticks": [low, (low + high) / 2, high],
        "lines": [_standing_view(table, ranking, s, place) for s in ranking.standings],
        "unranked": [(table.series[i], table.names[i], why) for i, why in ranking.unranked],
    }


def _standing_view(table: Table, ranking: Ranking, standing: Standing, place) -> dict:
    parameters, time = charts.quantities(ranking.tasks, standing.column)
    interval = standing.interval
    return {
        "standing": standing,
        "series": table.series[standing.column],
        "name": table.names[standing.column],
        "at": place(standing.mean),
        "from": interval and place(interval[0]),
        "wide": interval and round(place(interval[1]) - place(interval[0]), 2),
        "parameters": amount(parameters) if parameters else "",
        "time": f"{time:.3g}" if time else "",
    }


def legend_view(table: Table, ranking: Ranking | None) -> list[dict]:
    """Returns the models and rows of the paper in the figures: mark, name, score, quantities."""
    scores = {s.column: f"{s.mean:.1f}" for s in ranking.standings} if ranking else {}
    legend = []
    for column, (series, name) in enumerate(zip(table.series, table.names, strict=True)):
        parameters, time = charts.quantities(table.task_rows, column)
        legend.append(
            {
                "mark": "",
                "series": series,
                "name": name,
                "score": scores.get(column, "–"),
                "parameters": amount(parameters) if parameters else "–",
                "time": f"{time:.3g}" if time else "–",
            }
        )
    total = table.average("hares")
    shown = ranking is not None and ranking.is_total and total is not None
    published = total.published if shown and total else [None] * len(table.paper)
    for mark, name, row, score in zip(
        charts.paper_marks(table), paper_names(table.paper), table.paper, published, strict=True
    ):
        legend.append(
            {
                "mark": mark,
                "name": name,
                "score": "–" if score is None else f"{score:.1f}",
                "parameters": (row.parameters or "–").upper(),
                "time": "–",
            }
        )
    return legend
