"""Comparison with the paper as text for a terminal, at most 120 columns wide."""

import textwrap
from collections.abc import Sequence

from hares_tf.evaluation.errors import EvaluationError
from hares_tf.evaluation.report import comparison, names
from hares_tf.evaluation.report.footnotes import Footnotes
from hares_tf.evaluation.report.ranking import ranking
from hares_tf.evaluation.report.ranking_text import ranking_header, ranking_rows
from hares_tf.evaluation.report.reading import from_data, without_duplicates
from hares_tf.evaluation.report.sentences import ranking_note
from hares_tf.utils.tables import display_width, pad, text_table

WIDTH = 120
_COLUMN = 9  # five characters for a score and four for its marks
_NAME = 16
_LONGEST_NAME = 32
_HEADER_LINES = 4
# Columns of the paper that stay where there are many models: the number of rows of Table 4 with all
# twelve scores.
_PAPER_COLUMNS = 6
_SHORT = {
    "Fluent Speech Comm.": "Fluent Speech C.",
    "NSynth Instrument": "NSynth Instr.",
    "Environment average": "Environment avg.",
    "Speech average": "Speech avg.",
    "Music average": "Music avg.",
}


def compare(results: Sequence, table: int = 4) -> str:
    """Returns results beside the rows of one of the paper's tables.

    Args:
        results: result data as `evaluate` returns it: a list for each model, or one flat list.
        table: number of the paper's table, one of `published.TABLES`.

    Returns:
        A table per protocol identity and suite, each with a legend, and the ranking of several
        models.

    Raises:
        EvaluationError: there is no result, or no table of scores with that number.
    """
    paper = names.paper_rows([table])
    flat = [one for entry in results for one in ([entry] if isinstance(entry, dict) else entry)]
    if not flat:
        raise EvaluationError("There is no result to compare.")
    found, problems = without_duplicates([from_data(data) for data in flat])
    parts = []
    for one in comparison.tables(found, paper):
        parts += [*_panels(one, f"Table {table}"), *_ranking(one)]
    if problems:
        parts.append("\n".join(_wrapped(problem) for problem in problems))
    return "\n\n".join(parts)


def _ranking(table: comparison.Table) -> list[str]:
    """Returns the ranking of several models, by the intervals of their scores."""
    ranked = ranking(table, {})
    if ranked is None or len(ranked.standings) < 2:
        return []
    rows = [
        [_left(cell, _LONGEST_NAME).rstrip() for cell in row] for row in ranking_rows(table, ranked)
    ]
    lines = text_table(ranking_header(ranked), rows, right=(0, 2, 4))
    return ["\n".join(["Ranking", *lines, _wrapped(ranking_note(table, ranked))])]


def _panels(table: comparison.Table, source: str) -> list[str]:
    """Returns the table in pieces that fit the width; the last one ends with the legend."""
    fit = (WIDTH - _name_width(table)) // _COLUMN
    # If not all of the paper's rows fit, those with the highest totals are shown.
    order = sorted(range(len(table.paper)), key=lambda i: -(table.paper[i].averages["hares"] or 0))
    paper = sorted(order[: max(_PAPER_COLUMNS, fit - len(table.models))])
    step = fit - len(paper)
    notes = Footnotes()
    pieces = []
    for start in range(0, len(table.models), step):
        ours = range(start, min(start + step, len(table.models)))
        title = f"{comparison.SUITE_TITLES[table.suite]}, protocol {table.identity}"
        if len(table.models) > step:
            title += f", models {start + 1}-{ours.stop} of {len(table.models)}"
        pieces.append("\n".join([title, *_lines(table, ours, paper, notes, source)]))
    pieces[-1] += "\n" + _legend(table, paper, notes, source)
    return pieces


def _name_width(table: comparison.Table) -> int:
    longest = max(
        display_width(_SHORT.get(row.name, row.name)) + 3 * len(row.reasons) for row in table.rows
    )
    return min(max(_NAME, longest), _LONGEST_NAME)


def _lines(
    table: comparison.Table,
    ours: Sequence[int],
    paper: Sequence[int],
    notes: Footnotes,
    source: str,
) -> list[str]:
    """Returns the lines of the columns `ours` and `paper`."""
    published = names.paper_names(table.paper)
    columns = [table.names[i] for i in ours] + [published[i] for i in paper]
    headers = [_header(name.replace("supervised", "superv.")) for name in columns]
    height = max(map(len, headers))
    first = _name_width(table)
    lines = []
    if paper:
        lines.append(f"{'':{first}}{' ours':<{_COLUMN * len(ours)}} paper, {source}")
    for level in range(-height, 0):
        texts = [header[level] if -level <= len(header) else "" for header in headers]
        lines.append(" " * first + "".join(" " + _left(text, _COLUMN - 1) for text in texts))
    rule = "-" * first + f" {'-' * (_COLUMN - 1)}" * len(columns)
    lines.append(rule)
    for row in table.rows:
        marks = "".join(f"[{mark}]" for mark in notes.marks(row.reasons))
        name = _left(_SHORT.get(row.name, row.name), first - len(marks)).rstrip() + marks
        cells = [_cell(row.cells[i], notes) for i in ours]
        cells += [_number(row.published[i]) for i in paper]
        lines.append(_left(name, first) + "".join(_left(cell, _COLUMN) for cell in cells))
        if row.kind != "task" and row is not table.rows[-1]:
            lines.append(rule)
    return [line.rstrip() for line in lines]


def _cell(cell: comparison.Cell, notes: Footnotes) -> str:
    # One mark for all reasons, because there is room for four characters.
    marks = notes.marks(["; ".join(cell.reasons)] if cell.reasons else [])
    return _number(cell.value) + "*" * cell.best + "".join(f"[{mark}]" for mark in marks)


def _number(value: float | None) -> str:
    return f"{'-' if value is None else format(value, '.1f'):>5}"


def _legend(table: comparison.Table, paper: Sequence[int], notes: Footnotes, source: str) -> str:
    sentences = ["Scores in percent."]
    if any(cell.best for row in table.rows for cell in row.cells):
        sentences.append("* best of ours in the row.")
    if paper:
        sentences.append(
            f"The paper's numbers are as printed in {source}, by its own protocol; ours are by "
            f"{table.identity}."
        )
    published = names.paper_names(table.paper)
    if hidden := [name for i, name in enumerate(published) if i not in paper]:
        sentences.append(f"Left out for width: {', '.join(hidden)}; hares-report shows all.")
    if comparison.SUITE_NOTES[table.suite]:
        sentences.append(comparison.SUITE_NOTES[table.suite])
    lines = [_wrapped(" ".join(sentences))]
    lines += [_wrapped(f"[{i}] {text}", "    ") for i, text in enumerate(notes.texts, start=1)]
    return "\n".join(lines)


def _header(name: str) -> list[str]:
    """Wraps a name into lines that fit a column; shows beginning and end of a long one."""
    pieces = name.replace("_", "_ ").replace("-", "- ").split()
    lines, width = [""], _COLUMN - 1
    for piece in pieces:
        joined = (
            lines[-1] + ("" if lines[-1].endswith(("_", "-")) or not lines[-1] else " ") + piece
        )
        if display_width(joined) <= width:
            lines[-1] = joined
            continue
        if lines[-1]:
            lines.append("")
        for letter in piece:
            if display_width(lines[-1] + letter) > width:
                lines.append("")
            lines[-1] += letter
    if len(lines) > _HEADER_LINES:
        half = _HEADER_LINES // 2
        lines = [*lines[:half], "…", *lines[half - _HEADER_LINES + 1 :]]
    return lines


def _wrapped(line: str, indent: str = "") -> str:
    return textwrap.fill(line, WIDTH, subsequent_indent=indent)


def _left(line: str, width: int) -> str:
    while display_width(line) > width:
        line = line[:-2] + "…"
    return pad(line, width)
