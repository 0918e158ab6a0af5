"""The command `hares-evaluate` (also `python benchmarks/hares.py`): scores audio encoders."""

import sys
from dataclasses import replace
from typing import Any

from hares_tf.commands import flags
from hares_tf.commands.declaration import SWITCH, Flag, NumberOr, UsageError, equals, given
from hares_tf.commands.program import Command

DESCRIPTION = """
scores audio encoders: embeds recordings with a frozen module, trains a small head, tests it.

A handle is a SavedModel (of hares-export or of anybody else) as a folder or .tar.gz, an address on
TF-Hub or Kaggle Models, a .keras file, or python:package.module:function. The command probes how
to call it, and prints what it chose; flags, a model_card.json beside saved_model.pb, or a preset of
well-known modules decide what cannot be probed. Tasks are suites, ids of tasks, and task files:

    # a first look: the synthetic suite (needs no data, takes a minute)
    hares-evaluate --handle=exports/slowfast_nfnet_f0 --tasks=mini

    # the twelve tasks of HARES, on data sets that you have (see hares-check-data)
    hares-evaluate --handle=exports/f0 --tasks=hares --data_dir=data --compare

    # one of them as in the paper: 400,000 steps of Adam on four random crops of each clip
    hares-evaluate --handle=exports/f0 --tasks=voxforge --data_dir=data --protocol=paper

    # two models side by side on recordings of your own
    hares-evaluate --handle=exports/a,exports/b --tasks=barks.toml,birds.toml

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

Results are written to OUTPUT/PROTOCOL/MODEL-HASH/TASK.json and printed as a table; `hares-report`
makes a page of them. Embeddings are kept in a store, by the content of model and recording, and are
not computed again. After an interruption the same command continues where it stopped. To score a
model again, delete its results.
"""


_PAPER = (equals("protocol", "paper"),)
_EMBED_ONLY = (given("embed_only"),)
FLAGS = {
    "Models, tasks and results": (
        flags.HANDLES,
        flags.listed(
            "name",
            (),
            "Names of the modules in results and tables, in the order of --handle. Default: those "
            "of their cards, folders or functions.",
        ),
        flags.TASKS,
        Flag("output", "Folder for the results.", "results"),
        Flag("compare", "Print the paper's rows (Table 4) beside the scores.", False, SWITCH),
        flags.PROGRESS,
    ),
    "Data": (
        flags.DATA_DIR,
        flags.TFDS_DIR,
        Flag(
            "subset",
            "Score incomplete data sets with the clips that are there, and mark the scores as "
            "incomplete; leave out tasks whose data set is absent.",
            False,
            SWITCH,
        ),
        Flag("verify", "Hash every file again instead of trusting size and time.", False, SWITCH),
    ),
    "Protocol": (
        flags.choice(
            "protocol",
            "fast",
            ("fast", "paper", "smoke"),
            "How heads are trained and chosen: fast, convex heads; paper, as Appendix A; smoke, a "
            "closed form in seconds. Scores of different protocols cannot be compared.",
        ),
        Flag(
            "views",
            "Random crops per training clip that are embedded once; online: every crop is embedded "
            "anew, as the paper did; grid: crops at every quarter of a second.",
            4,
            NumberOr("online", "grid"),
            goes_with=_PAPER,
        ),
        flags.integer(
            "seeds",
            1,
            "Heads from different initial weights, trained in one pass; their mean is the score.",
            lowest=1,
            goes_with=_PAPER,
        ),
        flags.integer(
            "steps",
            None,
            "Training steps instead of the task's own; such scores are a protocol of their own.",
            lowest=1,
            goes_with=_PAPER,
        ),
        flags.choice(
            "augmentation",
            "mixing",
            ("mixing", "none"),
            "ESC-50: ten mixtures of each training clip, or the clip itself.",
            goes_with=_PAPER,
        ),
        Flag(
            "standardize",
            "Scale features to zero mean and unit deviation before Adam.",
            False,
            SWITCH,
            goes_with=_PAPER,
        ),
        flags.choice(
            "average",
            "logits",
            ("logits", "probabilities"),
            "The outputs that are averaged over the windows of a clip.",
        ),
        Flag(
            "native_head",
            "The output that holds a module's own AudioSet scores (527 classes, official order): "
            "AudioSet is then scored by them, as the paper does for supervised models.",
        ),
    ),
    "Interface of the models": flags.INTERFACE,
    "Runtime": flags.RUNTIME,
    "Embedding": (
        Flag(
            "store",
            "Folder of the embedding store. Default: `embeddings` in $HARES_CACHE_DIR, or in the "
            "user's cache folder.",
        ),
        Flag(
            "embed_only",
            "Only embed, in several processes or machines; hares-evaluate then finds all "
            "embeddings in the store.",
            False,
            SWITCH,
        ),
        replace(flags.RUNNER, goes_with=_EMBED_ONLY),
        replace(
            flags.WORKERS,
            help="Processes of --runner=local. Default: one per four cores, at least two.",
            goes_with=_EMBED_ONLY,
        ),
        replace(flags.BEAM_OPTIONS, goes_with=_EMBED_ONLY),
    ),
}


def _run(values: Any) -> None:
    if values.embed_only and values.views == "online":
        raise UsageError(
            "--embed_only cannot embed the crops of --views=online, which are drawn while a head "
            "trains."
        )
    from hares_tf.evaluation import embed_only, evaluate
    from hares_tf.evaluation.protocols import Options
    from hares_tf.jobs import Runner

    settings = {
        "protocol": values.protocol,
        "options": Options(
            views=values.views,
            seeds=values.seeds,
            average=values.average,
            augmentation=values.augmentation,
            standardize=values.standardize,
            steps=values.steps,
        ),
        "store": values.store,
        "data_dir": values.data_dir,
        "tfds_dir": values.tfds_dir,
        "subset": values.subset,
        "interface": flags.interface(values),
        "native_head": values.native_head,
        "runtime": flags.runtime(values),
        "verify": values.verify,
        "progress": values.progress,
        "names": values.name,
    }
    if values.embed_only:
        runner = Runner(values.runner, values.workers, tuple(values.beam_options))
        failures = embed_only(values.handle, values.tasks, runner=runner, **settings)
        for handle, by_task in failures.items():
            failed = sum(map(len, by_task.values()))
            print(
                f"{handle}: everything is embedded" + (f", {failed} clip(s) failed" * bool(failed))
            )
        return
    from hares_tf.evaluation.report import compare, table

    models = evaluate(values.handle, values.tasks, output=values.output, **settings)
    results = [[result.to_json() for result in model] for model in models]
    print(table(results))
    if values.compare:
        print()
        print(compare(results))


COMMAND = Command("hares-evaluate", DESCRIPTION, FLAGS, _run)
main = COMMAND.main

if __name__ == "__main__":
    sys.exit(main())
