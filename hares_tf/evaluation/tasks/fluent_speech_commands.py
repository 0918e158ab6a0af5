"""Fluent Speech Commands: what does a spoken command ask for, as three slots?

30,043 commands by 97 speakers (Lugosch et al., arXiv:1904.03670). Appendix A: three sets of logits
of one linear layer, one for each slot; a clip is right only if all three are; crops of 3 s for
training, all consecutive 3 s for testing. 23,132 + 3,793 clips are the paper's 27k.

Traps: the 31 intents of Table 1 are the triples that occur, not classes of their own. Others number
the values by their first appearance in the training table; here they are fixed and sorted. A value
`none` is a value. The tables' first column has no name.
"""

from pathlib import Path

from hares_tf.evaluation.errors import EvaluationError
from hares_tf.evaluation.tasks.declaration import Clip, Dataset, Manifest, Places, Task, Windows
from hares_tf.evaluation.tasks.finding import find
from hares_tf.evaluation.tasks.labels import Labels
from hares_tf.recordings.archives import sounds_in
from hares_tf.recordings.tables import read_table

SLOTS = {
    "action": ("activate", "bring", "change language", "deactivate", "decrease", "increase"),
    "object": (
        "Chinese",
        "English",
        "German",
        "Korean",
        "heat",
        "juice",
        "lamp",
        "lights",
        "music",
        "newspaper",
        "none",
        "shoes",
        "socks",
        "volume",
    ),
    "location": ("bedroom", "kitchen", "none", "washroom"),
}
_TABLES = {"train": "train_data.csv", "validation": "valid_data.csv", "test": "test_data.csv"}
_FOLDER = "fluent_speech_commands_dataset"

DATASET = Dataset(
    name="Fluent Speech Commands",
    folder="fluent_speech_commands",
    license="Fluent Speech Commands Public License (academic research)",
    citation="L. Lugosch et al., Speech model pre-training for end-to-end spoken language "
    "understanding, Interspeech 2019",
    obtain=f"""Ask for the data at https://fluent.ai/research/fluent-speech-commands/ (about 1.5 GB;
where that page is gone, mirrors carry the same folder).
Unpack them to DATA_DIR/fluent_speech_commands/{_FOLDER}/, which holds
data/{{train,valid,test}}_data.csv and wavs/speakers/SPEAKER/UTTERANCE.wav.""",
)


def _read(places: Places) -> Manifest:
    table = f"data/{_TABLES['train']}"
    root = find(places, DATASET, f"{_FOLDER}/{table}", table).parent.parent
    if not (root / "wavs").is_dir():
        raise EvaluationError(f"{root} has tables but no folder wavs; unpack the recordings there.")
    sounds = {f"wavs/{name}": sound for name, sound in sounds_in(root / "wavs").items()}
    clips: list[Clip] = []
    missing: list[str] = []
    first: dict[str, str] = {}
    for part, file in _TABLES.items():
        for where, path, label in _rows(root / "data" / file):
            if path in first:
                raise EvaluationError(f"{where}: {path} is listed already ({first[path]}).")
            first[path] = where
            if path in sounds:
                clips.append(Clip(path, sounds[path], label, part))
            else:
                missing.append(path)
    if not clips:
        raise EvaluationError(
            f"None of the {len(missing)} listed recordings (such as {next(iter(first), 'none')}) "
            f"is in {root}; unpack them there."
        )
    return Manifest(tuple(clips), Labels.slots(SLOTS), missing=tuple(missing))


def _rows(table: Path):
    """Yields (place, path, (action, object, location)) of every row."""
    for number, row in read_table(table, ("path", *SLOTS)):
        for slot, names in SLOTS.items():
            if row[slot] not in names:
                raise EvaluationError(
                    f"{table}, row {number}: the {slot} {row[slot]!r} is not one of "
                    f"{', '.join(names)}."
                )
        yield f"{table}, row {number}", row["path"], tuple(row[slot] for slot in SLOTS)


TASKS = (
    Task(
        id="fluent_speech_commands",
        version=1,
        domain="speech",
        windows=Windows(seconds=3.0),
        head="linear",
        metric="exact_match",
        read=_read,
        suite="hares",
        expected={"train": 23_132, "validation": 3_118, "test": 3_793},
        dataset=DATASET,
        source="hares_tf.evaluation.tasks.fluent_speech_commands",
    ),
)
