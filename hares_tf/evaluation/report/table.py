"""The table that a run prints: tasks down, models across."""

from collections.abc import Sequence

from hares_tf.evaluation.published import DOMAIN_TASKS
from hares_tf.utils.tables import text_table


def table(results: Sequence[Sequence[dict]]) -> str:
    """A text table of results.

    Args:
        results: for each model its results, all models on the same tasks in the same order.

    `clips` counts the clips that were used. The best score of a row carries a star when models are
    compared; `!` marks an incomplete one.
    """
    domains = list(DOMAIN_TASKS)
    names = [column[0]["model"]["name"] for column in results]
    if len(set(names)) < len(names):
        names = [f"{name}-{number}" for number, name in enumerate(names, start=1)]
    header = ["task", "domain", "metric", "clips", *names]
    rows = []
    tasks = sorted(
        range(len(results[0])), key=lambda i: domains.index(results[0][i]["task"]["domain"])
    )
    for index in tasks:
        cells = [column[index] for column in results]
        best = max(cell["score"] for cell in cells)
        first = cells[0]
        rows.append(
            [
                first["task"]["id"],
                first["task"]["domain"],
                first["task"]["metric"],
                _clips(cells),
                *(_score(cell, len(cells) > 1 and cell["score"] == best) for cell in cells),
            ]
        )
    lines = text_table(header, rows, right=range(3, len(header)))
    protocol = results[0][0]["protocol"]["identity"]
    lines.append(
        f"Scores in percent, protocol {protocol}."
        + (" * best of the row." if len(results) > 1 else "")
    )
    if any(not cell["complete"] for column in results for cell in column):
        lines.append("! incomplete: the result file says why and lists clips that were not read.")
    return "\n".join(lines)


def _clips(results: Sequence[dict]) -> str:
    """Returns how many clips were used: `2000`; `82 of 2000` where not all were."""
    used = sorted({result["clips"]["n_used"] for result in results})
    words = str(used[0]) if len(used) == 1 else f"{used[0]}-{used[-1]}"
    expected = max(result["clips"]["n_expected"] for result in results)
    complete = all(result["complete"] for result in results)
    return words if complete or used[0] >= expected else f"{words} of {expected}"


def _score(result: dict, best: bool) -> str:
    marks = ("*" if best else " ") + ("!" if not result["complete"] else " ")
    return f"{result['score']:.1f}{marks}"
