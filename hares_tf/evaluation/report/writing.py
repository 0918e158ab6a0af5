"""Writes reports to files; the ending of the name decides the format."""

import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from hares_tf.evaluation.errors import EvaluationError
from hares_tf.evaluation.report import comparison, names, reading
from hares_tf.evaluation.report.content import Content
from hares_tf.utils.files import atomic_file

FORMATS = (".html", ".md", ".csv")


def write(
    results: Iterable[str | os.PathLike],
    outputs: Sequence[str | os.PathLike],
    *,
    tables: Sequence[int] = (4,),
    details: bool = True,
    resamples: int = 1000,
    seed: int = 0,
    say: Callable[[str], None] = lambda text: None,
) -> list[str]:
    """Writes reports of stored results.

    Args:
        results: folders and files of results.
        outputs: files to write, ending in .html, .md or .csv.
        tables: numbers of the paper's tables whose rows stand beside the twelve tasks.
        details: whether to show confusions, worst classes and paired differences.
        resamples: of the paired bootstrap; 0 leaves it out.
        seed: of the paired bootstrap.
        say: called with a sentence about each step.

    Returns:
        Sentences about what was skipped or cannot be shown.

    Raises:
        EvaluationError: there is no result, an ending is unknown, or there is no such table.
    """
    from hares_tf.evaluation.report import details as detail

    paths = [Path(output) for output in outputs]
    if not paths:
        raise EvaluationError("Name a file to write with --output=report.html.")
    for path in paths:
        if path.suffix.lower() not in FORMATS:
            raise EvaluationError(
                f"{path}: The ending decides the format and must be one of {', '.join(FORMATS)}."
            )
    paper = names.paper_rows(tables)
    found, problems = reading.read(results)
    content = Content(
        comparison.tables(found, paper), tuple(found), tuple(tables), problems=problems
    )
    # A spreadsheet shows none of the details, which take time.
    if details and any(path.suffix.lower() != ".csv" for path in paths):
        detail.add(content, resamples, seed, say)
    for path in paths:
        with atomic_file(path) as temporary:
            temporary.write_text(
                _renderer(path.suffix.lower())(content), encoding="utf-8", newline=""
            )
        say(f"{path}: {len(found)} result(s)")
    return content.problems


def _renderer(ending: str) -> Callable[[Content], str]:
    if ending == ".html":
        from hares_tf.evaluation.report.page import page

        return page
    if ending == ".md":
        from hares_tf.evaluation.report.document import markdown

        return markdown
    from hares_tf.evaluation.report.spreadsheet import lines

    return lines
