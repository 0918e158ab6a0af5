"""The flags that several commands share."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from absl import flags as absl_flags

from hares_tf.commands.declaration import Condition, Flag, ListParser, UsageError
from hares_tf.evaluation.encoders.interface import NORMALIZATIONS, POOLS, Interface
from hares_tf.evaluation.encoders.runtime import BFLOAT16, FLOAT32, OPENVINO, TENSORFLOW, Runtime
from hares_tf.jobs.runner import LOCAL
from hares_tf.utils.progress import MODES


def choice(name: str, default: str | None, choices: Sequence[str], text: str, **rules: Any) -> Flag:
    """A flag whose value is one of some words."""
    return Flag(name, text, default, absl_flags.EnumParser(list(choices)), **rules)


def integer(
    name: str,
    default: int | None,
    text: str,
    *,
    lowest: int | None = None,
    highest: int | None = None,
    **rules: Any,
) -> Flag:
    """A flag whose value is a whole number between bounds."""
    return Flag(name, text, default, absl_flags.IntegerParser(lowest, highest), **rules)


def number(name: str, default: float | None, text: str) -> Flag:
    """A flag whose value is a number."""
    return Flag(name, text, default, absl_flags.FloatParser())


def listed(name: str, default: Sequence[str], text: str, **rules: Any) -> Flag:
    """A flag whose value is a list, by commas or by repeating the flag."""
    return Flag(name, text, list(default), ListParser(), **rules)


HANDLE = Flag(
    "handle",
    "The module: the folder or .tar.gz of a SavedModel, an address on TF-Hub or Kaggle Models, a "
    ".keras file, or python:package.module:function.",
    required=True,
)
HANDLES = replace(
    HANDLE,
    help="The modules to score: SavedModels as folders or .tar.gz, addresses on TF-Hub or Kaggle "
    "Models, .keras files, or python:package.module:function.",
    parser=ListParser(),
)
TASKS = listed(
    "tasks",
    ("mini",),
    "Suites (hares, mini), ids of tasks, task files (.toml), and Python files that declare tasks "
    "(.py, or module:TASK; their code is run).",
)
DATA_DIR = Flag(
    "data_dir",
    "Folder with one folder per data set, as distributed (hares-check-data describes the layout), "
    "and the root of the manifests of task files. Default for those: each task file's folder.",
)
TFDS_DIR = Flag(
    "tfds_dir",
    "Folder of data sets that tensorflow-datasets has prepared: NSynth, VoxForge, VoxCeleb and the "
    "12-label Speech Commands are read from there, where it has them.",
)
OUTPUT = Flag("output", "The folder to create.", required=True)
OVERWRITE = Flag("overwrite", "Replace what is at --output.", False, absl_flags.BooleanParser())
RESULTS = listed("results", (), "Folders that hares-evaluate wrote to, or result files in them.")
PLUGIN = listed(
    "plugin",
    (),
    "Modules or Python files that register encoders or objectives of your own; their code is run.",
)
PROGRESS = choice(
    "progress", "bar", MODES, "Progress on stderr: a bar, one JSON object per line, or nothing."
)
WORKERS = integer("workers", None, "Processes of --runner=local. Default: one per core.", lowest=1)
RUNNER = Flag(
    "runner",
    "local, processes of this machine; or an Apache Beam runner (DirectRunner, FlinkRunner, "
    "DataflowRunner; pip install hares-tf[beam]) whose workers find all files under the same "
    "paths.",
    LOCAL,
)
BEAM_OPTIONS = Flag(
    "beam_options",
    "Options of the Beam runner, each as --key=value.",
    [],
    # Values may hold commas of their own, JSON for example.
    ListParser(separator=r",(?=--)"),
)

# Recordings with labels.

#: The labels come from a table. Only then its columns matter.
TABLE = Condition("labels", "--labels=FILE.csv", lambda value: value not in (None, "subfolder"))
LABELS = Flag(
    "labels",
    "subfolder: the first folder in a file's path is its label. Else a CSV file with a header, "
    "whose paths are relative to --audio.",
)
FILE_COLUMN = Flag("file_column", "The column that holds paths.", "file", goes_with=(TABLE,))
LABEL_COLUMN = Flag("label_column", "The column that holds labels.", "label", goes_with=(TABLE,))
WHERE = Flag(
    "where",
    "COLUMN=VALUE or COLUMN=VALUE,VALUE: use the rows with one of these values. Of repeated flags "
    "all must hold.",
    [],
    ListParser(separator=None),
    goes_with=(TABLE,),
)


def where(values: absl_flags.FlagValues) -> list[tuple[str, tuple[str, ...]]]:
    """Returns (column, values) of each `--where`.

    Raises:
        UsageError: one is not of the form COLUMN=VALUE.
    """
    conditions = []
    for text in values.where:
        column, equals, cells = text.partition("=")
        if not column.strip() or not equals:
            raise UsageError(f"--where={text}: write --where=COLUMN=VALUE, such as fold=1,2,3.")
        conditions.append((column.strip(), tuple(cell.strip() for cell in cells.split(","))))
    return conditions


# How a module is called, and by which runtime.

INTERFACE = (
    integer(
        "sample_rate",
        None,
        "Sample rate in hertz that the module expects, if neither its card nor a preset states it.",
    ),
    Flag(
        "entry_point",
        "The function to call: __call__, or the name of a function or signature. Default: probed.",
    ),
    Flag(
        "output_key",
        "The output that holds the embedding: a name, or a position. Default: embedding, or the "
        "only one.",
    ),
    integer(
        "window_samples",
        None,
        "The only length that the module takes; longer windows are cut into tiles of this length. "
        "Default: probed.",
    ),
    choice("pool", None, POOLS, "How a time axis is pooled. Default: mean."),
    integer(
        "input_rank",
        None,
        "1: one waveform at a time, 2: [batch, samples], 3: [batch, samples, 1]. Default: probed.",
        lowest=1,
        highest=3,
    ),
    choice(
        "normalize",
        None,
        NORMALIZATIONS,
        "How each waveform is scaled first: to zero mean and unit deviation, or to a peak of 0.25. "
        "Default: none.",
    ),
)
RUNTIME = (
    choice(
        "runtime",
        TENSORFLOW,
        (TENSORFLOW, OPENVINO),
        "The library that computes the embeddings. openvino (pip install hares-tf[openvino]) is "
        "faster on a CPU; modules that it cannot convert are computed by TensorFlow, with a note.",
    ),
    choice(
        "runtime_precision",
        FLOAT32,
        (FLOAT32, BFLOAT16),
        "With --runtime=openvino: float32, or bfloat16, which is fast on processors that have it "
        "(AMX, AVX512_BF16) and rounds to 8 bits.",
    ),
)


def interface(values: absl_flags.FlagValues) -> Interface:
    """Returns the interface that the flags of `INTERFACE` state; None for what they leave open."""
    return Interface(
        sample_rate=values.sample_rate,
        entry_point=values.entry_point,
        output_key=values.output_key,
        window_samples=values.window_samples,
        pool=values.pool,
        input_rank=values.input_rank,
        normalize=values.normalize,
    )


def runtime(values: absl_flags.FlagValues) -> Runtime:
    """Returns the runtime that the flags of `RUNTIME` choose."""
    return Runtime(values.runtime, values.runtime_precision)
