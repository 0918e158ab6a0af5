"""Views of a table for the templates of the page: everything that takes more than a loop."""

import re
from collections.abc import Sequence

from hares_tf.evaluation.report import charts
from hares_tf.evaluation.report.comparison import SUITE_NOTES, SUITE_TITLES, Cell, Row, Table
from hares_tf.evaluation.report.content import Content
from hares_tf.evaluation.report.differences import Differences
from hares_tf.evaluation.report.footnotes import Footnotes
from hares_tf.evaluation.report.matrix import matrix
from hares_tf.evaluation.report.names import paper_names
from hares_tf.evaluation.report.ranking_view import legend_view, ranking_view
from hares_tf.evaluation.report.values import number

_LEAST_SPREAD = 10.0  # points of percent: smaller differences do not use all shades
_MOST_OPEN = 160  # numbers of a folded part that is open at first


def table_view(content: Content, table: Table) -> dict:
    """Returns the view of a table: ranking, cells with footnotes, differences, charts, details."""
    ranking = content.ranking_of(table)
    bars = charts.bar_charts(table)
    differences = content.differences_of(table)
    return {
        "table": table,
        "id": f"t{content.tables.index(table)}",
        "title": SUITE_TITLES[table.suite],
        "note": SUITE_NOTES[table.suite],
        "models": list(zip(table.series, table.names, strict=True)),
        "letters": [_longest_piece(name) for name in table.names],
        "paper": [
            {
                "mark": mark,
                "name": name,
                "letters": _longest_piece(name),
                "row": row,
                "hint": _hint(row),
            }
            for mark, name, row in zip(
                charts.paper_marks(table), paper_names(table.paper), table.paper, strict=True
            )
        ],
        "ranking": ranking and ranking_view(table, ranking),
        "scores": scores_view(table),
        "differences": [
            {"name": row.name, "cells": _matrix(table, pairs)} for row, pairs in differences
        ],
        "wins": _wins(table, [pairs for _, pairs in differences]) if differences else [],
        "pooled": [row.name for row, pairs in differences if _deviates(table, row, pairs)],
        "many_differences": len(differences) * len(table.models) ** 2 > _MOST_OPEN,
        "bars": bars,
        "many_bars": sum(len(chart.bars) for chart in bars) > _MOST_OPEN,
        "scatters": charts.ranking_scatters(table, ranking) if ranking else [],
        "row_scatters": charts.row_scatters(table),
        "legend": legend_view(table, ranking),
        "details": details_view(content, table),
    }


def scores_view(table: Table) -> dict:
    """Returns the table of scores: groups of rows by domain, with shades and footnotes."""
    footnotes = Footnotes()
    groups: list[dict] = []
    for row in table.rows:
        if not groups or groups[-1]["domain"] != row.domain:
            groups.append({"domain": row.domain, "rows": []})
        shades = _shades(row.cells)
        cells = [
            {
                "cell": cell,
                "marks": footnotes.marks(cell.reasons),
                "hint": _cell_hint(cell),
                "shade": shade,
            }
            for cell, shade in zip(row.cells, shades, strict=True)
        ]
        marks = footnotes.marks(row.reasons)
        groups[-1]["rows"].append(
            {"row": row, "marks": marks, "cells": cells, "clips": _clips(row)}
        )
    return {"groups": groups, "footnotes": footnotes.texts, "notes": _notes(table)}


def _notes(table: Table) -> list[str]:
    """Returns sentences on shades, marks and intervals, as far as the table shows them."""
    kinds = {
        (row.metric, cell.result.interval_kind)
        for row in table.task_rows
        for cell in row.cells
        if cell.result is not None and cell.result.interval is not None
    }
    wilson = sorted(metric for metric, kind in kinds if kind == "Wilson")
    bootstrap = sorted(metric for metric, kind in kinds if kind == "bootstrap")
    older = " that were stored as such" if set(wilson) & set(bootstrap) else ""
    averages = [cell for row in table.rows if row.kind != "task" for cell in row.cells]
    cells = [cell for row in table.rows for cell in row.cells]
    several = len(table.models) > 1
    notes = {
        "Scores in percent.": True,
        "Shades go from the lowest score of each row to its highest.": several,
        "Shades go from 0 to 100.": not several,
        "★ best of this report in the row, among complete scores on the same clips.": any(
            cell.best for cell in cells
        ),
        f"Intervals of {', '.join(wilson)} are Wilson's.": bool(wilson),
        f"Intervals of {', '.join(bootstrap)}{older} are from a bootstrap over test clips.": bool(
            bootstrap
        ),
        "Those of averages combine the intervals of their tasks.": any(
            cell.interval for cell in averages
        ),
        "The paper's columns have its own protocol and take no part in marks and shades.": bool(
            table.paper
        ),
    }
    return [note for note, applies in notes.items() if applies]


def _shades(cells: Sequence[Cell]) -> list[int | None]:
    """Returns percent of the darkest shade: the place of each value between the row's extremes."""
    values = [cell.value for cell in cells if cell.value is not None]
    if not values:
        return [None] * len(cells)
    low, high = (0.0, 100.0) if len(values) == 1 else (min(values), max(values))
    spread = max(high - low, _LEAST_SPREAD)
    return [
        None if cell.value is None else round(100 * (1 - (high - cell.value) / spread))
        for cell in cells
    ]


def _clips(row: Row) -> str:
    """Returns the number of tested clips, and how many clips a partial run used."""
    results = [cell.result for cell in row.cells if cell.result is not None]
    scored = sorted({n for r in results if (n := number(r.clips.get("n_scored"))) is not None})
    words = [f"{_extent(scored)} test clips"] if scored else []
    partial = [result for result in results if not result.complete]
    used = sorted({n for r in partial if (n := number(r.clips.get("n_used"))) is not None})
    expected = [n for r in partial if (n := number(r.clips.get("n_expected"))) is not None]
    if used and expected and used[0] < max(expected):
        words.append(f"{_extent(used)} of {max(expected):,.0f} clips used")
    return " · ".join(words)


def _longest_piece(name: str) -> int:
    """Returns the letters of the longest piece that a browser should not break, at most 18."""
    return min(18, max(map(len, re.split(r"[\s_\-/]", name))) + 1)


def _extent(numbers: Sequence[float]) -> str:
    ends = dict.fromkeys(f"{n:,.0f}" for n in (numbers[0], numbers[-1]))
    return "–".join(ends)


def _cell_hint(cell: Cell) -> str:
    kind = cell.result.interval_kind if cell.result is not None else ""
    said = [{"Wilson": "Wilson's interval", "bootstrap": "bootstrap interval"}.get(kind, "")]
    return "; ".join(filter(None, [*said, *cell.reasons]))


def _deviates(table: Table, row: Row, pairs: Differences) -> bool:
    """Whether a paired difference is another number than the difference of the scores."""
    scores = dict(zip(table.models, (cell.value or 0.0 for cell in row.cells), strict=True))
    return any(abs(p.value - (scores[a] - scores[b])) > 0.05 for (a, b), p in pairs.items())


def _matrix(table: Table, pairs: Differences) -> list[list]:
    return [[pairs.get((a, b)) for b in table.models] for a in table.models]


def _wins(table: Table, tasks: Sequence[Differences]) -> list[list[dict | None]]:
    """Returns for each two models on how many tasks the first wins, ties and loses."""

    def cell(a: str, b: str) -> dict | None:
        signs = [pairs[a, b].sign for pairs in tasks if (a, b) in pairs]
        if not signs:
            return None
        wins, losses = signs.count(1), signs.count(-1)
        return {
            "words": f"{wins}–{signs.count(0)}–{losses}",
            "balance": round(100 * (wins - losses) / len(signs)),
        }

    return [[cell(a, b) for b in table.models] for a in table.models]


def _hint(row) -> str:
    said = [f"Table {row.table}", row.objective, row.training_data]
    if row.parameters:
        said.append(f"{row.parameters} parameters")
    if row.source != "ours":
        said.append(f"quoted there from {row.source}")
    return "; ".join([*said, row.note] if row.note else said)


def details_view(content: Content, table: Table) -> list[dict]:
    """Returns the details of each model, by task."""
    tasks: dict[str, list[dict]] = {}
    for row, name, found in content.details_of(table):
        groups = []
        for detail in found:
            title = f"confusions of {name} on {row.name} {detail.group}".strip()
            drawn = detail.matrix and matrix(detail.names, detail.matrix, title)
            groups.append({"detail": detail, "matrix": drawn})
        tasks.setdefault(row.name, []).append({"name": name, "groups": groups})
    return [{"name": task, "models": models} for task, models in tasks.items()]
