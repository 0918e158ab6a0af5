"""`hares-prepare`: what is written, read back by TensorFlow's own reader; what is said."""

import csv
import hashlib
import itertools
import json
import os
import zipfile

import numpy as np
import pytest
import soundfile
import tensorflow as tf

from hares_tf.commands import prepare as command
from hares_tf.data import sidecar
from hares_tf.data.prepare import prepare
from hares_tf.data.published_sources import task_source
from hares_tf.data.shard_writer import Settings, _pieces
from hares_tf.jobs import Runner
from hares_tf.recordings import Columns, folder_source, table_source
from hares_tf.utils.errors import HaresError

RATE = 16_000


def wav(path, seconds=0.3, rate=RATE, channels=1, value=None, seed=0):
    """A file of noise (or one value); gives its int16 samples."""
    path.parent.mkdir(parents=True, exist_ok=True)
    shape = (round(seconds * rate), channels)[: 1 + (channels > 1)]
    if value is None:
        samples = np.random.default_rng(seed).integers(-32768, 32768, shape).astype(np.int16)
    else:
        samples = np.full(shape, value, np.int16)
    soundfile.write(path, samples, rate, "PCM_16")
    return samples


def stored(folder):
    """id -> (int16 samples, labels, sample rate), in the order of the shards."""
    described = json.loads((folder / "clips.json").read_text())
    paths = [str(folder / shard["file"]) for shard in described["shards"]]
    found = {}
    for record in tf.data.TFRecordDataset(paths):
        features = tf.train.Example.FromString(record.numpy()).features.feature
        (name,) = features["id"].bytes_list.value
        (audio,) = features["audio"].bytes_list.value
        (rate,) = features["sample_rate"].int64_list.value
        labels = list(features["labels"].int64_list.value)
        assert name.decode() not in found
        found[name.decode()] = (np.frombuffer(audio, "<i2"), labels, rate)
    return found


def reasons(described):
    return {one["id"]: one["reason"] for one in described["rejected"]}


def run(*arguments):
    return command.main([*arguments, "--progress=none", "--workers=1"])


def write_table(path, rows):
    with open(path, "w", newline="") as file:
        csv.writer(file).writerows(rows)


def test_a_librispeech_tree(tmp_path):
    """Parts, readers and chapters as folders, long FLAC files, transcripts and tables between."""
    root = tmp_path / "LibriSpeech"
    written = {}
    for reader, chapter in ((19, 198), (19, 227), (26, 495)):
        folder = root / f"train-clean-100/{reader}/{chapter}"
        for number in range(2):
            name = f"{reader}-{chapter}-{number:04d}"
            file = folder / f"{name}.flac"
            written[str(file.relative_to(root))] = wav(file, 1.5, seed=len(written))
        (folder / f"{reader}-{chapter}.trans.txt").write_text(f"{name} CHAPTER ONE\n")
    (root / "SPEAKERS.TXT").write_text(";ID |SEX| SUBSET\n19 | F | train-clean-100\n")
    described = prepare(root, tmp_path / "clips", shards=2, runner=Runner(workers=1))
    clips = stored(tmp_path / "clips")
    assert described["rejected"] == [] and described["label_names"] == []
    assert clips.keys() == written.keys()
    for name, samples in written.items():
        np.testing.assert_array_equal(clips[name][0], samples)


def test_round_trip(tmp_path):
    audio = tmp_path / "audio"
    written = {f"a/{i}.wav": wav(audio / f"a/{i}.wav", 0.2 + i / 50, seed=i) for i in range(9)}
    wav(audio / "deep/er/silent.flac", value=0)
    wav(audio / "stereo.wav", rate=32_000, channels=2, value=16_384)
    described = prepare(audio, tmp_path / "clips", shards=3, runner=Runner(workers=1))
    clips = stored(tmp_path / "clips")
    order = sorted(
        [*written, "deep/er/silent.flac", "stereo.wav"],
        key=lambda name: hashlib.sha256(name.encode()).hexdigest(),
    )
    assert list(clips) == order, "neighbors are unrelated"
    for name, samples in written.items():
        np.testing.assert_array_equal(clips[name][0], samples)
    assert not clips["deep/er/silent.flac"][0].any()
    middle = clips["stereo.wav"][0][1000:-1000]
    assert len(clips["stereo.wav"][0]) == 4800 and np.abs(middle - 16_384).max() <= 2
    assert all(labels == [] and rate == RATE for _, labels, rate in clips.values())

    assert described == json.loads((tmp_path / "clips/clips.json").read_text())
    assert [shard["file"] for shard in described["shards"]] == [
        f"clips.tfrecord-0000{i}-of-00003" for i in range(3)
    ]
    assert [shard["clips"] for shard in described["shards"]] == [3, 4, 4]
    assert described["samples"] == sum(len(samples) for samples, _, _ in clips.values())
    assert (described["n_clips"], described["label_names"], described["rejected"]) == (11, [], [])
    digests = [
        hashlib.sha256((tmp_path / "clips" / shard["file"]).read_bytes()).hexdigest()
        for shard in described["shards"]
    ]
    assert [shard["sha256"] for shard in described["shards"]] == digests
    assert described["content_hash"] == hashlib.sha256("\n".join(digests).encode()).hexdigest()
    offsets = np.load(tmp_path / "clips/offsets.npy")
    assert offsets.dtype == np.int64
    first = 0
    for shard in described["shards"]:
        content = (tmp_path / "clips" / shard["file"]).read_bytes()
        position = 0
        for offset in offsets[first : first + shard["clips"]]:
            assert offset == position
            position += 16 + int.from_bytes(content[position : position + 8], "little")
        assert position == shard["bytes"] == len(content)
        first += shard["clips"]
    assert sorted(path.name for path in (tmp_path / "clips").iterdir()) == sorted(
        [shard["file"] for shard in described["shards"]] + ["clips.json", "offsets.npy"]
    )


def test_what_cannot_be_used_is_listed_and_skipped(tmp_path):
    audio = tmp_path / "audio"
    wav(audio / "good.wav")
    wav(audio / "tiny.wav", 0.05)
    (audio / "empty.wav").touch()
    (audio / "text.mp3").write_text("no sound")
    (audio / "phone.m4a").write_bytes(b"\0\0\0\x20ftypM4A ")
    (audio / "notes.txt").write_text("not audio, and not taken for it")
    soundfile.write(audio / "nan.wav", np.array([0.1] * 4000 + [np.nan]), RATE, "FLOAT")
    wav(audio / "cut.wav", 1)
    os.truncate(audio / "cut.wav", 9000)
    odd = os.fsdecode(b"caf\xe9.wav")
    (audio / odd).write_text("neither UTF-8 nor sound")
    described = prepare(audio, tmp_path / "clips", runner=Runner(workers=1))
    assert list(stored(tmp_path / "clips")) == ["good.wav"]
    found = reasons(described)
    assert found.keys() == {
        "tiny.wav", "empty.wav", "text.mp3", "phone.m4a", "nan.wav", "cut.wav", "caf\\udce9.wav"
    }  # fmt: skip
    assert found["tiny.wav"] == "0.05 s: shorter than 0.1 s"
    for name, word in (("empty", "0 bytes"), ("nan", "NaN"), ("cut", "truncated")):
        assert word in found[f"{name}.wav"]
    assert not any(str(tmp_path) in reason for reason in found.values())
    prepare(audio, tmp_path / "all", settings=Settings(min_seconds=0), runner=Runner(workers=1))
    assert len(stored(tmp_path / "all")["tiny.wav"][0]) == 800


def test_long_recordings_become_nearly_equal_pieces(tmp_path):
    samples = wav(tmp_path / "audio/long.wav", 7.55)
    wav(tmp_path / "audio/fits.wav", 3)
    prepare(
        tmp_path / "audio",
        tmp_path / "clips",
        settings=Settings(piece_seconds=3),
        runner=Runner(workers=1),
    )
    clips = stored(tmp_path / "clips")
    seconds = {name: len(values) / RATE for name, (values, _, _) in clips.items()}
    # Three pieces of eight started seconds; they begin at 0, 8/3 and 16/3, rounded down.
    assert seconds == {"long.wav@0": 2, "long.wav@2": 3, "long.wav@5": 2.55, "fits.wav": 3}
    whole = np.concatenate([clips[f"long.wav@{start}"][0] for start in (0, 2, 5)])
    np.testing.assert_array_equal(whole, samples)


@pytest.mark.parametrize("samples", [1, 59, 60, 61, 119, 121, 600_000, 3_601])
@pytest.mark.parametrize("piece", [1, 6, 60])
def test_pieces_of_any_length(samples, piece):
    pieces = _pieces(samples, Settings(sample_rate=10, piece_seconds=piece))
    assert pieces[0][0] == 0 and pieces[-1][1] == samples
    assert all(one[1] == other[0] for one, other in itertools.pairwise(pieces))
    assert all(start % 10 == 0 and 0 < stop - start <= piece * 10 for start, stop in pieces)


def test_labels_from_subfolders(tmp_path, capsys):
    for name in ("dog/1.wav", "dog/deep/2.wav", "cat/1.wav", "bare.wav"):
        wav(tmp_path / "audio" / name)
    arguments = (f"--audio={tmp_path / 'audio'}", f"--output={tmp_path / 'clips'}")
    assert run(*arguments, "--labels=subfolder") == 0
    said = capsys.readouterr().out
    clips = stored(tmp_path / "clips")
    assert {name: labels for name, (_, labels, _) in clips.items()} == {
        "dog/1.wav": [1], "dog/deep/2.wav": [1], "cat/1.wav": [0]
    }  # fmt: skip
    described = sidecar.read(tmp_path / "clips")
    assert described["label_names"] == ["cat", "dog"] and described["label_counts"] == [1, 2]
    assert "no label" in reasons(described)["bare.wav"]
    for words in ("3 clips", "1 shard(s)", "dog 2, cat 1", "bare.wav: lies in no subfolder"):
        assert words in said
    assert f"--config=small_classification --data={tmp_path / 'clips'} --workdir=" in said


@pytest.fixture
def listed(tmp_path):
    """A folder and its table: several labels, splits, a file that is not there, one not listed."""
    for name in ("1.wav", "2.wav", "sub/3.wav", "unlisted.wav"):
        wav(tmp_path / "audio" / name)
    wav(tmp_path / "secret.wav")
    write_table(
        tmp_path / "table.csv",
        [
            ("name", "what", "split", "fold"),
            ("1.wav", "b;a", "train", "1"),
            ("./sub/../sub/3.wav", " a ; ", "train", "2"),
            ("gone.wav", "c", "train", "2"),
            ("2.wav", "", "train", "3"),
            ("2-test.wav", "a", "test", "1"),
        ],
    )
    return tmp_path


def test_labels_from_a_table(listed):
    arguments = (f"--audio={listed / 'audio'}", f"--output={listed / 'clips'}")
    table = (f"--labels={listed / 'table.csv'}", "--file_column=name", "--label_column=what")
    assert run(*arguments, *table, "--where=split=train", "--where=fold=1,2") == 0
    clips = stored(listed / "clips")
    assert {name: labels for name, (_, labels, _) in clips.items()} == {
        "1.wav": [0, 1], "sub/3.wav": [0]
    }  # fmt: skip
    described = sidecar.read(listed / "clips")
    assert described["label_names"] == ["a", "b"], "those of clips that are there"
    assert reasons(described) == {"gone.wav": "absent"}
    assert described["source"]["where"] == [["split", ["train"]], ["fold", ["1", "2"]]]
    unlabeled = table_source(listed / "audio", listed / "table.csv", Columns("name", ""))
    assert unlabeled.label_names == () and [clip.id for clip in unlabeled.recordings] == [
        "1.wav", "sub/3.wav", "2.wav"
    ]  # fmt: skip
    assert dict(unlabeled.rejected) == {"gone.wav": "absent", "2-test.wav": "absent"}


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (("../secret.wav", "a"), "line 2: ../secret.wav leads out of the folder"),
        (("sub/../../secret.wav", "a"), "leads out of the folder"),
        (("/etc/hostname", "a"), "leads out of the folder"),
        ((".", "a"), "leads out of the folder"),
        (("", "a"), "line 2: no file is named"),
        (("a\0.wav", "a"), "not a path|not a table in UTF-8"),
    ],
)
def test_listed_paths_stay_in_the_folder(listed, row, message):
    write_table(listed / "bad.csv", [("file", "label"), row])
    with pytest.raises(HaresError, match=message):
        table_source(listed / "audio", listed / "bad.csv")


def test_tables_that_cannot_be_meant(listed):
    audio, table = listed / "audio", listed / "table.csv"
    columns = Columns("name", "what")
    with pytest.raises(HaresError, match="no column 'file'; its columns are: name, what"):
        table_source(audio, table)
    with pytest.raises(HaresError, match=r"no row has 'training' in .*'split'.*test, train"):
        table_source(audio, table, columns, [("split", ("training",))])
    with pytest.raises(HaresError, match="no row fulfills all conditions"):
        table_source(audio, table, columns, [("split", ("test",)), ("fold", ("2",))])
    write_table(listed / "twice.csv", [("file", "label"), ("1.wav", "a"), ("./1.wav", "b")])
    with pytest.raises(HaresError, match=r"line 3: 1\.wav is listed already in line 2"):
        table_source(audio, listed / "twice.csv")
    with pytest.raises(HaresError, match=r"Cannot read .*none\.csv"):
        table_source(audio, listed / "none.csv")


def test_several_folders_and_archives(tmp_path):
    wav(tmp_path / "x/wav/1.wav")
    wav(tmp_path / "y/wav/1.wav", seed=1)
    with zipfile.ZipFile(tmp_path / "z.zip", "w") as archive:
        archive.write(tmp_path / "x/wav/1.wav", "in/1.wav")
    source = folder_source([tmp_path / "x/wav", tmp_path / "y/wav", tmp_path / "z.zip"])
    prepare(source, tmp_path / "clips", runner=Runner(workers=1))
    clips = stored(tmp_path / "clips")
    name = tmp_path.name
    assert clips.keys() == {"x/wav/1.wav", "y/wav/1.wav", f"{name}/z.zip/in/1.wav"}
    np.testing.assert_array_equal(clips["x/wav/1.wav"][0], clips[f"{name}/z.zip/in/1.wav"][0])
    with pytest.raises(HaresError, match=r"lies in .* or is given twice"):
        folder_source([tmp_path / "x", tmp_path / "x/wav"])
    with pytest.raises(HaresError, match="several"):
        folder_source([tmp_path / "x", tmp_path / "y"], "subfolder")


TOML = """
domain = "environment"
manifest = "list.csv"
window_seconds = 0.3
labels = "{kind}"
head = "{head}"
[columns]
file = "file"
label = {label}
{part} = "part"
"""


def _task(folder, kind="classes", head="linear", label='"label"', part="split"):
    (folder / "task.toml").write_text(TOML.format(kind=kind, head=head, label=label, part=part))
    return str(folder / "task.toml")


def test_a_task_gives_its_train_clips_alone(tmp_path):
    rows = [("file", "label", "action", "part")]
    for index, part in enumerate(["train"] * 4 + ["validation", "test"] * 2):
        wav(tmp_path / f"{index}.wav")
        rows.append((f"{index}.wav", "ab"[index % 2], "on" if index < 2 else "off", part))
    write_table(tmp_path / "list.csv", rows)
    clips = {c.id: c.labels for c in task_source(_task(tmp_path)).recordings}
    assert clips == {"0.wav": (0,), "1.wav": (1,), "2.wav": (0,), "3.wav": (1,)}
    slots = task_source(_task(tmp_path, "slots", label='["label", "action"]'))
    assert slots.label_names == ("label=a", "label=b", "action=off", "action=on")
    assert [clip.labels for clip in slots.recordings] == [(0, 3), (1, 3), (0, 2), (1, 2)]
    with pytest.raises(HaresError, match="no folds"):
        task_source(_task(tmp_path), folds=["1"])
    assert run(f"--tasks={_task(tmp_path)}", f"--output={tmp_path / 'clips'}") == 0
    assert stored(tmp_path / "clips").keys() == clips.keys()
    assert sidecar.read(tmp_path / "clips")["source"]["task"] == "task"


def test_a_task_with_folds_keeps_one_for_testing(tmp_path):
    rows = [("file", "label", "part")]
    for index in range(6):
        wav(tmp_path / f"{index}.wav")
        rows.append((f"{index}.wav", "ab"[index % 2], index // 2 + 1))
    write_table(tmp_path / "list.csv", rows)
    task = _task(tmp_path, head="svm", part="fold")
    assert [c.id for c in task_source(task, folds=["3", "1"]).recordings] == [
        "0.wav", "1.wav", "4.wav", "5.wav"
    ]  # fmt: skip
    for folds, message in (
        ([], "--where=fold=1,2"),
        (["1", "2", "3"], "leave out at least one"),
        (["1", "9"], "no fold '9'"),
    ):
        with pytest.raises(HaresError, match=message):
            task_source(task, folds=folds)
    assert run(f"--tasks={task}", "--where=fold=1", f"--output={tmp_path / 'clips'}") == 0
    assert stored(tmp_path / "clips").keys() == {"0.wav", "1.wav"}
    with pytest.raises(HaresError, match="names 12 tasks"):
        task_source("hares")


def test_audioset_lists(tmp_path, capsys):
    """The published layout, with ids that begin with `-` and `Y`, and copies named in every way."""
    lists = tmp_path / "lists"
    lists.mkdir()
    rows = "".join(f'{i},/m/{i:03d},"Sound, number {i}"\n' for i in range(527))
    (lists / "class_labels_indices.csv").write_text("index,mid,display_name\n" + rows)
    (lists / "balanced_train_segments.csv").write_text(
        "# Segments csv created Sun Mar  5 10:54:31 2017\n"
        "# num_ytids=5, num_segs=5, num_unique_labels=4, num_positive_labels=6\n"
        "# YTID, start_seconds, end_seconds, positive_labels\n"
        '--PJHxphWEs, 30.000, 40.000, "/m/526,/m/007"\n'
        'Yabcdefghij, 0.000, 10.000, "/m/001"\n'
        '0123456789A, 20.000, 30.000, "/m/002"\n'
        '0123456789B, 20.000, 30.000, "/m/002"\n'
        'gonegonegon, 0.000, 10.000, "/m/003"\n'
    )
    for name in ("Y--PJHxphWEs.wav", "deep/Yabcdefghij_0.000_10.000.flac", "0123456789A_20000.wav"):
        wav(tmp_path / "audio" / name)
    wav(tmp_path / "audio/0123456789B_50.wav")  # another part of that video
    segments = f"--audioset_segments={lists / 'balanced_train_segments.csv'}"
    arguments = (f"--audio={tmp_path / 'audio'}", f"--output={tmp_path / 'clips'}")
    assert run(segments, *arguments) == 0
    clips = stored(tmp_path / "clips")
    assert {name: labels for name, (_, labels, _) in clips.items()} == {
        "--PJHxphWEs": [7, 526], "Yabcdefghij": [1], "0123456789A": [2]
    }  # fmt: skip
    described = sidecar.read(tmp_path / "clips")
    assert described["label_names"] == [f"Sound, number {i}" for i in range(527)]
    assert reasons(described) == {"0123456789B": "absent", "gonegonegon": "absent"}
    said = capsys.readouterr().out
    assert "3 of 5 listed clips are there" in said
    assert "527 labels (523 without clips): Sound, number 1 1, Sound, number 2 1" in said
    assert run(segments, *arguments[1:], "--audio=x", "--audio=y") == 2
    (lists / "eval_segments.csv").write_text('0123456789A, 20.000, 30.000, "/m/002"\n')
    assert run(f"--audioset_segments={lists / 'eval_segments.csv'}", *arguments) == 2
    assert "test list" in capsys.readouterr().err


def test_everything_rejected_is_an_error_that_says_why(tmp_path, capsys):
    for name in "abcd":
        (tmp_path / "audio").mkdir(exist_ok=True)
        (tmp_path / f"audio/{name}.wav").write_text("no sound")
    arguments = (f"--audio={tmp_path / 'audio'}", f"--output={tmp_path / 'clips'}")
    assert run(*arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.count("\n") == 1
    for words in ("No clip is left", "All 4 recordings", "a.wav: is not a sound", "and so on"):
        assert words in captured.err
    assert not (tmp_path / "clips").exists(), "nothing stands in the way of another try"
    write_table(tmp_path / "t.csv", [("file", "label"), ("gone.wav", "a")])
    assert run(*arguments, f"--labels={tmp_path / 't.csv'}") == 2
    assert "gone.wav: absent" in capsys.readouterr().err
