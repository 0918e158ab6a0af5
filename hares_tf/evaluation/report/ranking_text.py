"""The ranking of a table as texts, for documents and terminals."""

from hares_tf.evaluation.report.comparison import Table
from hares_tf.evaluation.report.ranking import Ranking, Standing


def ranking_header(ranking: Ranking) -> list[str]:
    """Returns the names of the columns."""
    header = ["Place", "Model", ranking.mean_name, "95% interval"]
    several = len(ranking.standings) > 1
    return header + ["Mean rank", "Range", "Wins-ties-losses"] * several


def ranking_rows(table: Table, ranking: Ranking) -> list[list[str]]:
    """Returns a row per ranked model, best first."""
    return [_row(table, ranking, standing) for standing in ranking.standings]


def _row(table: Table, ranking: Ranking, standing: Standing) -> list[str]:
    interval = standing.interval
    cells = [
        str(standing.place),
        table.names[standing.column],
        f"{standing.mean:.1f}",
        f"{interval[0]:.1f} to {interval[1]:.1f}" if interval else "",
    ]
    if len(ranking.standings) == 1:
        return cells
    low, high = standing.ranks
    return [
        *cells,
        f"{standing.mean_rank:.2f}",
        f"{low:.1f} to {high:.1f}",
        f"{standing.wins}-{standing.ties}-{standing.losses}",
    ]
