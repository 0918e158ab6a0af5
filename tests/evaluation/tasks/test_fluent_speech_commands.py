"""Fluent Speech Commands: slots, tables and absent recordings, on a small tree."""

import csv

import numpy as np
import pytest
import soundfile

from hares_tf.evaluation.tasks.declaration import Places
from hares_tf.evaluation.tasks.fluent_speech_commands import SLOTS, TASKS
from hares_tf.utils.errors import HaresError

(TASK,) = TASKS
HEADER = ",path,speakerId,transcription,action,object,location\n"
ROWS = {
    "train_data.csv": [
        '0,wavs/speakers/AA/1.wav,AA,"Please, turn on the lights",activate,lights,none',
        "1,wavs/speakers/AA/2.wav,AA,Use Chinese,change language,Chinese,none",
    ],
    "valid_data.csv": ["0,wavs/speakers/BB/1.wav,BB,Heat up,increase,heat,washroom"],
    "test_data.csv": ["0,wavs/speakers/CC/1.wav,CC,Get socks,bring,socks,none"],
}


@pytest.fixture
def root(tmp_path):
    root = tmp_path / "fluent_speech_commands" / "fluent_speech_commands_dataset"
    (root / "data").mkdir(parents=True)
    for table, rows in ROWS.items():
        (root / "data" / table).write_text(HEADER + "\n".join(rows) + "\n")
        for row in rows:
            path = root / row.split(",")[1]
            path.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(path, np.zeros(400, "float32"), 16_000)
    return root


def test_clips_have_three_slots_and_a_split(root, tmp_path):
    # Recordings that no table lists take no part.
    soundfile.write(root / "wavs/speakers/AA/3.wav", np.zeros(400, "float32"), 16_000)
    manifest = TASK.read(Places(tmp_path))
    assert [(clip.id, clip.label, clip.part) for clip in manifest.clips] == [
        ("wavs/speakers/AA/1.wav", ("activate", "lights", "none"), "train"),
        ("wavs/speakers/AA/2.wav", ("change language", "Chinese", "none"), "train"),
        ("wavs/speakers/BB/1.wav", ("increase", "heat", "washroom"), "validation"),
        ("wavs/speakers/CC/1.wav", ("bring", "socks", "none"), "test"),
    ]
    assert manifest.missing == ()
    assert manifest.labels.widths == (6, 14, 4)
    # Numbers within the sorted slots, not in the order of their first appearance.
    targets = manifest.labels.targets([clip.label for clip in manifest.clips])
    assert targets.tolist() == [[0, 7, 2], [2, 0, 2], [5, 4, 3], [1, 12, 2]]
    assert manifest.clips[0].sound.load(16_000).shape == (400,)


def test_the_dataset_may_lie_in_its_own_folder_directly(root, tmp_path):
    root.rename(tmp_path / "other")
    (tmp_path / "fluent_speech_commands").rmdir()
    (tmp_path / "other").rename(tmp_path / "fluent_speech_commands")
    assert len(TASK.read(Places(tmp_path)).clips) == 4


def test_absent_recordings_are_listed(root, tmp_path):
    (root / "wavs/speakers/CC/1.wav").unlink()
    manifest = TASK.read(Places(tmp_path))
    assert manifest.missing == ("wavs/speakers/CC/1.wav",)
    assert manifest.part_sizes == {"train": 2, "validation": 1}


def test_a_listed_path_cannot_leave_the_folder(root, tmp_path):
    outside = tmp_path / "outside.wav"
    soundfile.write(outside, np.zeros(400, "float32"), 16_000)
    for path in (str(outside), "wavs/../../../outside.wav"):
        row = f"0,{path},CC,Get socks,bring,socks,none"
        (root / "data/test_data.csv").write_text(HEADER + row)
        assert TASK.read(Places(tmp_path)).missing == (path,)


@pytest.mark.parametrize(
    ("header", "row", "message"),
    [
        (HEADER, "0,a.wav,CC,x,bring,trousers,none", r"row 2 .*'trousers' is none"),
        (HEADER, "0,a.wav,CC,x,bring,socks", r"row 2: [16] cells"),
        (HEADER, "0,wavs/speakers/AA/1.wav,C,x,bring,socks,none", "listed already .*train_data"),
        ("path,action,object\n", "a,b,c", "no column 'location'"),
    ],
)
def test_malformed_tables_are_refused(root, tmp_path, header, row, message):
    (root / "data/test_data.csv").write_text(header + row + "\n")
    with pytest.raises(HaresError, match=message):
        TASK.read(Places(tmp_path))


def test_absent_parts_are_named(root, tmp_path):
    (root / "data/valid_data.csv").rename(tmp_path / "valid_data.csv")
    with pytest.raises(HaresError, match=r"Cannot read .*valid_data\.csv"):
        TASK.read(Places(tmp_path))
    (tmp_path / "valid_data.csv").rename(root / "data/valid_data.csv")
    (root / "wavs").rename(root / "sounds")
    with pytest.raises(HaresError, match="no folder wavs"):
        TASK.read(Places(tmp_path))
    (root / "wavs").mkdir()
    with pytest.raises(HaresError, match="holds none of the 4 listed recordings"):
        TASK.read(Places(tmp_path))
    with pytest.raises(HaresError, match=r"fluent\.ai"):
        TASK.read(Places(tmp_path / "nothing"))


def test_the_published_intents_use_exactly_the_slots(shared_dir):
    with open(shared_dir / "metadata" / "fluent_speech_commands" / "intents.csv") as file:
        intents = list(csv.DictReader(file))
    assert len(intents) == 31
    for slot, names in SLOTS.items():
        assert sorted({intent[slot] for intent in intents}) == list(names)


def test_the_splits_are_the_whole_data_set():
    assert sum(TASK.expected.values()) == 30_043  # utterances, arXiv:1904.03670
