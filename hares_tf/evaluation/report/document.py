"""Report as Markdown."""

from collections.abc import Sequence

from hares_tf.evaluation.report.comparison import (
    SUITE_NOTES,
    SUITE_TITLES,
    Cell,
    Table,
)
from hares_tf.evaluation.report.content import Content
from hares_tf.evaluation.report.differences import Difference, Differences, signed, tally
from hares_tf.evaluation.report.footnotes import Footnotes
from hares_tf.evaluation.report.names import paper_names
from hares_tf.evaluation.report.provenance import COLUMNS, choice_rows, provenance
from hares_tf.evaluation.report.ranking_text import ranking_header, ranking_rows
from hares_tf.evaluation.report.sentences import interval_notes, ranking_note
from hares_tf.utils.markdown import bullets, grid, plain


def markdown(content: Content) -> str:
    """Returns tables, rankings, differences, worst classes and provenance as Markdown."""
    parts = ["# HARES report"]
    if content.problems:
        parts += ["## Passed over", bullets(map(plain, content.problems))]
    parts.append("## Summary")
    for table in content.tables:
        parts += _ranking_parts(content, table)
    for identity in content.identities:
        parts.append(f"## Protocol {plain(identity)}")
        for table in content.tables_of(identity):
            parts += _table_parts(content, table)
    return "\n\n".join([*parts, *_provenance_parts(content)]) + "\n"


def _table_parts(content: Content, table: Table) -> list[str]:
    footnotes = Footnotes()
    sources = ", ".join(map(str, content.paper_tables))
    header = ["Task", "Metric", *table.names]
    header += [f"{name} (paper)" for name in paper_names(table.paper)]
    rows = []
    for row in table.rows:
        values = [row.name + footnotes.text(row.reasons), row.metric]
        values += [_cell(cell, footnotes) for cell in row.cells]
        values += ["–" if value is None else f"{value:.1f}" for value in row.published]
        rows.append(values)
    notes = ["Scores in percent, in brackets 95% intervals; * best of this report in the row."]
    notes += interval_notes(table)
    if table.paper:
        notes.append(f"The paper's columns are as printed (table {sources}), by its own protocol.")
    parts = [f"### {SUITE_TITLES[table.suite]} ({plain(table.identity)})"]
    if SUITE_NOTES[table.suite]:
        parts.append(SUITE_NOTES[table.suite])
    parts += [grid(header, rows, 2), " ".join(notes)]
    if footnotes.texts:
        parts.append(
            "\n".join(f"{i}. {plain(one)}" for i, one in enumerate(footnotes.texts, start=1))
        )
    return [
        *parts,
        *_difference_parts(content, table),
        *_detail_parts(content, table),
    ]


def _ranking_parts(content: Content, table: Table) -> list[str]:
    ranking = content.ranking_of(table)
    if ranking is None:
        return []
    return [
        f"### {SUITE_TITLES[table.suite]} ({plain(table.identity)})",
        grid(ranking_header(ranking), ranking_rows(table, ranking), 2),
        plain(ranking_note(table, ranking)),
    ]


def _difference_parts(content: Content, table: Table) -> list[str]:
    """Returns a matrix per task: row minus column, bold where the interval leaves out zero."""
    parts = []
    compared = content.differences_of(table)
    for row, pairs in compared:
        lines = [
            [name, *(_difference(pairs.get((a, b))) for b in table.models)]
            for a, name in zip(table.models, table.names, strict=True)
        ]
        parts += [f"**{plain(row.name)}**", grid(("Minus", *table.names), lines, 1)]
    if not parts:
        return []
    note = (
        "Row minus column in points of percent, in brackets 95% intervals of a paired bootstrap "
        "over the tested clips; * leaves out zero."
    )
    wins = [
        [name, *(_tally([pairs for _, pairs in compared], a, b) for b in table.models)]
        for a, name in zip(table.models, table.names, strict=True)
    ]
    return [
        "#### Differences of models on the same clips",
        f"How many of {len(compared)} tasks the row wins, ties and loses against the column:",
        grid(("Against", *table.names), wins, 1),
        plain(note),
        *parts,
    ]


def _tally(tasks: Sequence[Differences], first: str, second: str) -> str:
    return "-".join(map(str, tally(tasks, first, second) or ()))


def _difference(pair: Difference | None) -> str:
    if pair is None:
        return ""
    interval = f"({signed(pair.low)} to {signed(pair.high)})"
    return f"{signed(pair.value)}{'*' * bool(pair.sign)} {interval}"


def _detail_parts(content: Content, table: Table) -> list[str]:
    rows = []
    for row, name, found in content.details_of(table):
        for detail in found:
            for entry in detail.classes[:5]:
                mistaken = f"{entry.mistaken} ({entry.times})" if entry.times else ""
                group = f"{row.name} {detail.group}".strip()
                rows.append((group, name, entry.name, entry.clips, f"{entry.score:.1f}", mistaken))
    if not rows:
        return []
    header = ("Task", "Model", "Class", "Clips", "Recall or AP", "Most often taken for")
    return ["#### Worst classes", grid(header, rows)]


def _provenance_parts(content: Content) -> list[str]:
    parts = ["## Provenance"]
    for record in provenance(content):
        parts += [
            f"### {plain(record.name)}",
            bullets(plain(f"{name}: {value}") for name, value in record.facts),
            grid(COLUMNS, record.results),
        ]
        if record.notes:
            parts.append(bullets(plain(f"{task}: {note}") for task, note in record.notes))
        if record.failures:
            parts.append(f"Clips that could not be read: {record.n_failures}")
            parts.append(
                bullets(plain(f"{task} {clip}: {why}") for task, clip, why in record.failures)
            )
    header = ("Model", "Task", "Protocol", "Details")
    return [
        *parts,
        "### What the protocols chose",
        grid(header, choice_rows(content)),
    ]


def _cell(cell: Cell, footnotes: Footnotes) -> str:
    if cell.value is None:
        return "–" + footnotes.text(cell.reasons)
    interval = f" ({cell.interval[0]:.1f}–{cell.interval[1]:.1f})" if cell.interval else ""
    state = "*" * cell.best + "!" * (not cell.complete)
    return f"{cell.value:.1f}{state}{footnotes.text(cell.reasons)}{interval}"
