"""Speech Commands: which word is spoken, in recordings of one second.

Three tasks on one data set (P. Warden, arXiv:1804.03209):

* `speech_commands_v1`: 12 labels. The paper's footnote names the v0.01 archive, but its 90k clips
  are those of the builder `speech_commands` of tensorflow-datasets, which takes the v0.02 archive
  (85,511 for training) and the separate test set (4,890). So does this task.
* `speech_commands_v2`: the 35 words of v0.02 (Appendix A; 84,843 + 11,005 clips are its 96k).
* `speech_commands_v1_v001`: a variant, 12 labels from the v0.01 archive alone.

How tensorflow-datasets builds the 12 labels: ten words keep their names, every other word is
`_unknown_`, all of them (so it dominates training); `_silence_` is cut from the six recordings of
noise, one second long at every half second, where `running_tap.wav` serves validation and the
others serve training. The test set brings its own, balanced `_silence_` and `_unknown_`, partly
with the ending `.wav.wav`.

Recordings of one speaker are in one split: the lists follow a hash of the speaker. Many recordings
are shorter than one second; windows pad them.
"""

import io
from collections.abc import Mapping
from dataclasses import replace
from functools import partial

from hares_tf.evaluation.errors import EvaluationError
from hares_tf.evaluation.tasks import prepared_tfds
from hares_tf.evaluation.tasks.declaration import (
    Clip,
    Dataset,
    Manifest,
    Places,
    Task,
    Windows,
)
from hares_tf.evaluation.tasks.finding import file_content, find
from hares_tf.evaluation.tasks.labels import Labels
from hares_tf.evaluation.tasks.speech_commands_release import (
    NOISE,
    NOISES,
    WORDS,
    WORDS_V001,
    read_release,
)
from hares_tf.recordings.archives import sounds_in
from hares_tf.recordings.sound import Sound, Stretch

COMMANDS = ("down", "go", "left", "no", "off", "on", "right", "stop", "up", "yes")
SILENCE, UNKNOWN = "_silence_", "_unknown_"
# The order of tensorflow-datasets.
LABELS_12 = (*COMMANDS, SILENCE, UNKNOWN)

_PARTS_OF_NOISE = {"running_tap.wav": "validation"}
# The v0.01 archive has no silence for testing. The variant keeps one more recording of noise for
# it, so that none is heard in two splits.
_PARTS_OF_NOISE_V001 = {**_PARTS_OF_NOISE, "exercise_bike.wav": "test"}

_V002, _V001 = "speech_commands_v0.02", "speech_commands_v0.01"
_TEST_SET = "speech_commands_test_set_v0.02"
_URL = "http://download.tensorflow.org/data"

_DATASET_V2 = Dataset(
    name="Speech Commands v0.02",
    folder="speech_commands",
    license="CC BY 4.0",
    citation="P. Warden, Speech Commands: a dataset for limited-vocabulary speech recognition, "
    "arXiv:1804.03209, 2018",
    obtain=f"""Download {_URL}/{_V002}.tar.gz (2.4 GB).
Unpack it into DATA_DIR/speech_commands/{_V002}/ (its words and lists lie at the top), or
decompress it to DATA_DIR/speech_commands/{_V002}.tar, which is read in place.""",
)
_DATASET_V1 = replace(
    _DATASET_V2,
    name="Speech Commands v0.02 with its test set",
    obtain=f"""{_DATASET_V2.obtain}
Download {_URL}/{_TEST_SET}.tar.gz (113 MB) as well;
unpack it into DATA_DIR/speech_commands/{_TEST_SET}/, or decompress it to
DATA_DIR/speech_commands/{_TEST_SET}.tar.""",
)
_DATASET_V001 = replace(
    _DATASET_V2,
    name="Speech Commands v0.01",
    obtain=_DATASET_V2.obtain.replace(_V002, _V001).replace("2.4 GB", "1.5 GB"),
)


def _read_v1(places: Places) -> Manifest:
    if (prepared := prepared_tfds.speech_commands(places, Labels.classes(LABELS_12))) is not None:
        return prepared
    release = read_release(places, _DATASET_V1, _V002, WORDS)
    # The test recordings of the archive are not used: the test set is a choice of them.
    clips = [clip for clip in release.clips(_label_of_12) if clip.part != "test"]
    clips += _silence(release.noises, _PARTS_OF_NOISE)
    clips += _test_set(places)
    return Manifest(
        clips=tuple(clips),
        labels=Labels.classes(LABELS_12),
        missing=(*release.missing("validation"), *release.missing_noises()),
        notes=(
            "The 12 labels are built from v0.02 and its test set, as tensorflow-datasets does; "
            "scores on v0.01 are another task (speech_commands_v1_v001).",
        ),
    )


def _read_v2(places: Places) -> Manifest:
    release = read_release(places, _DATASET_V2, _V002, WORDS)
    return Manifest(
        clips=tuple(release.clips(str)),
        labels=Labels.classes(WORDS),
        missing=tuple(release.missing("validation", "test")),
    )


def _read_v1_v001(places: Places) -> Manifest:
    release = read_release(places, _DATASET_V001, _V001, WORDS_V001)
    clips = release.clips(_label_of_12) + _silence(release.noises, _PARTS_OF_NOISE_V001)
    return Manifest(
        clips=tuple(clips),
        labels=Labels.classes(LABELS_12),
        missing=(*release.missing("validation", "test"), *release.missing_noises()),
    )


def _label_of_12(word: str) -> str:
    return word if word in COMMANDS else UNKNOWN


def _silence(noises: Mapping[str, Sound], parts: Mapping[str, str]) -> list[Clip]:
    """Cuts stretches of one second at every half second, as tensorflow-datasets does.

    Starts are `range(0, samples - rate, rate // 2)`, so the stretch that would end with the
    recording is not among them.
    """
    import soundfile

    clips = []
    for name in NOISES:
        if name not in noises:
            continue
        try:
            header = soundfile.info(io.BytesIO(file_content(noises[name])))
        except soundfile.SoundFileError as error:
            raise EvaluationError(
                f"{noises[name].where} is not a recording that can be read ({error}); fetch it "
                "again."
            ) from error
        rate = header.samplerate
        for start in range(0, header.frames - rate, rate // 2):
            stretch = Stretch(noises[name], start / rate, start / rate + 1)
            clip_id = f"{NOISE}/{name}[{start}]"
            clips.append(Clip(clip_id, stretch, SILENCE, parts.get(name, "train")))
    return clips


def _test_set(places: Places) -> list[Clip]:
    """Returns all clips of the separate test set: LABEL/FILE.wav, some of them .wav.wav."""
    place = find(places, _DATASET_V1, _TEST_SET, f"{_TEST_SET}.tar", f"{_TEST_SET}.tar.gz")
    clips = []
    for path, sound in sorted(sounds_in(place).items()):
        folder, _, file = path.removeprefix(f"{_TEST_SET}/").rpartition("/")
        if folder not in LABELS_12:
            raise EvaluationError(
                f"{sound.where}: {folder or 'the top'} is none of the {len(LABELS_12)} labels "
                f"({', '.join(LABELS_12)}); keep only the test set in {place}."
            )
        clips.append(Clip(f"{_TEST_SET}/{folder}/{file}", sound, folder, "test"))
    if not clips:
        raise EvaluationError(f"{place} holds no .wav file; unpack the test set there again.")
    return clips


_task = partial(
    Task,
    version=1,
    domain="speech",
    windows=Windows(seconds=1.0, train="whole"),
    head="linear",
    metric="accuracy",
    source="hares_tf.evaluation.tasks.speech_commands",
)

TASKS = (
    _task(
        "speech_commands_v1",
        read=_read_v1,
        suite="hares",
        expected={"train": 85_511, "validation": 10_102, "test": 4_890},
        dataset=_DATASET_V1,
    ),
    _task(
        "speech_commands_v2",
        read=_read_v2,
        suite="hares",
        expected={"train": 84_843, "validation": 9_981, "test": 11_005},
        dataset=_DATASET_V2,
    ),
    # No published count of its silence: its lists tell what is missing.
    _task(
        "speech_commands_v1_v001",
        read=_read_v1_v001,
        suite="variant",
        dataset=_DATASET_V001,
    ),
)
