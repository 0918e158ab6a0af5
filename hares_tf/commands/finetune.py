"""The command `hares-finetune`: a folder of labeled recordings to a fine-tuned module."""

import sys
from dataclasses import replace
from typing import Any

from hares_tf.commands import flags
from hares_tf.commands.declaration import Flag
from hares_tf.commands.program import Command
from hares_tf.finetune.settings import Settings
from hares_tf.utils.keras import require_tensorflow_backend
from hares_tf.utils.tensorflow import import_tensorflow

DESCRIPTION = """
trains a classifier on an encoder and a folder of labeled recordings: a Hub module that returns the
embedding and the logits of your classes, whose names it contains.

    # one folder per class
    hares-finetune --handle=exports/f0 --audio=animals --output=exports/animals

    # a table with one row per file
    hares-finetune --handle=exports/f0 --audio=esc50 --labels=esc50/meta/esc50.csv \\
        --file_column=filename --label_column=category --where=fold=1,2,3 --output=exports/esc50

    # a split of your own: a column that holds train, validation or test
    hares-finetune ... --labels=clips.csv --split_column=split

    # the head alone, on the frozen encoder: quick
    hares-finetune ... --epochs=0

The recordings are decoded once and split by the seed: a fifth of every class is held out for
testing, 15% for validation; copies of one recording stay together. First the head is trained on the
embeddings of the frozen encoder (logistic regression). Then encoder and head are trained together
on random windows, and the epoch that is best on the validation clips is kept, or the frozen encoder
if no epoch is better. Finally the test clips are scored with the frozen encoder and with the one
that was kept.

Every SavedModel that hares-evaluate can score may be fine-tuned; if it has no trainable variables,
only the head is trained. A report is written beside the module: report.json, held_out.csv (the
prediction for every test clip) and confusion.svg. An interrupted run writes nothing.

    # afterwards
    hares-evaluate --handle=exports/animals
    python -c "import hares_tf.hub as h; print(h.load('exports/animals').logits([[0.0] * 16000]))"
"""

_DEFAULT = Settings()
FLAGS = {
    "Module": (
        replace(
            flags.HANDLE,
            help="The module to fine-tune: the folder or .tar.gz of a SavedModel, or an address on "
            "TF-Hub or Kaggle Models.",
        ),
        replace(flags.OUTPUT, help="The folder of the new module."),
        Flag("report", "The folder of the report. Default: OUTPUT-report."),
        Flag("name", "The new module's name. Default: the old one's and _finetuned."),
        replace(flags.OVERWRITE, help="Replace a module and a report that are there already."),
        flags.PROGRESS,
    ),
    "Recordings": (
        Flag("audio", "The folder of the recordings, or a .zip or .tar of it.", required=True),
        replace(flags.LABELS, default="subfolder"),
        flags.FILE_COLUMN,
        flags.LABEL_COLUMN,
        Flag(
            "split_column",
            "The column that holds train, validation or test. Default: split by --seed.",
            goes_with=(flags.TABLE,),
        ),
        flags.WHERE,
    ),
    "Training": (
        flags.number(
            "window_seconds",
            None,
            "Length of the windows for training and scoring. Default: the length that the module "
            "takes, if there is only one, else that of nearly all recordings, at most 5.",
        ),
        flags.integer(
            "epochs",
            _DEFAULT.epochs,
            "Passes over the training clips with the encoder unfrozen; 0: train the head alone.",
        ),
        flags.number(
            "learning_rate",
            _DEFAULT.learning_rate,
            "The highest learning rate of Adam: it rises for a tenth of the steps and falls to 0 "
            "as a cosine.",
        ),
        flags.integer(
            "batch",
            _DEFAULT.batch,
            "Windows in a training step; a smaller number needs less memory.",
        ),
        flags.integer(
            "seed",
            _DEFAULT.seed,
            "Decides the split, the windows and their order.",
            lowest=0,
            highest=2**31 - 1,
        ),
    ),
    "Interface of the module": flags.INTERFACE,
}


def _run(values: Any) -> None:
    interface = flags.interface(values)
    settings = Settings(
        window_seconds=values.window_seconds,
        epochs=values.epochs,
        learning_rate=values.learning_rate,
        batch=values.batch,
        seed=values.seed,
    )
    table = {}
    if values.labels != "subfolder":
        table = {
            "file_column": values.file_column,
            "label_column": values.label_column,
            "split_column": values.split_column,
            "where": flags.where(values),
        }
    from hares_tf.finetune.pipeline import check_paths, finetune
    from hares_tf.finetune.recordings import read_recordings

    # Before the recordings are listed and TensorFlow starts, which may take minutes.
    check_paths(values.handle, values.output, values.report, values.overwrite)
    recordings = read_recordings(values.audio, values.labels, **table)
    tf = import_tensorflow()
    require_tensorflow_backend("Fine-tuning")
    for device in tf.config.list_physical_devices("GPU"):
        tf.config.experimental.set_memory_growth(device, True)
    result = finetune(
        values.handle,
        recordings,
        values.output,
        settings=settings,
        interface=interface,
        report=values.report,
        name=values.name,
        overwrite=values.overwrite,
        progress=values.progress,
    )
    print(result.text)


COMMAND = Command("hares-finetune", DESCRIPTION, FLAGS, _run, interrupted="nothing was written")
main = COMMAND.main

if __name__ == "__main__":
    sys.exit(main())
