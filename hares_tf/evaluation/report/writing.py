"""Reports as files; the ending of the name decides the format."""

import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from hares_tf.evaluation.errors import EvaluationError
from hares_tf.evaluation.report import comparison, reading
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
        details: whether to read predictions: confusions, worst classes, paired differences.
        resamples: of the paired bootstrap; 0 leaves it out.
        seed: of the paired bootstrap.
        say: is told, in sentences, what is done.

    Returns:
        Sentences on what was passed over or could not be shown.

    Raises:
        EvaluationError: no result is there, an ending is unknown, or there is no such table.
    """
    from hares_tf.evaluation.report import details as detail
    from hares_tf.evaluation.report.content import Content

    outputs = [Path(output) for output in outputs]
    if not outputs:
        raise EvaluationError("Name a file to write with --output=report.html.")
    for output in outputs:
        if output.suffix.lower() not in FORMATS:
            raise EvaluationError(
                f"{output}: the ending decides the format and must be one of {', '.join(FORMATS)}."
            )
    paper = comparison.paper_rows(tables)
    found, problems = reading.read(results)
    made = comparison.tables(found, paper)
    content = Content(made, tuple(found), tuple(tables), problems=problems)
    # A spreadsheet holds none of what takes time.
    if details and any(output.suffix.lower() != ".csv" for output in outputs):
        detail.add(content, resamples, seed, say)
    for output in outputs:
        with atomic_file(output) as temporary:
            temporary.write_text(
                _renderer(output.suffix.lower())(content), encoding="utf-8", newline=""
            )
        say(f"{output}: {len(found)} result(s)")
    return content.problems


def _renderer(ending: str) -> Callable:
    if ending == ".html":
        from hares_tf.evaluation.report.page import page

        return page
    from hares_tf.evaluation.report import plain

    return plain.markdown if ending == ".md" else plain.lines
