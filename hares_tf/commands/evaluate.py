"""The command `hares-evaluate` (also `python benchmarks/hares.py`)."""

import sys
from collections.abc import Sequence

from absl import flags

from hares_tf.commands import interface_flags
from hares_tf.commands import program as command
from hares_tf.evaluation.encoders import runtime as runtimes
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

    # the twelve tasks of HARES, on data sets that you have (see hares-check-data)
    hares-evaluate --handle=exports/f0 --tasks=hares --data_dir=data --compare

    # one of them as in the paper: 400,000 steps of Adam on four random crops of each clip
    hares-evaluate --handle=exports/f0 --tasks=voxforge --data_dir=data --protocol=paper

    # two models side by side on recordings of your own
    hares-evaluate --handle=exports/a --handle=exports/b --tasks=barks.toml,birds.toml

A task file names a CSV with one row per recording:

    domain = "environment"           # environment, speech or music
    manifest = "barks.csv"           # beside this file, or below --data_dir
    window_seconds = 5.0             # recordings are cut into windows of this length
    labels = "classes"               # classes; tags (separated by ";"); slots (several columns)
    head = "linear"                  # linear, mlp, or svm (needs a fold column)

    [columns]
    file = "file"                    # audio paths, relative to the CSV
    label = "label"
    split = "split"                  # train, validation, test; empty: left out

Results appear as OUTPUT/PROTOCOL/MODEL-HASH/TASK.json and as a table on stdout; `hares-report`
makes a page of them. Embeddings are kept in a store: a second run computes nothing again, a changed
model or recording is noticed. To score anew, delete the result. Killed or interrupted? The same
command goes on where it stopped.
"""


def define_flags() -> flags.FlagValues:
    """The flags of the command."""
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
        "Suites (hares, mini), task ids and task files, separated by commas.",
        flag_values=values,
    )
    flags.DEFINE_string("output", "results", "Folder for the results.", flag_values=values)
    flags.DEFINE_bool(
        "compare",
        False,
        "Print the paper's rows (Table 4) beside the scores.",
        flag_values=values,
    )
    _define_data_flags(values)
    _define_protocol_flags(values)
    interface_flags.define(values)
    runtimes.define_flags(values)
    _define_running_flags(values)
    return values


def _define_data_flags(values: flags.FlagValues) -> None:
    flags.DEFINE_string(
        "data_dir",
        None,
        "Folder with one folder per data set, as distributed (hares-check-data says how); also what"
        " the manifests of task files are relative to. Default for those: each task file's folder.",
        flag_values=values,
    )
    flags.DEFINE_string(
        "tfds_dir",
        None,
        "Folder of data sets that tensorflow-datasets has prepared: NSynth, VoxForge, VoxCeleb and "
        "the 12-label Speech Commands are taken from there, where it has them.",
        flag_values=values,
    )
    flags.DEFINE_bool(
        "subset",
        False,
        "Score what is there of a data set that is not whole, as incomplete; leave out tasks whose "
        "data set is not there at all.",
        flag_values=values,
    )
    flags.DEFINE_bool(
        "verify",
        False,
        "Hash every file again instead of trusting its size and time.",
        flag_values=values,
    )


def _define_protocol_flags(values: flags.FlagValues) -> None:
    flags.DEFINE_enum(
        "protocol",
        "fast",
        ["fast", "paper", "smoke"],
        "How heads are trained and chosen: fast, convex heads; paper, as Appendix A; smoke, a "
        "closed form in seconds. Scores of different protocols cannot be compared.",
        flag_values=values,
    )
    flags.DEFINE_string(
        "views",
        "4",
        "paper: random crops per training clip that are embedded once; online: every crop anew, as "
        "the paper did; grid: crops at every quarter of a second.",
        flag_values=values,
    )
    flags.DEFINE_integer(
        "seeds",
        1,
        "paper: heads from different initial weights, trained in one pass; their mean counts.",
        lower_bound=1,
        flag_values=values,
    )
    flags.DEFINE_integer(
        "steps",
        None,
        "paper: steps of training instead of the task's own; such scores stand apart.",
        lower_bound=1,
        flag_values=values,
    )
    flags.DEFINE_enum(
        "average",
        "logits",
        ["logits", "probabilities"],
        "What is averaged over the windows of a clip.",
        flag_values=values,
    )
    flags.DEFINE_enum(
        "augmentation",
        "mixing",
        ["mixing", "none"],
        "paper, ESC-50: ten mixtures of each training clip, or the clip itself.",
        flag_values=values,
    )
    flags.DEFINE_bool(
        "standardize",
        False,
        "paper: scale features to zero mean and unit deviation before Adam.",
        flag_values=values,
    )
    flags.DEFINE_string(
        "native_head",
        None,
        "Output that holds a module's own AudioSet scores (527 classes, official order): AudioSet "
        "is then scored by them, as the paper does for supervised models.",
        flag_values=values,
    )


def _define_running_flags(values: flags.FlagValues) -> None:
    flags.DEFINE_string(
        "store",
        None,
        "Folder of the embedding store. Default: `embeddings` in $HARES_CACHE_DIR, "
        "or in the user's cache folder.",
        flag_values=values,
    )
    flags.DEFINE_bool(
        "embed_only",
        False,
        "Only embed, in several processes; the ordinary command then finds the store filled.",
        flag_values=values,
    )
    flags.DEFINE_string(
        "runner",
        None,
        "--embed_only: local, processes of this machine (the default); else an Apache Beam runner "
        "(DirectRunner, FlinkRunner, DataflowRunner; pip install hares-tf[beam]) whose workers "
        "reach module, audio and --store under the same paths.",
        flag_values=values,
    )
    flags.DEFINE_integer(
        "workers",
        None,
        "--embed_only: processes of the local runner. Default: one for every four cores, at least "
        "two.",
        lower_bound=1,
        flag_values=values,
    )
    flags.DEFINE_list(
        "beam_options",
        [],
        "--embed_only: options of the Beam runner, as --key=value, separated by commas.",
        flag_values=values,
    )
    flags.DEFINE_bool("quiet", False, "Print the table only, no progress.", flag_values=values)
    flags.DEFINE_bool(
        "json_progress",
        False,
        "Progress as one JSON object per line on stderr, for programs.",
        flag_values=values,
    )


def _options(values: flags.FlagValues):
    from hares_tf.evaluation.protocols import Options

    return Options(
        views=int(values.views) if values.views.isdecimal() else values.views,
        seeds=values.seeds,
        average=values.average,
        augmentation=values.augmentation,
        standardize=values.standardize,
        steps=values.steps,
    )


def _main(values: flags.FlagValues) -> None:
    if not values.handle:
        raise EvaluationError("name the module to score with --handle=FOLDER")
    for name in ("runner", "workers", "beam_options"):
        if values[name].value and not values.embed_only:
            raise EvaluationError(f"--{name} goes with --embed_only")
    for name in ("views", "seeds", "steps", "augmentation", "standardize"):
        if values[name].present and values.protocol != "paper":
            raise EvaluationError(f"--{name} goes with --protocol=paper")
    if values.embed_only and values.views == "online":
        raise EvaluationError(
            "--views=online embeds crops while a head trains: --embed_only cannot"
        )
    shared = {
        "protocol": values.protocol,
        "options": _options(values),
        "store": values.store,
        "data_dir": values.data_dir,
        "tfds_dir": values.tfds_dir,
        "subset": values.subset,
        "interface": interface_flags.read(values),
        "native_head": values.native_head,
        "runtime": runtimes.read_flags(values),
        "verify": values.verify,
        "progress": "json" if values.json_progress else "none" if values.quiet else "bar",
    }
    from hares_tf.evaluation import embed_only, evaluate
    from hares_tf.jobs import Runner

    if values.embed_only:
        runner = Runner(values.runner or "local", values.workers, tuple(values.beam_options))
        failures = embed_only(values.handle, values.tasks, runner=runner, **shared)
        for handle, by_task in failures.items():
            failed = sum(map(len, by_task.values()))
            print(
                f"{handle}: everything is embedded" + (f", {failed} clip(s) failed" * bool(failed))
            )
        return
    from hares_tf.evaluation.report import compare, table

    models = evaluate(values.handle, values.tasks, output=values.output, **shared)
    results = [[result.to_json() for result in model] for model in models]
    print(table(results))
    if values.compare:
        print()
        print(compare(results))


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; gives its exit code."""
    return command.run(NAME, DESCRIPTION, define_flags(), _main, argv)


if __name__ == "__main__":
    sys.exit(main())
