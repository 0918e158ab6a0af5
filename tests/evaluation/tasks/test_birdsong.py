"""Birdsong: three tables, one namespace of clips, the user's split and the challenge's scheme."""

import json
import zipfile

import numpy as np
import pytest
import soundfile

from hares_tf.evaluation.tasks import birdsong
from hares_tf.evaluation.tasks.declaration import Places
from hares_tf.utils.errors import HaresError

TASK, OFFICIAL = birdsong.TASKS
# Data set -> {clip: hasbird}.
CLIPS = {
    "ff1010bird": {"64486": "0", "2525": "1"},
    "warblrb10k": {"759808e5-f824-401e-9058": "1", "1d94fc4a-1c63-4da0-9be3": "0"},
    "BirdVox-DCASE-20k": {"00053d90-e4b9-4045-a2f1-f39efc90cfa9": "1"},
}
TABLES = {
    "ff1010bird": "ff1010bird_metadata_2018.csv",
    "warblrb10k": "warblrb10k_public_metadata_2018.csv",
    "BirdVox-DCASE-20k": "BirdVoxDCASE20k_csvpublic.csv",
}
# As people unpack them: a folder of its own with `wav` in it, without `wav`, and bare `wav`.
FOLDERS = {"ff1010bird": "ff1010bird/wav", "warblrb10k": "wav", "BirdVox-DCASE-20k": "BirdVox"}


@pytest.fixture
def copy(tmp_path):
    root = tmp_path / "birdsong"
    for name, clips in CLIPS.items():
        (root / FOLDERS[name]).mkdir(parents=True)
        rows = [f"{clip},{name},{label}\n" for clip, label in clips.items()]
        (root / TABLES[name]).write_text("itemid,datasetid,hasbird\n" + "".join(rows))
        for clip in clips:
            soundfile.write(root / FOLDERS[name] / f"{clip}.wav", np.zeros(44), 44100)
    return tmp_path


SPLIT = """\
64486,train
wav/2525.wav,test
759808e5-f824-401e-9058.wav,test
1d94fc4a-1c63-4da0-9be3,validation
BirdVox-DCASE-20k/wav/00053d90-e4b9-4045-a2f1-f39efc90cfa9.wav,train
"""


def write_split(data_dir, text=SPLIT):
    (data_dir / "splits").mkdir(exist_ok=True)
    (data_dir / "splits/birdsong.csv").write_text("file,split\n" + text)


def read(data_dir, task=OFFICIAL):
    return task.read(Places(data_dir=data_dir))


def test_declarations_are_appendix_a():
    for task in (TASK, OFFICIAL):
        assert (task.domain, task.head, task.metric) == ("environment", "linear", "accuracy")
        assert (task.windows.seconds, task.windows.test, task.windows.train) == (
            1.0,
            "tiles",
            "crops",
        )
    assert (TASK.id, TASK.suite) == ("birdsong", "hares")
    assert (OFFICIAL.id, OFFICIAL.suite) == ("birdsong_official", "variant")


def test_sizes_are_the_challenges(shared_dir):
    conventions = json.loads((shared_dir / "metadata/conventions.json").read_text())
    sizes = conventions["birdsong_dcase2018_task3"]["development_sets"]
    assert sorted(OFFICIAL.expected.values()) == sorted(sizes.values())
    assert birdsong.PAPER_CLIPS.stop - 1 == sum(sizes.values())


def test_without_the_papers_split_it_refuses_and_says_why(copy):
    with pytest.raises(HaresError) as caught:
        read(copy, TASK)
    message = str(caught.value)
    for part in (
        str(copy / "splits/birdsong.csv"),
        "Tagliasacchi",
        "file,split",
        "birdsong_official",
    ):
        assert part in message


def test_the_users_split(copy, monkeypatch):
    monkeypatch.setattr(birdsong, "PAPER_CLIPS", range(4, 5))
    write_split(copy)
    manifest = read(copy, TASK)
    assert {clip.id: (clip.label, clip.part) for clip in manifest.clips} == {
        "64486": ("0", "train"),
        "2525": ("1", "test"),
        "759808e5-f824-401e-9058": ("1", "test"),
        "1d94fc4a-1c63-4da0-9be3": ("0", "validation"),
        "00053d90-e4b9-4045-a2f1-f39efc90cfa9": ("1", "train"),
    }
    assert (manifest.folds, manifest.missing, manifest.n_excluded) == ((), (), 0)


@pytest.mark.parametrize("clips", [range(1, 4), range(5, 9)])
def test_a_split_of_another_size_is_not_the_papers(copy, monkeypatch, clips):
    monkeypatch.setattr(birdsong, "PAPER_CLIPS", clips)
    write_split(copy)
    (reason,) = read(copy, TASK).missing
    assert "has 4 train and test clips" in reason


def test_absent_audio_of_the_users_split_is_missing(copy, monkeypatch):
    monkeypatch.setattr(birdsong, "PAPER_CLIPS", range(4, 5))
    write_split(copy)
    (copy / "birdsong/ff1010bird/wav/2525.wav").unlink()
    assert read(copy, TASK).missing == ("2525",)


def test_the_challenges_scheme(copy):
    manifest = read(copy)
    assert manifest.folds == ("ff1010bird", "warblrb10k", "BirdVox-DCASE-20k")
    assert set(manifest.folds) == set(OFFICIAL.expected)
    assert [(clip.id, clip.label, clip.part) for clip in manifest.clips] == [
        (clip, label, name) for name, clips in CLIPS.items() for clip, label in clips.items()
    ]
    assert manifest.labels.names == ("0", "1")
    assert manifest.missing == ()


def test_archives_are_read_in_place(copy):
    root = copy / "birdsong"
    for name, archive_name in (
        ("ff1010bird", "ff1010bird_wav.zip"),
        ("BirdVox-DCASE-20k", "b.zip"),
    ):
        with zipfile.ZipFile(root / archive_name, "w") as archive:
            for clip in CLIPS[name]:
                path = root / FOLDERS[name] / f"{clip}.wav"
                archive.write(path, f"wav/{clip}.wav")
                archive.writestr(f"__MACOSX/wav/._{clip}.wav", b"litter")
                path.unlink()
    manifest = read(copy)
    assert len(manifest.clips) == 5
    containers = [clip.sound.container.rpartition("/")[2] for clip in manifest.clips]
    assert containers[:2] == ["ff1010bird_wav.zip"] * 2
    assert containers[4] == "b.zip"
    assert len(manifest.clips[4].sound.load(44100)) == 44
    assert manifest.notes == ()


def test_everything_right_below_the_data_folder(copy, monkeypatch):
    monkeypatch.setattr(birdsong, "PAPER_CLIPS", range(4, 5))
    write_split(copy)
    for path in (copy / "birdsong").iterdir():
        path.rename(copy / path.name)
    (copy / "birdsong").rmdir()
    assert len(read(copy, TASK).clips) == 5


def test_quirks_of_the_tables(copy):
    """Blanks, file names for ids, another `datasetid`, a table under another name and elsewhere."""
    path = copy / "birdsong" / TABLES["warblrb10k"]
    path.unlink()
    (copy / "birdsong/labels").mkdir()
    (copy / "birdsong/labels/Warblrb10k labels (1).csv").write_text(
        "itemid,datasetid,hasbird\n"
        "759808e5-f824-401e-9058.wav,warblrb10k_public, 1\n"
        "1d94fc4a-1c63-4da0-9be3 ,,0\n"
    )
    found = {clip.id: clip.label for clip in read(copy).clips if clip.part == "warblrb10k"}
    assert found == CLIPS["warblrb10k"]


def test_the_older_table_does_not_stand_in_the_way(copy):
    """The 2016 challenge had other labels under nearly the same name."""
    (copy / "birdsong/ff1010bird_metadata.csv").write_text("itemid,hasbird\n64486,1\n2525,0\n")
    found = {clip.id: clip.label for clip in read(copy).clips if clip.part == "ff1010bird"}
    assert found == CLIPS["ff1010bird"]
    path = copy / "birdsong" / TABLES["ff1010bird"]
    path.rename(path.with_name("new_ff1010bird.csv"))
    with pytest.raises(HaresError, match="2 tables that may be the labels of ff1010bird"):
        read(copy)


def test_two_copies_of_the_audio_are_told(copy):
    other = copy / "birdsong/wav_16k/2525.wav"
    other.parent.mkdir()
    soundfile.write(other, np.zeros(16), 16000)
    manifest = read(copy)
    assert "/ff1010bird/wav/" in next(c.sound.where for c in manifest.clips if c.id == "2525")
    (note,) = manifest.notes
    assert "1 recordings are there more than once" in note
    assert str(other) in note


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (",0\n", ",yes\n", r"row 2 \(64486\): The label 'yes' is none"),
        ("2525", "64486", "row 3: 64486 is listed already"),
        ("2525", "759808e5-f824-401e-9058", "row 2: 759808e5-f824-401e-9058 is listed already"),
        ("2525", "", "row 3: the name of the recording is empty"),
        ("hasbird", "bird", "no column 'hasbird'"),
    ],
)
def test_malformed_tables(copy, old, new, message):
    path = copy / "birdsong" / TABLES["ff1010bird"]
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(HaresError, match=message):
        read(copy)


def test_absent_data(copy):
    with pytest.raises(HaresError, match=r"was not found(.|\n)*bird-audio-detection"):
        read(copy / "elsewhere")
    for path in copy.rglob("*.wav"):
        path.unlink()
    with pytest.raises(HaresError, match="none of the 5 listed recordings, such as '64486'"):
        read(copy)
    (copy / "birdsong" / TABLES["BirdVox-DCASE-20k"]).unlink()
    with pytest.raises(HaresError, match="lacks the labels of BirdVox-DCASE-20k"):
        read(copy)
