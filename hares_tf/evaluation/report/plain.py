"""Report as Markdown, and as comma-separated values with a line per result."""

import csv
import io

from hares_tf.evaluation.report.comparison import (
    SUITE_NOTES,
    SUITE_TITLES,
    Cell,
    Footnotes,
    Table,
)
from hares_tf.evaluation.report.content import COLUMNS, Content, choice_rows, notes, provenance
from hares_tf.evaluation.report.names import paper_names
from hares_tf.evaluation.report.reading import Result
from hares_tf.evaluation.report.values import text
from hares_tf.utils.markdown import bullets, grid, plain

# New columns go to the end; the others keep their names and places.
CSV_COLUMNS = (
    "model", "task", "task_version", "domain", "suite", "metric", "head", "protocol", "score",
    "interval_low", "interval_high", "complete", "incomplete_because", "n_expected", "n_missing",
    "n_failed", "n_excluded", "n_used", "n_scored", "n_repeated_across_parts", "n_labels",
    "n_labels_scored", "manifest_hash", "handle", "fingerprint", "parameters", "embedding_size",
    "embedding_seconds", "head_seconds", "clips_embedded", "audio_seconds", "hares_tf", "cpu",
    "finished_at", "notes", "file", "published", "published_name", "runtime", "precision",
)  # fmt: skip


def lines(content: Content) -> str:
    """Returns comma-separated values: a header, and a line per model and task, by table.

    `published` holds the score of the first of the paper's rows that has one on this task;
    `published_name` names that row.
    """
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow(CSV_COLUMNS)
    for table in content.tables:
        names = paper_names(table.paper)
        for row in table.task_rows:
            beside = next(
                ((v, n) for v, n in zip(row.published, names, strict=True) if v is not None),
                ("", ""),
            )
            for name, cell in zip(table.names, row.cells, strict=True):
                if cell.result is not None:
                    writer.writerow(map(_inert, _csv_values(name, cell.result, beside)))
    return out.getvalue()


def _csv_values(name: str, result: Result, published: tuple) -> list:
    """Returns the values of a line, in the order of `CSV_COLUMNS`."""
    task, model, clips, seconds, environment, embeddings = (
        result.section(section)
        for section in ("task", "model", "clips", "seconds", "environment", "embeddings")
    )
    low, high = result.interval or ("", "")
    return [
        name, result.task, task.get("version"), result.domain, result.suite, result.metric,
        task.get("head"), result.identity, result.score, low, high,
        "yes" if result.complete else "no", "; ".join(result.reasons),
        clips.get("n_expected"), clips.get("n_missing"), clips.get("n_failed"),
        clips.get("n_excluded", clips.get("n_excluded_rows")), clips.get("n_used"),
        clips.get("n_scored"), clips.get("n_repeated_across_parts"), clips.get("n_labels"),
        clips.get("n_labels_scored"), clips.get("manifest_hash"), model.get("handle"),
        model.get("fingerprint"), model.get("parameters"), model.get("embedding_size"),
        seconds.get("embedding"), seconds.get("head"), seconds.get("clips_embedded"),
        seconds.get("audio_seconds"), environment.get("hares_tf"), environment.get("cpu"),
        result.finished, "; ".join(notes(result)), result.place, *published,
        embeddings.get("runtime"), embeddings.get("precision"),
    ]  # fmt: skip


def _inert(value: object) -> object:
    """Puts an apostrophe before text that a spreadsheet would take for a formula."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return value
    words = text(value, 2000)
    return f"'{words}" if words[:1] in ("=", "+", "-", "@") else words


def markdown(content: Content) -> str:
    """Returns tables, differences, worst classes and provenance as Markdown."""
    parts = ["# HARES report"]
    if content.problems:
        parts += ["## Passed over", bullets(map(plain, content.problems))]
    for identity in content.identities:
        parts.append(f"## Protocol {plain(identity)}")
        for table in content.tables_of(identity):
            parts += _table_parts(content, table)
        if pairs := content.paired_of(identity):
            header = ("Task", "First", "Second", "First − second", "95% interval", "Verdict")
            rows = [
                (
                    pair.task,
                    pair.first,
                    pair.second,
                    f"{pair.difference:+.1f}",
                    f"{pair.low:+.1f} to {pair.high:+.1f}",
                    pair.verdict,
                )
                for pair in pairs
            ]
            parts += ["### Differences of models on the same clips", grid(header, rows)]
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
    said = "Scores in percent, in brackets 95% intervals; * best of this report in the row."
    if table.paper:
        said += f" The paper's columns are as printed (table {sources}), by its own protocol."
    parts = [f"### {SUITE_TITLES[table.suite]} ({plain(table.identity)})"]
    if SUITE_NOTES[table.suite]:
        parts.append(SUITE_NOTES[table.suite])
    parts += [grid(header, rows, 2), said]
    if footnotes.texts:
        parts.append(
            "\n".join(f"{i}. {plain(one)}" for i, one in enumerate(footnotes.texts, start=1))
        )
    return parts + _detail_parts(content, table)


def _detail_parts(content: Content, table: Table) -> list[str]:
    rows = []
    for row, name, found in content.details_of(table):
        for detail in found:
            for one in detail.classes[:5]:
                mistaken = f"{one.mistaken} ({one.times})" if one.times else ""
                group = f"{row.name} {detail.group}".strip()
                rows.append((group, name, one.name, one.clips, f"{one.score:.1f}", mistaken))
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
