"""The tables of "Towards Learning Universal Audio Representations" as data.

Each `tableN.toml` beside this file holds one table as the paper prints it, `tasks.toml` holds
Table 1, and `models.toml` the properties of models in Table 2. Scores are in percent: mean average
precision for `audioset` and `magnatagatune`, accuracy for the other tasks (Section 2.1).

* Tables 2, 3, 4 and 6 to 9 have scores: `rows`. Tables 2 and 3 print averages only; their details
  are in Tables 6 to 9, which do not cover CPC, Wav2Vec2.0 and BYOL-A (Table 4 has most of those).
* Table 5 is the architecture of Slowfast NFNet-F0 and has no scores: `stages`.

Reading them needs neither TensorFlow nor NumPy.
"""

import functools
import statistics
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources

from hares_tf.evaluation.errors import EvaluationError

OBJECTIVES = ("classification", "simclr", "byol_a", "cpc", "wav2vec2")
TABLES = (2, 3, 4, 6, 7, 8, 9)
AVERAGES = ("environment", "speech", "music", "hares")

# The paper averaged scores before it rounded them to 0.1, so a mean of printed scores need not
# round to the printed mean. The largest distance in these tables is exactly 0.05 (seven averages
# that end in 5 are printed with the lower digit); the rest is for binary fractions.
AVERAGE_TOLERANCE = 0.051


@dataclass(frozen=True)
class PublishedTask:
    """One row of Table 1.

    Attributes:
        id: of the task in this project.
        name: as printed.
        domain: "environment", "speech" or "music".
        kind: the kind of recognition, as printed.
        samples: number of clips, as printed ("1.9m"); it counts training and test clips.
        classes: number of classes.
        metric: "mAP" or "accuracy" (Section 2.1).
        used_in: citations of earlier work on it, as printed.
    """

    id: str
    name: str
    domain: str
    kind: str
    samples: str
    classes: int
    metric: str
    used_in: str


@dataclass(frozen=True)
class PublishedRow:
    """One trained model in one table.

    Attributes:
        table: number of the table.
        name: of the model as printed there, without citations; in Tables 8 and 9 with the heading
            that four columns share.
        model: the model's id, the same in all tables and for all objectives.
        objective: one of `OBJECTIVES`.
        training_data: "AudioSet", "LibriSpeech" or "MagnaTagATune, Million Songs".
        input_format: "Spectrogram" or "Waveform" (Table 2, Section 3); None where not stated.
        parameters: as printed in Table 2 ("63m"); None for models that are not in it.
        used_in: citations of earlier work with the model, as printed in Table 2; None likewise.
        scores: percent by task id, all twelve in the order of Table 1; None where none is printed.
        averages: printed means by name (`AVERAGES`), percent; None where none is printed.
        train_step_ms: time of a full training step on the TPU (Table 3), else None.
        source: "ours" (trained by the authors) or the work that Table 4 quotes.
        note: text of a printed footnote, else "".
    """

    table: int
    name: str
    model: str
    objective: str
    training_data: str
    input_format: str | None
    parameters: str | None
    used_in: str | None
    scores: dict[str, float | None]
    averages: dict[str, float | None]
    train_step_ms: float | None = None
    source: str = "ours"
    note: str = ""

    @property
    def complete(self) -> bool:
        """Whether the table prints all twelve scores."""
        return None not in self.scores.values()


@dataclass(frozen=True)
class PublishedStage:
    """One stage of Slowfast NFNet-F0 (Table 5); the paths are "slow" and "fast".

    Attributes:
        name: as printed.
        convolutions: by path, the `(time, frequency, channels)` of one repeat, in order.
        repeats: how many times they are repeated.
        stride: by path, `(time, frequency)`; empty where not printed (the blocks).
        size: by path, `(time, frequency)` of the output; for the spectrogram one entry, "input".
    """

    name: str
    convolutions: dict[str, tuple[tuple[int, int, int], ...]]
    repeats: int
    stride: dict[str, tuple[int, int]]
    size: dict[str, tuple[int, int]]


@functools.cache
def _read(name: str) -> dict:
    """Returns the content of a data file; callers must not change it."""
    return tomllib.loads((resources.files(__name__) / f"{name}.toml").read_text(encoding="utf-8"))


TASKS: dict[str, PublishedTask] = {
    task_id: PublishedTask(id=task_id, **fields) for task_id, fields in _read("tasks").items()
}
"""The twelve tasks by id, in the order of Table 1."""

DOMAIN_TASKS: dict[str, tuple[str, ...]] = {
    domain: tuple(task.id for task in TASKS.values() if task.domain == domain)
    for domain in ("environment", "speech", "music")
}
"""Ids of the tasks of each domain, in the order of Table 1."""


def averages(scores: Mapping[str, float | None]) -> dict[str, float | None]:
    """Returns the means that the tables print, from scores of tasks.

    A domain's average is the mean over its tasks; HARES is the unweighted mean over all twelve, not
    the mean of the three domains (the domains have 4, 5 and 3 tasks).

    Args:
        scores: by task id, in percent; other ids are ignored.

    Returns:
        The means by name (`AVERAGES`), unrounded; None where a task is absent or None.
    """
    groups = {**DOMAIN_TASKS, "hares": tuple(TASKS)}
    means: dict[str, float | None] = {}
    for name in AVERAGES:
        values = [score for t in groups[name] if (score := scores.get(t)) is not None]
        means[name] = statistics.fmean(values) if len(values) == len(groups[name]) else None
    return means


def rows(table: int | None = None) -> list[PublishedRow]:
    """Returns the rows of one table, or of all tables with scores, as they are printed.

    A model in several tables has a row for each. Table 2 prints two objectives in one line; they
    are two rows, classification first.

    Args:
        table: one of `TABLES`; default: all of them.

    Raises:
        EvaluationError: there are no scores in a table of that number.
    """
    if table is None:
        return [row for number in TABLES for row in rows(number)]
    if table not in TABLES:
        raise EvaluationError(
            f"There are no rows of scores in table {table!r}; tables with scores are "
            f"{', '.join(map(str, TABLES))} (Table 1: TASKS; Table 5: stages())."
        )
    content = _read(f"table{table}")
    return [
        _row(table, entry)
        for entry in (_from_lines(content) if "row" in content else _from_columns(content))
    ]


def _row(table: int, entry: dict) -> PublishedRow:
    """Returns a row from the fields of a table; `numbers` holds scores and averages by name."""
    numbers = entry.pop("numbers")
    described = _read("models")[entry["model"]]
    return PublishedRow(
        table=table,
        input_format=described.get("input_format"),
        parameters=described.get("parameters"),
        used_in=described.get("used_in"),
        scores={task_id: numbers.get(task_id) for task_id in TASKS},
        averages={name: numbers.get(name) for name in AVERAGES},
        **{"training_data": "AudioSet", **entry},
    )


def _from_lines(content: dict) -> list[dict]:
    """Tables 2 and 3: one entry per model, with a group of numbers for each objective."""
    return [
        {
            **{key: value for key, value in line.items() if key not in OBJECTIVES},
            "objective": objective,
            "numbers": line[objective],
        }
        for line in content["row"]
        for objective in OBJECTIVES
        if objective in line
    ]


def _from_columns(content: dict) -> list[dict]:
    """Tables 4 and 6 to 9: a list per printed line, an item per model; "-" means not printed."""
    entries = []
    for index, name in enumerate(content["name"]):
        column = {
            key: value[index] if isinstance(value, list) else value
            for key, value in content.items()
            if not isinstance(value, dict)
        }
        numbers = {key: None if column[key] == "-" else column[key] for key in (*TASKS, *AVERAGES)}
        entry = {key: value for key, value in column.items() if key not in numbers}
        source = entry.get("source", "ours")
        if source != "ours":
            entry["source"] = f"{source} {content['references'][source]}"
        entry["note"] = content.get("notes", {}).get(name, "")
        entries.append({**entry, "numbers": numbers})
    return entries


def stages() -> list[PublishedStage]:
    """Returns Table 5: the stages of Slowfast NFNet-F0, in order.

    Comments in `table5.toml` list its contradictions to the rest of the paper and to the released
    network.
    """
    return [
        PublishedStage(
            name=stage["name"],
            convolutions={
                path: tuple(map(tuple, stage[path])) for path in ("slow", "fast") if path in stage
            },
            repeats=stage.get("repeats", 1),
            stride={path: tuple(pair) for path, pair in stage.get("stride", {}).items()},
            size={path: tuple(pair) for path, pair in stage["size"].items()},
        )
        for stage in _read("table5")["stage"]
    ]
