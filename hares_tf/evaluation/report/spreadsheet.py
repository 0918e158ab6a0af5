"""Report as comma-separated values with a line per result."""

import csv
import io

from hares_tf.evaluation.report.content import Content
from hares_tf.evaluation.report.names import paper_names
from hares_tf.evaluation.report.provenance import notes
from hares_tf.evaluation.report.reading import Result
from hares_tf.evaluation.report.values import text

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
