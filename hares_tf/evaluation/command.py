"""The command `hares-evaluate` (also `python benchmarks/hares.py`)."""

from collections.abc import Sequence

from absl import flags

from hares_tf import command
from hares_tf.evaluation import interface_flags
from hares_tf.evaluation.errors import EvaluationError

NAME = "hares-evaluate"
DESCRIPTION = """
scores audio encoders: embeds recordings with a frozen module, trains a small head, tests it.

A handle is a SavedModel's folder (exported by export_hub.py or anybody's) or .tar.gz, an address on
TF-Hub or Kaggle Models, a .keras file, or python:package.module:function. How to call it is found
out and stated; flags, a model_card.json beside saved_model.pb, or a preset of well-known modules
decide what cannot be found out. Tasks are a suite, the id of one of its tasks, or a task file:

    # what can this model do? (synthetic, no data needed, a minute)
    hares-evaluate --handle=exports/slowfast_nfnet_f0 --tasks=mini

    # two models side by side on recordings of your own
    hares-evaluate --handle=exports/a --handle=exports/b --tasks=barks.toml,birds.toml

A task file names a CSV with one row per recording:

    domain = "environment"           # environment, speech or music
    manifest = "barks.csv"           # beside this file, or below --data_dir
    window_seconds = 5.0             # recordings are cut into windows of this length
    head = "linear"                  # linear (needs a split column), svm (needs a fold column)

    [columns]
    file = "file"                    # audio paths, relative to the CSV
    label = "label"
    split = "split"                  # train, validation, test; empty: left out

Results appear as OUTPUT/PROTOCOL/MODEL-HASH/TASK.json and as a table on stdout. Embeddings are kept
in a store: a second run computes nothing again, a changed model or recording is noticed. To score
anew, delete the result. Killed or interrupted? The same command goes on where it stopped.
"""


def define_flags() -> flags.FlagValues:
    """The flags of the command."""
    from hares_tf.evaluation.protocols import PROTOCOLS

    values = flags.FlagValues()
    flags.DEFINE_multi_string(
        "handle",
        None,
        "A module to score; repeat the flag to compare several.",
        flag_values=values,
    )
    flags.DEFINE_list(
        "tasks",
        ["mini"],
        "Suites, task ids and task files, separated by commas.",
        flag_values=values,
    )
    flags.DEFINE_enum(
        "protocol",
        "fast",
        sorted(PROTOCOLS),
        "How heads are trained and chosen. Scores of different protocols cannot be compared.",
        flag_values=values,
    )
    flags.DEFINE_string("output", "results", "Folder for the results.", flag_values=values)
    flags.DEFINE_string(
        "data_dir",
        None,
        "Folder that the manifests of task files are relative to. Default: the "
        "folder of each task file.",
        flag_values=values,
    )
    flags.DEFINE_string(
        "store",
        None,
        "Folder of the embedding store. Default: `embeddings` in $HARES_CACHE_DIR, "
        "or in the user's cache folder.",
        flag_values=values,
    )
    interface_flags.define(values)
    flags.DEFINE_bool(
        "verify",
        False,
        "Hash every file again instead of trusting its size and time.",
        flag_values=values,
    )
    flags.DEFINE_bool(
        "quiet",
        False,
        "Print the table only, no progress.",
        flag_values=values,
    )
    return values


def _main(values: flags.FlagValues) -> None:
    if not values.handle:
        raise EvaluationError("name the module to score with --handle=FOLDER")
    from hares_tf.evaluation.report import table
    from hares_tf.evaluation.runner import evaluate

    results = evaluate(
        values.handle,
        values.tasks,
        protocol=values.protocol,
        output=values.output,
        store=values.store,
        data_dir=values.data_dir,
        interface=interface_flags.read(values),
        verify=values.verify,
        progress=not values.quiet,
    )
    print(table(results))


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; gives its exit code."""
    return command.run(NAME, DESCRIPTION, define_flags(), _main, argv)
