"""Sentences that explain a table and its ranking, for all formats."""

from hares_tf.evaluation.report.comparison import Table
from hares_tf.evaluation.report.ranking import Ranking


def interval_notes(table: Table) -> list[str]:
    """Returns sentences on the kinds of the intervals that a table shows."""
    kinds = {
        (row.metric, cell.result.interval_kind)
        for row in table.task_rows
        for cell in row.cells
        if cell.result is not None and cell.result.interval is not None
    }
    wilson = sorted(metric for metric, kind in kinds if kind == "Wilson")
    bootstrap = sorted(metric for metric, kind in kinds if kind == "bootstrap")
    notes = []
    if wilson:
        notes.append(f"Intervals of {', '.join(wilson)} are Wilson's.")
    if bootstrap:
        older = " that were stored as such" if set(wilson) & set(bootstrap) else ""
        notes.append(
            f"Intervals of {', '.join(bootstrap)}{older} are from a bootstrap over test clips."
        )
    if any(cell.interval for row in table.rows if row.kind != "task" for cell in row.cells):
        notes.append("Those of averages combine the intervals of their tasks.")
    return notes


def ranking_note(table: Table, ranking: Ranking) -> str:
    """Returns sentences on the tasks that count and the models that are not ranked."""
    tasks = ", ".join(row.name for row in ranking.tasks)
    sentences = ["Over all twelve tasks." if ranking.is_total else f"Over {tasks}."]
    if table.suite == "hares" and not ranking.is_total:
        sentences.append("This is not a HARES total.")
    sentences += [f"Not ranked: {table.names[column]} ({why})." for column, why in ranking.unranked]
    return " ".join(sentences)
