"""Report as one self-contained HTML page without scripts and requests; all text is escaped."""

import re
from importlib import resources

from markupsafe import Markup, escape

from hares_tf.evaluation.report import figures, plots
from hares_tf.evaluation.report.comparison import (
    SUITE_NOTES,
    SUITE_TITLES,
    Cell,
    Footnotes,
    Table,
)
from hares_tf.evaluation.report.content import COLUMNS, Content, choice_rows, provenance
from hares_tf.evaluation.report.names import paper_names
from hares_tf.evaluation.report.svg import shorten
from hares_tf.evaluation.report.values import text

_LONGEST_HEADER = 48


def page(content: Content) -> str:
    """Returns a report as HTML."""
    import jinja2

    templates = jinja2.Environment(
        loader=jinja2.FunctionLoader(_template),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters["breaks"] = _breaks
    return templates.get_template("page.html.j2").render(
        summary=_summary(content),
        problems=content.problems,
        identities=[
            (identity, [_table_view(content, table) for table in content.tables_of(identity)])
            for identity in content.identities
        ],
        paired={identity: content.paired_of(identity) for identity in content.identities},
        paper_tables=content.paper_tables,
        has_paper=any(table.paper for table in content.tables),
        provenance=provenance(content),
        columns=COLUMNS,
        choices=choice_rows(content),
        machines=len({text(r.section("environment").get("cpu")) for r in content.results}),
    )


def _breaks(words: str) -> Markup:
    """Returns escaped text that a browser may break after `_`, `-` and `/`."""
    pieces = re.split(r"(?<=[_\-/])", shorten(words, _LONGEST_HEADER))
    return Markup("<wbr>").join(escape(piece) for piece in pieces)


def _template(name: str) -> str:
    return (resources.files(__package__) / name).read_text(encoding="utf-8")


def _summary(content: Content) -> list[str]:
    tasks = {(result.suite, result.task) for result in content.results}
    dates = sorted(result.finished[:10] for result in content.results if result.finished)
    said = [
        _count(len(content.names()), "model"),
        _count(len(tasks), "task"),
        _count(len(content.identities), "protocol identity", "protocol identities"),
    ]
    if dates:
        said.append(dates[0] if dates[0] == dates[-1] else f"{dates[0]} to {dates[-1]}")
    return said


def _count(number: int, one: str, many: str = "") -> str:
    return f"{number} {one if number == 1 else many or one + 's'}"


def _table_view(content: Content, table: Table) -> dict:
    """Returns the template's view of a table: cells with numbered footnotes, figures, details."""
    footnotes = Footnotes()
    rows = [
        {
            "row": row,
            "marks": footnotes.marks(row.reasons),
            "cells": [_cell_view(cell, footnotes) for cell in row.cells],
        }
        for row in table.rows
    ]
    averages, tasks = figures.against(table)
    return {
        "table": table,
        "id": f"t{content.tables.index(table)}",
        "title": SUITE_TITLES[table.suite],
        "note": SUITE_NOTES[table.suite],
        "rows": rows,
        "footnotes": footnotes.texts,
        "paper": [
            {"name": name, "row": row, "hint": _hint(row)}
            for name, row in zip(paper_names(table.paper), table.paper, strict=True)
        ],
        "ranked": any(cell.best for row in table.rows for cell in row.cells),
        "bars": figures.bars(table),
        "radar": figures.radar(table),
        "against": averages,
        "against_tasks": tasks,
        "details": _details(content, table),
    }


def _cell_view(cell: Cell, footnotes: Footnotes) -> dict:
    return {
        "cell": cell,
        "marks": footnotes.marks(cell.reasons),
        "hint": "; ".join(cell.reasons),
    }


def _hint(row) -> str:
    said = [f"Table {row.table}", row.objective, row.training_data]
    if row.parameters:
        said.append(f"{row.parameters} parameters")
    if row.source != "ours":
        said.append(f"quoted there from {row.source}")
    return "; ".join([*said, row.note] if row.note else said)


def _details(content: Content, table: Table) -> list[dict]:
    """Returns the details of each model, by task."""
    tasks: dict[str, list[dict]] = {}
    for row, name, found in content.details_of(table):
        groups = []
        for detail in found:
            title = f"confusions of {name} on {row.name} {detail.group}".strip()
            matrix = detail.matrix and plots.matrix(detail.names, detail.matrix, title)
            groups.append({"detail": detail, "matrix": matrix})
        tasks.setdefault(row.name, []).append({"name": name, "groups": groups})
    return [{"name": task, "models": models} for task, models in tasks.items()]
