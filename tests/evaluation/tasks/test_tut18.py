"""TUT18: the user's split, the challenge's fold, and another data set with the same names."""

import zipfile
from collections import Counter

import numpy as np
import pytest
import soundfile

from hares_tf.evaluation.tasks import tut18
from hares_tf.evaluation.tasks.declaration import Places
from hares_tf.utils.errors import HaresError

TASK, OFFICIAL = tut18.TASKS
FOLDER = "TUT-urban-acoustic-scenes-2018-development"
# Name of the recording -> (scene, where in fold 1).
RECORDINGS = {
    "airport-barcelona-0-0-a": ("airport", "train"),
    "airport-barcelona-0-1-a": ("airport", "train"),
    "metro-paris-10-320-a": ("metro", "train"),
    "metro_station-paris-10-321-a": ("metro_station", "test"),
    "tram-vienna-7-2-a": ("tram", "test"),
}


@pytest.fixture
def copy(tmp_path):
    """The real layout: tables with tabs, stereo at 48 kHz and 24 bit, mobile data set beside it."""
    home = tmp_path / "tut18" / FOLDER
    (home / "audio").mkdir(parents=True)
    (home / "evaluation_setup").mkdir()
    rows = ["filename\tscene_label\tidentifier\tsource_label\n"]
    folds = {"train": [], "test": []}
    for name, (scene, part) in RECORDINGS.items():
        rows.append(f"audio/{name}.wav\t{scene}\t{name[:-4]}\ta\n")
        folds[part].append(f"audio/{name}.wav")
        wave = np.stack([np.full(48, 0.5), np.zeros(48)], axis=1)
        soundfile.write(home / f"audio/{name}.wav", wave, 48000, "PCM_24")
        other = tmp_path / "tut18/TUT-urban-acoustic-scenes-2018-mobile-development/audio"
        other.mkdir(parents=True, exist_ok=True)
        soundfile.write(other / f"{name}.wav", np.zeros(44), 44100)
    (home / "meta.csv").write_text("".join(rows))
    setup = home / "evaluation_setup"
    for part, name in (("train", "fold1_train.txt"), ("test", "fold1_evaluate.txt")):
        lines = [f"{file}\t{RECORDINGS[file[6:-4]][0]}\n" for file in folds[part]]
        (setup / name).write_text("".join(lines))
    (setup / "fold1_test.txt").write_text("".join(f"{file}\n" for file in folds["test"]))
    return tmp_path


def write_split(data_dir, text):
    (data_dir / "splits").mkdir(exist_ok=True)
    (data_dir / "splits/tut18.csv").write_text("file,split\n" + text)


SPLIT = """\
audio/airport-barcelona-0-0-a.wav,test
airport-barcelona-0-1-a,train
metro-paris-10-320-a.wav,train
C:\\data\\metro_station-paris-10-321-a.wav,train
tram-vienna-7-2-a.WAV,validation
"""


def read(data_dir, task=TASK):
    return task.read(Places(data_dir=data_dir))


def test_declarations_are_appendix_a():
    for task in (TASK, OFFICIAL):
        assert (task.domain, task.head, task.metric) == ("environment", "linear", "accuracy")
        assert (task.windows.seconds, task.windows.test, task.windows.train) == (
            5.0,
            "tiles",
            "crops",
        )
    assert (TASK.id, TASK.suite) == ("tut18", "hares")
    assert (OFFICIAL.id, OFFICIAL.suite) == ("tut18_official", "variant")
    assert sum(OFFICIAL.expected.values()) == 8640


def test_scenes_are_the_challenges(shared_dir):
    import json

    conventions = json.loads((shared_dir / "metadata/conventions.json").read_text())["tut18"]
    assert list(tut18.SCENES) == conventions["scenes"]
    assert sum(OFFICIAL.expected.values()) == conventions["segments"]


def test_without_the_papers_split_it_refuses_and_says_why(copy):
    with pytest.raises(HaresError) as caught:
        read(copy)
    message = str(caught.value)
    for part in (str(copy / "splits/tut18.csv"), "Tagliasacchi", "file,split", "tut18_official"):
        assert part in message


def test_the_users_split(copy, monkeypatch):
    monkeypatch.setattr(tut18, "PAPER_CLIPS", range(4, 6))
    write_split(copy, SPLIT)
    manifest = read(copy)
    assert [(clip.id, clip.label, clip.part) for clip in manifest.clips] == [
        ("airport-barcelona-0-0-a", "airport", "test"),
        ("airport-barcelona-0-1-a", "airport", "train"),
        ("metro-paris-10-320-a", "metro", "train"),
        ("metro_station-paris-10-321-a", "metro_station", "train"),
        ("tram-vienna-7-2-a", "tram", "validation"),
    ]
    assert manifest.labels.names == tut18.SCENES
    assert (manifest.missing, manifest.n_excluded, manifest.notes) == ((), 0, ())
    assert manifest.folds == ()


def test_a_small_split_is_not_the_papers(copy):
    write_split(copy, SPLIT)
    (copy / f"tut18/{FOLDER}/audio/metro-paris-10-320-a.wav").unlink()
    absent, reason = read(copy).missing
    assert absent == "metro-paris-10-320-a"
    assert "has 4 train and test clips; the paper's split has 8,550 to 8,640" in reason


def test_recordings_without_split_are_left_out_and_counted(copy):
    write_split(copy, "tram-vienna-7-2-a,test\nmetro-paris-10-320-a,train\n")
    manifest = read(copy)
    assert [clip.id for clip in manifest.clips] == ["metro-paris-10-320-a", "tram-vienna-7-2-a"]
    assert manifest.n_excluded == 3
    assert manifest.notes == ("3 listed recordings have no split and are left out.",)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (SPLIT + "bus-lyon-1-1-a,train\n", "names 1 recordings .* such as 'bus-lyon-1-1-a'"),
        (SPLIT + "tram-vienna-7-2-a,test\n", r"row 7: tram-.* is listed already \(.*row 6\)"),
        (SPLIT.replace("validation", "dev"), "row 6: the split or fold 'dev' is not one of train"),
        (SPLIT.replace("metro-paris-10-320-a.wav", "audio/"), "row 4: the name .* is empty"),
        (SPLIT.replace("a.wav,test", "a.wav"), "row 2: [16] cells"),
        (SPLIT.replace("test", "train"), "no row has the split 'test'"),
    ],
)
def test_malformed_splits(copy, text, message):
    write_split(copy, text)
    with pytest.raises(HaresError, match=rf"splits/tut18\.csv.*{message}"):
        read(copy)


def test_a_split_without_its_columns(copy):
    write_split(copy, "")
    (copy / "splits/tut18.csv").write_text("name,split\nx,train\n")
    with pytest.raises(HaresError, match="no column 'file'"):
        read(copy)


def test_the_challenges_fold(copy):
    manifest = read(copy, OFFICIAL)
    found = {clip.id: (clip.label, clip.part) for clip in manifest.clips}
    assert found == RECORDINGS
    assert manifest.missing == ()
    # The mobile data set has the same names; the stereo file is the right one, mixed to mono.
    sound = manifest.clips[0].sound
    assert f"/{FOLDER}/audio/" in sound.where
    np.testing.assert_allclose(sound.load(48000), np.full(48, 0.25), atol=1e-6)


def test_audio_archives_beside_the_folder(copy):
    home = copy / "tut18" / FOLDER
    names = sorted(RECORDINGS)
    for number, part in ((1, names[:2]), (13, names[2:4])):
        with zipfile.ZipFile(copy / f"tut18/{FOLDER}.audio.{number}.zip", "w") as archive:
            for name in part:
                archive.write(home / f"audio/{name}.wav", f"{FOLDER}/audio/{name}.wav")
                (home / f"audio/{name}.wav").unlink()
    (home / f"audio/{names[4]}.wav").unlink()
    manifest = read(copy, OFFICIAL)
    assert manifest.missing == (names[4],)
    assert Counter(clip.sound.container.rpartition(".audio.")[2] for clip in manifest.clips) == {
        "1.zip": 2,
        "13.zip": 2,
    }
    assert len(manifest.clips[0].sound.load(48000)) == 48


def test_a_second_copy_is_told(copy):
    home = copy / "tut18" / FOLDER
    name = "tram-vienna-7-2-a.wav"
    with zipfile.ZipFile(copy / f"tut18/{FOLDER}.audio.1.zip", "w") as archive:
        archive.write(home / "audio" / name, f"{FOLDER}/audio/{name}")
    manifest = read(copy, OFFICIAL)
    assert manifest.clips[-1].sound.where == str(home / "audio" / name)
    assert manifest.notes[0].startswith(f"1 recordings are there more than once: {home}")


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        ("fold1_train.txt", "\tmetro\n", "\n", "entry 3: not a file and its scene"),
        ("fold1_train.txt", "\tmetro\n", "\tbeach\n", "entry 3 .*'beach' is none of"),
        ("fold1_evaluate.txt", "tram-vienna-7-2-a", "airport-barcelona-0-0-a", "listed already"),
    ],
)
def test_malformed_folds(copy, file, old, new, message):
    path = copy / f"tut18/{FOLDER}/evaluation_setup" / file
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    with pytest.raises(HaresError, match=rf"{file}.*{message}"):
        read(copy, OFFICIAL)


def test_absent_data(copy):
    with pytest.raises(HaresError, match=r"was not found(.|\n)*zenodo"):
        read(copy / "elsewhere", OFFICIAL)
    (copy / f"tut18/{FOLDER}/evaluation_setup/fold1_evaluate.txt").unlink()
    with pytest.raises(HaresError, match=r"Cannot read .*fold1_evaluate\.txt"):
        read(copy, OFFICIAL)
    path = copy / f"tut18/{FOLDER}/meta.csv"
    path.write_text(path.read_text().replace("\t", ","))
    with pytest.raises(HaresError, match="no column 'filename'"):
        read(copy)
