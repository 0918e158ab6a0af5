"""Reports: the printed table of a run, comparisons with the paper, and pages of stored results.

* `table` and `compare` give text for the terminal; the second one beside the paper's rows.
* `write` gives a page (.html), a document (.md) or lines for a spreadsheet (.csv).

Scores of different protocol identities are never averaged or ranked together, and a total appears
only where the paper would print one: all twelve tasks, complete, of one identity.
"""

# The function has the name of its module: it is imported now, so that the name means the function.
from hares_tf.evaluation.report.table import table
from hares_tf.evaluation.report.terminal import compare
from hares_tf.evaluation.report.writing import write

__all__ = ["compare", "table", "write"]
