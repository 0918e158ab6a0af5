"""Fluent Speech Commands: what does a spoken command ask for, as three slots?

30,043 commands by 97 speakers (Lugosch et al., arXiv:1904.03670). Appendix A: three sets of logits
of one linear layer, one for each slot; a clip is right only if all three are; crops of 3 s for
training, all consecutive 3 s for testing. 23,132 + 3,793 clips are the paper's 27k.

Traps: the 31 intents of Table 1 are the triples that occur, not classes of their own. Others number
the values by their first appearance in the training table; here they are fixed and sorted. A value
`none` is a value. The tables' first column has no name.
"""

from hares_tf.evaluation.errors import EvaluationError
from hares_tf.evaluation.tasks.declaration import Dataset, Manifest, Places, Task, Windows
from hares_tf.evaluation.tasks.finding import find
from hares_tf.evaluation.tasks.labels import Labels
from hares_tf.evaluation.tasks.listing import Listing, located_rows
from hares_tf.recordings.archives import sounds_in

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
LABELS = Labels.slots(SLOTS)
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
    listing = Listing(LABELS)
    for part, file in _TABLES.items():
        for where, row in located_rows(root / "data" / file, ("path", *SLOTS)):
            listing.add(where, row["path"], tuple(row[slot] for slot in SLOTS), part)
    return listing.manifest(LABELS, sounds, root, DATASET)


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
