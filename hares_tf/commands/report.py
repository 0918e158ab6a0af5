"""The command `hares-report`: stored results to a page, a document, or lines for a spreadsheet."""

import sys
from dataclasses import replace
from typing import Any

from hares_tf.commands import flags
from hares_tf.commands.declaration import SWITCH, Flag, ListParser
from hares_tf.commands.program import Command
from hares_tf.utils.progress import Progress

NAME = "hares-report"
DESCRIPTION = """
writes a report of stored results: a page, a Markdown document, or lines for a spreadsheet.

Results are folders (the --output of hares-evaluate, or a part of it) and result files:

    # one page, readable offline
    hares-report results --output=report.html

    # the same for a pull request and a spreadsheet, beside the paper's Tables 6 and 9
    hares-report results --published=6,9 --output=report.md,scores.csv

The report begins with a ranking by mean and by mean rank, for HARES and for own tasks separately.
Scores of different protocols are never ranked together. Averages are shown where the paper would
print them: all tasks of a domain, or all twelve, complete and of one protocol; elsewhere a footnote
gives the reason. Confusions, worst classes and paired differences of models come from the
predictions beside the results (--nodetails leaves them out).
"""

FLAGS = {
    "Input and output": (
        replace(
            flags.RESULTS,
            help=f"{flags.RESULTS.help} They may also be given without the flag's name.",
            required=True,
        ),
        flags.listed(
            "output", ["report.html"], "The files to write; .html, .md or .csv is the format."
        ),
        replace(flags.PROGRESS, help="How it is reported what is done: text, JSON, or nothing."),
    ),
    "Content": (
        Flag(
            "published",
            "Numbers of the paper's tables whose rows are shown beside the twelve tasks; "
            "--published= for none.",
            ["4"],
            ListParser(choices=("2", "3", "4", "6", "7", "8", "9")),
        ),
        Flag(
            "details",
            "Read the predictions: confusions, worst classes, differences of models.",
            True,
            SWITCH,
        ),
        flags.integer(
            "resamples",
            1000,
            "Resamples for the interval of a difference of two models; 0 leaves differences out.",
            lowest=0,
        ),
        flags.integer("seed", 0, "Seed of the resamples.", lowest=0),
    ),
}


def _run(values: Any) -> None:
    from hares_tf.evaluation.report import write

    problems = write(
        values.results,
        values.output,
        tables=[int(number) for number in values.published],
        details=values.details,
        resamples=values.resamples,
        seed=values.seed,
        say=Progress(values.progress).say,
    )
    for problem in problems:
        print(f"{NAME}: note: {problem}", file=sys.stderr)


COMMAND = Command(NAME, DESCRIPTION, FLAGS, _run, positional="results")
main = COMMAND.main

if __name__ == "__main__":
    sys.exit(main())
