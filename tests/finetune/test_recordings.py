"""What is read, what is left out, and what is refused, each with its sentence."""

import numpy as np
import pytest
import soundfile

from hares_tf.finetune import read_recordings
from hares_tf.finetune.clips import decode, n_tiles, window_batches
from hares_tf.utils.errors import HaresError
from hares_tf.utils.progress import Progress

RATE = 8000


def write(path, seed=None, samples=400, broken=False):
    path.parent.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(abs(hash(str(path))) % 2**32 if seed is None else seed)
    if broken:
        path.write_bytes(b"RIFF no sound")
    else:
        soundfile.write(path, random.integers(-999, 999, samples).astype(np.int16), RATE)


@pytest.fixture
def animals(tmp_path):
    """Three recordings each of two classes."""
    for name in ("cat", "dog"):
        for number in range(3):
            write(tmp_path / "animals" / name / f"{number}.wav")
    return tmp_path / "animals"


def table(folder, text):
    path = folder / "table.csv"
    path.write_text(text)
    return path


def decoded(recordings, tmp_path):
    return decode(recordings, RATE, tmp_path, Progress())


def test_a_folder_names_its_classes(animals):
    recordings = read_recordings(animals)
    assert recordings.label_names == ("cat", "dog")
    assert [(r.id, r.labels, r.part) for r in recordings.recordings][::5] == [
        ("cat/0.wav", (0,), ""),
        ("dog/2.wav", (1,), ""),
    ]


def test_a_table_names_classes_rows_and_parts(animals):
    rows = [
        f"{name}/{n}.wav,{name}y,{part},1"
        for name in ("cat", "dog")
        for n, part in enumerate(("train", "validation", "test"))
    ]
    path = table(animals, "\n".join(["path,kind,split,take", *rows, "gone.wav,doggy,train,2"]))
    options = {"file_column": "path", "label_column": "kind", "split_column": "split"}
    recordings = read_recordings(animals, path, **options, where=[("take", ("1",))])
    assert recordings.label_names == ("caty", "dogy") and recordings.rejected == ()
    assert {r.id: r.part for r in recordings.recordings}["dog/1.wav"] == "validation"
    path.write_text(path.read_text().replace("doggy", "dogy"))
    assert read_recordings(animals, path, **options).rejected == (("gone.wav", "absent"),)


@pytest.mark.parametrize(
    ("text", "options", "words"),
    [
        ("file,label\ncat/0.wav,cat\ndog/0.wav,cat", {}, ["only one class", "'cat'"]),
        ("file,label\ncat/0.wav,cat;pet\ndog/0.wav,dog", {}, ["cat/0.wav", "2 labels (cat; pet)"]),
        ("file,label\ncat/0.wav,\ndog/0.wav,dog", {}, ["cat/0.wav", "no label"]),
        ("file,label\ncat/0.wav,cat\nx.wav,dog\ny.wav,dog", {}, ["'dog' is empty", "2 files"]),
        ("file,label\ncat/0.wav,cat\n../x.wav,dog", {}, ["line 3", "leads out"]),
        ("path,label\ncat/0.wav,cat", {}, ["no column 'file'", "path, label"]),
        (
            "file,label,split\ncat/0.wav,cat,train\ndog/0.wav,dog,dev",
            {"split_column": "split"},
            ["line 3", "'dev'", "validation"],
        ),
        (
            "file,label,split\ncat/0.wav,cat,train\ndog/0.wav,dog,validation",
            {"split_column": "split"},
            ["no recording has split = test"],
        ),
        (
            "file,label,split\ncat/0.wav,cat,train\ncat/0.wav,cat,test\ndog/0.wav,dog,train",
            {"split_column": "split"},
            ["cat/0.wav is listed already in line 2"],
        ),
        ("file,label\ncat/0.wav,cat\ncat/0.wav,dog", {}, ["listed already"]),
        ("file,label\ncat/0.wav,cat", {"where": [("label", ("cow",))]}, ["'cow'", "are: cat"]),
        ("file,label\ncat/0.wav,cat", {"label_column": ""}, ["--label_column"]),
    ],
)
def test_a_table_that_cannot_be_meant(animals, text, options, words):
    with pytest.raises(HaresError) as raised:
        read_recordings(animals, table(animals, text), **options)
    for word in words:
        assert word in str(raised.value)


def test_folders_that_cannot_be_meant(animals, tmp_path):
    with pytest.raises(HaresError, match="no such folder"):
        read_recordings(tmp_path / "absent")
    with pytest.raises(HaresError, match="no folders with audio"):
        read_recordings(animals / "cat")
    (animals / "cow").mkdir()
    (animals / "cow" / "notes.txt").write_text("moo")
    with pytest.raises(HaresError, match="folder 'cow'"):
        read_recordings(animals)
    write(tmp_path / "one" / "cat" / "0.wav")
    with pytest.raises(HaresError, match="only one class"):
        read_recordings(tmp_path / "one")


def test_what_is_decoded_is_what_was_recorded(animals, tmp_path):
    write(animals / "cat" / "0.wav", samples=1000)
    audio, clips, rejected = decoded(read_recordings(animals), tmp_path)
    assert len(clips) == 6 and rejected == []
    original, _ = soundfile.read(animals / "cat" / "0.wav", dtype="float32")
    clip = clips[0]
    assert (clip.id, clip.samples, n_tiles(clip, 300)) == ("cat/0.wav", 1000, 4)
    np.testing.assert_array_equal(audio.cut(clip, 100, 200), original[100:300])
    np.testing.assert_array_equal(audio.cut(clip, 900, 200), np.pad(original[900:], (0, 100)))
    assert list(tmp_path.iterdir()) == [animals]


def test_batches_hold_every_tile_once(animals, tmp_path):
    write(animals / "cat" / "0.wav", samples=1000)
    audio, clips, _ = decoded(read_recordings(animals), tmp_path)
    seen, owned = [], []
    for windows, owners in window_batches(audio, clips, 300, 4):
        assert windows.shape == (4, 300) and not windows[len(owners) :].any()
        seen += [row.copy() for row in windows[: len(owners)]]
        owned += owners.tolist()
    assert owned == [0] * 4 + [clip for clip in range(1, 6) for _ in range(2)]
    assert np.array_equal(np.concatenate(seen[:4])[:1000], audio.cut(clips[0], 0, 1000))


def test_unreadable_recordings_are_listed(animals, tmp_path):
    write(animals / "dog" / "3.wav", broken=True)
    _, clips, rejected = decoded(read_recordings(animals), tmp_path)
    assert len(clips) == 6
    assert [(id, "decoded" in reason) for id, reason in rejected] == [("dog/3.wav", True)]
    write(animals / "dog" / "2.wav", broken=True)
    with pytest.raises(HaresError, match=r"'dog' has 2 usable .* of 4 .*decoded.* 3 are"):
        decoded(read_recordings(animals), tmp_path)
    for number in range(2):
        write(animals / "dog" / f"{number}.wav", broken=True)
    with pytest.raises(HaresError, match="None of the 4 recordings of the class 'dog'"):
        decoded(read_recordings(animals), tmp_path)


def test_one_recording_under_two_labels_is_left_out(animals, tmp_path):
    for path in ("cat/a.wav", "dog/b.wav", "dog/c.wav"):
        write(animals / path, seed=1)
    _, clips, rejected = decoded(read_recordings(animals), tmp_path)
    assert {clip.id for clip in clips}.isdisjoint({"cat/a.wav", "dog/b.wav", "dog/c.wav"})
    assert [id for id, _ in rejected] == ["cat/a.wav", "dog/b.wav", "dog/c.wav"]
    assert all("another label" in reason for _, reason in rejected)
