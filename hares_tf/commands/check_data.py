"""The command `hares-check-data`: which data sets are there, complete and readable."""

import contextlib
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from hares_tf.commands import flags
from hares_tf.commands.declaration import SWITCH, Flag, NumberOr, UsageError
from hares_tf.commands.program import Command
from hares_tf.evaluation.suites import tasks_named
from hares_tf.evaluation.tasks import checking
from hares_tf.evaluation.tasks.declaration import Places
from hares_tf.utils.cache import cache_dir
from hares_tf.utils.files import DigestCache
from hares_tf.utils.progress import Progress

DESCRIPTION = """
checks which data sets of the HARES tasks are in a folder, whether they are complete and can be
decoded, and describes how to obtain and lay out what is missing.

    hares-check-data --data_dir=data                          # all twelve tasks
    hares-check-data --data_dir=data --tasks=esc50 --decode=all
    hares-check-data --data_dir=data --tasks=nsynth_pitch --duplicates

Nothing is downloaded: licenses and sizes (AudioSet, VoxCeleb) do not allow it, so the steps are
printed. The exit code is 0 if every task is complete, and 1 if something is missing or damaged.
"""

FLAGS = {
    "Data": (
        flags.DATA_DIR,
        flags.TFDS_DIR,
        replace(
            flags.TASKS,
            default=["hares"],
            help="Ids of tasks, and task files (.toml); hares: the twelve; variants: the same data "
            "sets under other rules.",
        ),
    ),
    "Checks": (
        Flag(
            "decode",
            "Number of clips of each task to decode, spread over its list; or all.",
            checking.DECODED_CLIPS,
            NumberOr("all"),
        ),
        Flag(
            "duplicates",
            "Hash every clip to find copies; hares-evaluate reuses the hashes.",
            False,
            SWITCH,
        ),
    ),
    "Output": (
        Flag("details", "Print findings for each task, besides the table.", True, SWITCH),
        flags.PROGRESS,
    ),
}


def _run(values: Any) -> int:
    for name in ("data_dir", "tfds_dir"):
        if values[name].value is not None and not Path(values[name].value).is_dir():
            raise UsageError(f"--{name}={values[name].value}: there is no such folder.")
    places = Places(
        Path(values.data_dir) if values.data_dir else None,
        Path(values.tfds_dir) if values.tfds_dir else None,
    )
    digests: contextlib.AbstractContextManager = contextlib.nullcontext()
    if values.duplicates:
        digests = DigestCache(cache_dir() / "embeddings" / "digests.sqlite")
    progress = Progress(values.progress)
    decode = None if values.decode == "all" else values.decode
    results = []
    with digests as cache:
        for task in tasks_named(values.tasks, values.data_dir):
            results.append(checking.check_task(task, places, decode, cache, progress))
            if values.details:
                print("\n".join(checking.details(results[-1])) + "\n")
    print(checking.table(results))
    return 0 if all(findings.state == "whole" for findings in results) else 1


COMMAND = Command("hares-check-data", DESCRIPTION, FLAGS, _run)
main = COMMAND.main

if __name__ == "__main__":
    sys.exit(main())
