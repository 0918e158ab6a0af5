"""The command `hares-finetune`."""

import contextlib
import signal
import sys
import threading
from collections.abc import Iterator, Sequence

from absl import flags

from hares_tf.commands import interface_flags, where_flag
from hares_tf.commands import program as command
from hares_tf.finetune.errors import FinetuneError
from hares_tf.finetune.settings import Settings
from hares_tf.utils.progress import MODES
from hares_tf.utils.quiet import quiet_import

NAME = "hares-finetune"
DESCRIPTION = """
makes a classifier of an encoder and a folder of labelled recordings: a Hub module that gives the
embedding and the logits of your classes, with their names in it.

    # one folder for each class
    hares-finetune --handle=exports/f0 --audio=animals --output=exports/animals

    # a table with one row for each file
    hares-finetune --handle=exports/f0 --audio=esc50 --labels=esc50/meta/esc50.csv \\
        --file_column=filename --label_column=category --where=fold=1,2,3 --output=exports/esc50

    # with a split of your own: a column with the words train, validation and test
    hares-finetune ... --labels=clips.csv --split_column=split

    # the head alone, the encoder as it is: quick
    hares-finetune ... --epochs=0

The recordings are decoded once and split, the same way for the same seed: a fifth of every class is
held out to test with, 15% to choose with; copies of one recording stay together. First the head is
trained on the embeddings of the frozen encoder (logistic regression). Then encoder and head are
trained together on random windows, and the epoch that is best on the validation clips is kept; if
none is better than the frozen encoder, that is kept. At last the test clips are scored, once with
the frozen encoder, once with what is kept.

Any SavedModel may be fine-tuned that hares-evaluate can score; of one without trainable variables
only the head is trained. Beside the module a report appears: report.json, held_out.csv (what was
said of every test clip) and confusion.svg. Interrupted, nothing is written.

    # afterwards
    hares-evaluate --handle=exports/animals
    python -c "import hares_tf.hub as h; print(h.load('exports/animals').logits([[0.0] * 16000]))"
"""


def define_flags() -> flags.FlagValues:
    """The flags of the command."""
    values = flags.FlagValues()
    flags.DEFINE_string("handle", None, "The module to fine-tune.", flag_values=values)
    flags.DEFINE_string(
        "audio",
        None,
        "The folder of the recordings (or a .zip or .tar of it).",
        flag_values=values,
    )
    flags.DEFINE_string("output", None, "The folder of the new module.", flag_values=values)
    flags.DEFINE_string(
        "report", None, "The folder of the report. Default: OUTPUT-report.", flag_values=values
    )
    _define_label_flags(values)
    _define_training_flags(values)
    flags.DEFINE_string(
        "name",
        None,
        "The new module's name. Default: the old one's and _finetuned.",
        flag_values=values,
    )
    flags.DEFINE_bool(
        "overwrite",
        False,
        "Replace a module and a report that are there already.",
        flag_values=values,
    )
    flags.DEFINE_enum("progress", "bar", MODES, "How progress is told.", flag_values=values)
    interface_flags.define(values)
    return values


def _define_label_flags(values: flags.FlagValues) -> None:
    flags.DEFINE_string(
        "labels",
        "subfolder",
        "subfolder: the first folder in a file's path is its label. Else a CSV with a header, its "
        "paths being relative to --audio.",
        flag_values=values,
    )
    flags.DEFINE_string(
        "file_column", "file", "The column of the CSV that holds paths.", flag_values=values
    )
    flags.DEFINE_string(
        "label_column", "label", "The column of the CSV that holds labels.", flag_values=values
    )
    flags.DEFINE_string(
        "split_column",
        None,
        "The column of the CSV that holds train, validation or test. Default: split by --seed.",
        flag_values=values,
    )
    where_flag.define(values)


def _define_training_flags(values: flags.FlagValues) -> None:
    default = Settings()
    flags.DEFINE_float(
        "window_seconds",
        None,
        "Length of the windows that are trained on and scored. Default: what the module takes, if "
        "that is one length, else that of nearly all recordings, at most 5.",
        flag_values=values,
    )
    flags.DEFINE_integer(
        "epochs",
        default.epochs,
        "Passes over the training clips with the encoder unfrozen; 0: train the head alone.",
        flag_values=values,
    )
    flags.DEFINE_float(
        "learning_rate",
        default.learning_rate,
        "Of Adam, at its highest: it rises for a tenth of the steps and falls to 0 as a cosine.",
        flag_values=values,
    )
    flags.DEFINE_integer(
        "batch",
        default.batch,
        "Windows in a training step; a smaller number needs less memory.",
        flag_values=values,
    )
    flags.DEFINE_integer(
        "seed",
        default.seed,
        "Decides the split, the windows and their order.",
        lower_bound=0,
        upper_bound=2**31 - 1,
        flag_values=values,
    )


def _main(values: flags.FlagValues) -> int | None:
    for name in ("handle", "audio", "output"):
        if not values[name].value:
            raise FinetuneError(f"give --{name} (see `{NAME} --help`)")
    interface = interface_flags.read(values)
    settings = Settings(
        window_seconds=values.window_seconds,
        epochs=values.epochs,
        learning_rate=values.learning_rate,
        batch=values.batch,
        seed=values.seed,
    )
    try:
        with _terminated_as_interrupted():
            from hares_tf.finetune.pipeline import check_paths, finetune
            from hares_tf.finetune.recordings import read_recordings

            options = _table_options(values)
            # Before the recordings are listed and TensorFlow starts, which may take minutes.
            check_paths(values.handle, values.output, values.report, values.overwrite)
            recordings = read_recordings(values.audio, values.labels, **options)
            with quiet_import():
                import tensorflow as tf
            for device in tf.config.list_physical_devices("GPU"):
                tf.config.experimental.set_memory_growth(device, True)

            done = finetune(
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
    except KeyboardInterrupt:
        print(f"\n{NAME}: interrupted; nothing was written", file=sys.stderr)
        return 130
    print(done.text)
    return 0


def _table_options(values: flags.FlagValues) -> dict:
    where = where_flag.read(values)
    if values.labels == "subfolder":
        for name in ("file_column", "label_column", "split_column", "where"):
            if values[name].present:
                raise FinetuneError(f"--{name} goes with --labels=FILE.csv")
        return {}
    return {
        "file_column": values.file_column,
        "label_column": values.label_column,
        "split_column": values.split_column,
        "where": where,
    }


@contextlib.contextmanager
def _terminated_as_interrupted() -> Iterator[None]:
    """SIGTERM as Ctrl-C: what is half written is taken away.

    Elsewhere than in the main thread signals cannot be caught.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(_number, _frame):
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; gives its exit code."""
    return command.run(NAME, DESCRIPTION, define_flags(), _main, argv)


if __name__ == "__main__":
    sys.exit(main())
