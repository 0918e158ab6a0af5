"""NSynth: the instrument family, and the pitch, of single notes of four seconds.

The paper takes both tasks from tensorflow-datasets (Appendix A), which holds the published splits
whole: 289,205 notes for training, 12,678 for validation, 4,096 for testing. No instrument of the
training split is in the others. Of the 11 families, `synth_lead` is in the training split only;
pitches are MIDI numbers, all 128, also the few that no piano has. Both heads keep all outputs.

The last second of a note is its release, often near silence: it is one of the four windows of
which the pitch task averages the scores.
"""

import json
from functools import partial

from hares_tf.evaluation.errors import EvaluationError
from hares_tf.evaluation.tasks import prepared_tfds
from hares_tf.evaluation.tasks.declaration import Dataset, Manifest, Places, Task, Windows
from hares_tf.evaluation.tasks.finding import file_content, find
from hares_tf.evaluation.tasks.labels import Labels
from hares_tf.evaluation.tasks.listing import Listing
from hares_tf.recordings.archives import sounds_in
from hares_tf.recordings.sound import Sound

# The order of the data set's own numbers.
FAMILIES = (
    *("bass", "brass", "flute", "guitar", "keyboard", "mallet"),
    *("organ", "reed", "string", "synth_lead", "vocal"),
)
PITCHES = tuple(str(number) for number in range(128))
_LABELS = {
    "instrument_family_str": Labels.classes(FAMILIES),
    "pitch": Labels.classes(PITCHES),
}
# Names of the labels in tensorflow-datasets.
_FEATURES = {"instrument_family_str": "instrument/family", "pitch": "pitch"}
_PARTS = {"train": "train", "valid": "validation", "test": "test"}
_EXPECTED = {"train": 289_205, "validation": 12_678, "test": 4_096}

DATASET = Dataset(
    name="NSynth",
    folder="nsynth",
    license="CC BY 4.0",
    citation="J. Engel et al., Neural audio synthesis of musical notes with WaveNet autoencoders, "
    "ICML 2017",
    obtain="""Download nsynth-train, nsynth-valid and nsynth-test, each as .jsonwav.tar.gz (22 GB,
1 GB, 0.3 GB), from https://magenta.tensorflow.org/datasets/nsynth (files).
Unpack them into DATA_DIR/nsynth/, which gives nsynth-train/examples.json, nsynth-train/audio/ and
so on; or only decompress them (gunzip) to DATA_DIR/nsynth/nsynth-train.jsonwav.tar and so on.
Or give --tfds_dir with nsynth/full prepared by tensorflow-datasets.""",
)


def _read(field: str, places: Places) -> Manifest:
    """Reads all notes of the three lists, by name within a split; ids are the notes' names.

    Args:
        field: of examples.json, a key of `_LABELS`.
        places: where the data may be.
    """
    labels = _LABELS[field]
    prepared = prepared_tfds.read_prepared(
        places, prepared_tfds.NSYNTH, labels, feature=_FEATURES[field]
    )
    if prepared is not None:
        return prepared
    listing = Listing(labels)
    sounds: dict[str, Sound] = {}
    for split, part in _PARTS.items():
        archive = f"nsynth-{split}.jsonwav.tar"
        place = find(places, DATASET, f"nsynth-{split}", archive, f"{archive}.gz")
        # One listing: with the folder in front inside an archive, without it otherwise.
        files = sounds_in(place, "")
        table = next((name for name in files if name.split("/")[-1] == "examples.json"), None)
        if table is None:
            raise EvaluationError(f"{place} has no examples.json. {DATASET.obtain}")
        root = table.removesuffix("examples.json")
        for note, value in sorted(_values(files[table], field).items()):
            if isinstance(value, int) != (field == "pitch"):
                raise EvaluationError(
                    f"{files[table].where}: {field} of {note!r} is {value!r}, which is not "
                    f"{'a number' if field == 'pitch' else 'a text'}."
                )
            listing.add(files[table].where, note, str(value), part)
            if sound := files.get(f"{root}audio/{note}.wav"):
                sounds[note] = sound
    return listing.manifest(labels, sounds, place.parent, DATASET)


def _values(table: Sound, field: str) -> dict[str, object]:
    """Returns the value of a field for every note of an examples.json."""

    def keep(fields: dict) -> object:
        # Called for every object as soon as it is parsed: of 289,205 notes (150 MB of JSON), all
        # that stays is one value each. Only the outermost object has no such field.
        return fields.get(field, fields)

    try:
        values = json.loads(file_content(table), object_hook=keep)
    except ValueError as error:
        raise EvaluationError(f"{table.where} is not JSON: {error}") from error
    if not isinstance(values, dict):
        raise EvaluationError(f"{table.where} is not a list of notes by name.")
    return values


def _task(name: str, field: str, windows: Windows) -> Task:
    return Task(
        id=name,
        version=1,
        domain="music",
        windows=windows,
        head="linear",
        metric="accuracy",
        read=partial(_read, field),
        suite="hares",
        expected=_EXPECTED,
        dataset=DATASET,
        source="hares_tf.evaluation.tasks.nsynth",
    )


# Appendix A: the whole note for instruments; crops of one second for pitches, in testing all four.
TASKS = (
    _task("nsynth_instrument", "instrument_family_str", Windows(4.0, train="whole")),
    _task("nsynth_pitch", "pitch", Windows(1.0)),
)
