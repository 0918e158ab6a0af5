"""NSynth: small trees in the published layout, as folders and as tars read in place."""

import json
import tarfile

import numpy as np
import pytest
import soundfile

from hares_tf.evaluation.tasks.declaration import Places
from hares_tf.evaluation.tasks.nsynth import TASKS
from hares_tf.utils.errors import HaresError

INSTRUMENT, PITCH = TASKS
# Not in the order of their names, as in the published lists.
NOTES = {
    "train": ["synth_lead_synthetic_000-127-050", "bass_acoustic_000-009-127"],
    "valid": ["vocal_synthetic_003-060-025", "flute_acoustic_002-100-025"],
    "test": ["organ_electronic_001-021-075"],
}


def fields(note):
    """An entry of examples.json, with all its published fields."""
    instrument, pitch, velocity = note.rsplit("-", 2)
    family, source, _ = instrument.rsplit("_", 2)
    return {
        "note": 201034,
        "sample_rate": 16000,
        "instrument_family": 4,
        "qualities": [0, 1, 0, 0, 0, 0, 0, 0, 0, 0],
        "instrument_source_str": source,
        "note_str": note,
        "instrument_family_str": family,
        "instrument_str": instrument,
        "pitch": int(pitch),
        "instrument": 417,
        "velocity": int(velocity),
        "instrument_source": 1,
        "qualities_str": ["dark"],
    }


@pytest.fixture
def tree(tmp_path):
    root = tmp_path / "nsynth"
    for split, notes in NOTES.items():
        audio = root / f"nsynth-{split}" / "audio"
        audio.mkdir(parents=True)
        for note in notes:
            level = int(note.split("-")[-2]) / 200
            soundfile.write(audio / f"{note}.wav", np.full(640, level, "float32"), 16_000)
        # Not in the list: the residue of a Mac, and a note of another split.
        (audio / f"._{notes[0]}.wav").touch()
        soundfile.write(audio / "unlisted_acoustic_000-050-050.wav", np.zeros(9), 16_000)
        table = {note: fields(note) for note in notes}
        (audio.parent / "examples.json").write_text(json.dumps(table, indent=4))
    return root


def pack(tree, split, mode="w", prefix=""):
    folder = tree / f"nsynth-{split}"
    name = f"nsynth-{split}.jsonwav.tar" + (".gz" if mode == "w:gz" else "")
    with tarfile.open(tree / name, mode) as archive:
        archive.add(folder, f"{prefix}nsynth-{split}")
    folder.rename(tree / f"unused-{split}")


def check(data_dir):
    order = [
        ("bass_acoustic_000-009-127", "train", "bass", "9"),
        ("synth_lead_synthetic_000-127-050", "train", "synth_lead", "127"),
        ("flute_acoustic_002-100-025", "validation", "flute", "100"),
        ("vocal_synthetic_003-060-025", "validation", "vocal", "60"),
        ("organ_electronic_001-021-075", "test", "organ", "21"),
    ]
    instrument, pitch = (task.read(Places(data_dir)) for task in TASKS)
    assert [(c.id, c.part, c.label) for c in instrument.clips] == [x[:3] for x in order]
    assert [(c.id, c.part, c.label) for c in pitch.clips] == [x[:2] + x[3:] for x in order]
    for clip in pitch.clips:
        waveform = clip.sound.load(16_000)
        assert waveform.shape == (640,)
        assert waveform[7] == pytest.approx(int(clip.label) / 200, abs=1e-4)
    assert instrument.missing == pitch.missing == ()
    # Numbers within the label spaces: families in the data set's order, pitches as they are.
    labels = [clip.label for clip in instrument.clips]
    assert instrument.labels.targets(labels)[:, 0].tolist() == [0, 9, 2, 10, 6]
    labels = [clip.label for clip in pitch.clips]
    assert pitch.labels.targets(labels)[:, 0].tolist() == [9, 127, 100, 60, 21]
    assert (instrument.labels.width, pitch.labels.width) == (11, 128)
    return instrument


def test_folders(tree, tmp_path):
    check(tmp_path)


def test_folders_directly_in_the_data_folder(tree, tmp_path):
    for path in tree.iterdir():
        path.rename(tmp_path / path.name)
    check(tmp_path)


@pytest.mark.parametrize("prefix", ["", "./"])
def test_tars_are_read_in_place(tree, tmp_path, prefix):
    for split in NOTES:
        pack(tree, split, prefix=prefix)
    manifest = check(tmp_path)
    assert all(clip.sound.container.endswith(".jsonwav.tar") for clip in manifest.clips)


def test_folder_tar_and_compressed_tar_side_by_side(tree, tmp_path):
    pack(tree, "valid")
    pack(tree, "test", "w:gz")
    check(tmp_path)


def test_a_large_compressed_tar_is_refused(tree, tmp_path, monkeypatch):
    pack(tree, "train", "w:gz")
    monkeypatch.setattr("hares_tf.recordings.archives._LARGEST_COMPRESSED_TAR", 10)
    with pytest.raises(HaresError, match="gunzip"):
        INSTRUMENT.read(Places(tmp_path))


@pytest.mark.parametrize("packed", [False, True])
def test_absent_notes_are_named(tree, tmp_path, packed):
    (tree / "nsynth-train" / "audio" / "bass_acoustic_000-009-127.wav").unlink()
    if packed:
        pack(tree, "train")
    for task in TASKS:
        manifest = task.read(Places(tmp_path))
        assert manifest.missing == ("bass_acoustic_000-009-127",)
        assert manifest.part_sizes == {"train": 1, "validation": 2, "test": 1}


def test_names_that_lead_elsewhere_are_missing(tree, tmp_path):
    soundfile.write(tmp_path / "secret.wav", np.zeros(9), 16_000)
    note = "../../../secret"
    entry = fields("organ_electronic_001-021-075")
    (tree / "nsynth-test" / "examples.json").write_text(json.dumps({note: entry}))
    assert PITCH.read(Places(tmp_path)).missing == (note,)


@pytest.mark.parametrize(
    "task, changes, message",
    [
        (INSTRUMENT, {"instrument_family_str": "synth_pad"}, "'synth_pad' is none of the task"),
        (INSTRUMENT, {"instrument_family_str": 4}, "of 'organ.*' is 4, which is not a text"),
        (PITCH, {"pitch": 128}, "organ.*'128' is none of the task's 128"),
        (PITCH, {"pitch": "21"}, "is '21', which"),
        (PITCH, {"pitch": None}, "is None, which"),
    ],
)
def test_unknown_labels(tree, tmp_path, task, changes, message):
    note = "organ_electronic_001-021-075"
    table = tree / "nsynth-test" / "examples.json"
    table.write_text(json.dumps({note: {**fields(note), **changes}}))
    with pytest.raises(HaresError, match=message) as caught:
        task.read(Places(tmp_path))
    assert str(table) in str(caught.value)


def test_an_entry_without_a_pitch(tree, tmp_path):
    note = "organ_electronic_001-021-075"
    entry = fields(note)
    del entry["pitch"]
    (tree / "nsynth-test" / "examples.json").write_text(json.dumps({note: entry}))
    with pytest.raises(HaresError, match=f"pitch of '{note}' is"):
        PITCH.read(Places(tmp_path))


@pytest.mark.parametrize(
    "content, message", [(b'{"bass": {', "is not JSON"), (b"\xff", "is not JSON"), (b"[]", "list")]
)
def test_malformed_lists(tree, tmp_path, content, message):
    (tree / "nsynth-valid" / "examples.json").write_bytes(content)
    with pytest.raises(HaresError, match=message):
        PITCH.read(Places(tmp_path))


def test_absent_data(tree, tmp_path):
    with pytest.raises(HaresError, match="no nsynth-train or"):
        PITCH.read(Places(tmp_path / "nothing"))
    (tree / "nsynth-test" / "examples.json").unlink()
    with pytest.raises(HaresError, match=r"nsynth-test has no examples\.json"):
        PITCH.read(Places(tmp_path))
    (tree / "nsynth-test" / "examples.json").write_text("{}")
    for path in tree.glob("*/audio/*.wav"):
        path.unlink()
    with pytest.raises(HaresError, match="none of the 4 listed recordings"):
        PITCH.read(Places(tmp_path))


def test_windows_of_a_note():
    """Appendix A: 4 s at once, and four windows of 1 s."""
    assert (INSTRUMENT.windows.seconds, INSTRUMENT.windows.train) == (4.0, "whole")
    assert (PITCH.windows.seconds, PITCH.windows.train, PITCH.windows.test) == (
        1.0,
        "crops",
        "tiles",
    )
    # Table 1 of the paper: 293k clips without validation.
    assert INSTRUMENT.expected["train"] + INSTRUMENT.expected["test"] == 293_301
