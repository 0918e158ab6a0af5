"""The command `hares-report`."""

import sys
from collections.abc import Sequence

from absl import flags

from hares_tf.commands import program as command
from hares_tf.evaluation.errors import EvaluationError

NAME = "hares-report"
DESCRIPTION = """
makes a report of stored results: a page, a Markdown document, or lines for a spreadsheet.

Results are folders (the --output of hares-evaluate or a part of it) and result files:

    # one page, readable offline
    hares-report results --output=report.html

    # the same for a pull request and a spreadsheet, beside the paper's Tables 6 and 9
    hares-report results --published=6,9 --output=report.md --output=scores.csv

Scores of different protocols stand in separate tables and are never ranked together. Averages
appear where the paper would print them: all tasks of a domain, or all twelve, complete and of one
protocol; where not, a footnote says why. Confusions, worst classes and differences of models with
95% intervals come from the predictions beside the results (--nodetails leaves them out).
"""


def define_flags() -> flags.FlagValues:
    """The flags of the command."""
    values = flags.FlagValues()
    flags.DEFINE_multi_string(
        "results",
        [],
        "A folder or file of results, like those without a flag; may be repeated.",
        flag_values=values,
    )
    flags.DEFINE_multi_string(
        "output",
        ["report.html"],
        "The file to write; .html, .md or .csv decides the format. May be repeated.",
        flag_values=values,
    )
    flags.DEFINE_list(
        "published",
        ["4"],
        "Numbers of the paper's tables whose rows stand beside the twelve tasks, separated by "
        "commas (2, 3, 4, 6, 7, 8, 9); --published= for none.",
        flag_values=values,
    )
    flags.DEFINE_bool(
        "details",
        True,
        "Read the predictions: confusions, worst classes, differences of models.",
        flag_values=values,
    )
    flags.DEFINE_integer(
        "resamples",
        1000,
        "Resamples for the interval of a difference of two models; 0 leaves differences out.",
        lower_bound=0,
        flag_values=values,
    )
    flags.DEFINE_integer("seed", 0, "Seed of the resamples.", lower_bound=0, flag_values=values)
    flags.DEFINE_bool(
        "quiet",
        False,
        "Print only what was passed over.",
        flag_values=values,
    )
    return values


def _main(values: flags.FlagValues, arguments: Sequence[str]) -> None:
    results = [*arguments, *values.results]
    if not results:
        raise EvaluationError(f"name a folder of results: {NAME} results --output=report.html")
    from hares_tf.evaluation.report import write

    problems = write(
        results,
        values.output,
        tables=_numbers(values.published),
        details=values.details,
        resamples=values.resamples,
        seed=values.seed,
        say=(lambda text: None) if values.quiet else (lambda text: print(text, file=sys.stderr)),
    )
    for problem in problems:
        print(f"{NAME}: note: {problem}", file=sys.stderr)


def _numbers(words: Sequence[str]) -> list[int]:
    try:
        return [int(word) for word in words if word]
    except ValueError as error:
        raise EvaluationError(
            f"--published={','.join(words)}: give numbers of tables, such as 4 or 6,9"
        ) from error


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; gives its exit code."""
    return command.run(NAME, DESCRIPTION, define_flags(), _main, argv, positionals=True)


if __name__ == "__main__":
    sys.exit(main())
