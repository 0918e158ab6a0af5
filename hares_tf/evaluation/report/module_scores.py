"""The scores of one module as Markdown, for its model card."""

import os

from hares_tf.evaluation.errors import EvaluationError
from hares_tf.evaluation.report import comparison, reading
from hares_tf.evaluation.report.footnotes import Footnotes
from hares_tf.hub.loader import LocatedModule
from hares_tf.utils.markdown import bullets, grid, plain


def module_scores(module: LocatedModule, folder: str | os.PathLike) -> str:
    """Returns the scores of a module as Markdown tables, one per protocol and suite.

    Args:
        module: its content decides which results are its own.
        folder: results, as hares-evaluate writes them.

    Raises:
        EvaluationError: there are no results, or none of them is of this module.
    """
    results, _ = reading.read([folder])
    content = str(module.content_hash())
    own = [result for result in results if result.section("model").get("fingerprint") == content]
    if not own:
        others = ", ".join(sorted({result.name for result in results}))
        raise EvaluationError(
            f"{folder} holds no result of {module.handle} ({content[:12]}), only of {others}; run "
            f"hares-evaluate --handle={module.handle} --output={folder}."
        )
    parts = []
    for table in comparison.tables(own):
        footnotes = Footnotes()
        rows = [
            (row.name, row.metric, *(_cell(cell, footnotes) for cell in row.cells))
            for row in table.rows
        ]
        title = f"{comparison.SUITE_TITLES[table.suite]}, protocol {table.identity}"
        parts += [f"**{plain(title)}**", grid(("Task", "Metric", *table.names), rows)]
        parts += [plain(note) for note in [comparison.SUITE_NOTES[table.suite]] if note]
        notes = [f"\\[{mark}\\] {plain(text)}" for mark, text in enumerate(footnotes.texts, 1)]
        parts += [bullets(notes)] if notes else []
    return "\n\n".join(["Percent; in brackets 95% intervals over test clips.", *parts])


def _cell(cell: comparison.Cell, footnotes: Footnotes) -> str:
    marks = footnotes.text(cell.reasons)
    if cell.value is None:
        return f"–{marks}"
    interval = f" ({cell.interval[0]:.1f}–{cell.interval[1]:.1f})" if cell.interval else ""
    return f"{cell.value:.1f}{interval}{marks}"
