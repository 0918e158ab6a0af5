"""`hares-check-data`: which data are there, complete and sound, and how to obtain the others."""

import csv
import dataclasses

import numpy as np
import pytest
import soundfile

from hares_tf.commands.check_data import main

CLASSES = [f"class{number:02d}" for number in range(50)]


@pytest.fixture
def data(tmp_path):
    """ESC-50 in its own layout: one clip of each class and fold, instead of eight."""
    root = tmp_path / "esc50/ESC-50-master"
    (root / "audio").mkdir(parents=True)
    (root / "meta").mkdir()
    random = np.random.default_rng(0)
    with open(root / "meta/esc50.csv", "w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["filename", "fold", "target", "category", "esc10", "src_file", "take"])
        for fold in range(1, 6):
            for target, name in enumerate(CLASSES):
                file_name = f"{fold}-{1000 + target}-A-{target}.wav"
                noise = random.integers(-9000, 9000, 4410).astype(np.int16)
                soundfile.write(root / "audio" / file_name, noise, 44100, "PCM_16")
                rows.writerow([file_name, fold, target, name, "False", 1000 + target, "A"])
    return tmp_path


def _run(data, *arguments):
    return main([f"--data_dir={data}", "--tasks=esc50", *arguments])


def test_how_to_obtain_absent_data_sets(tmp_path, capsys):
    assert main([f"--data_dir={tmp_path}"]) == 1
    text = capsys.readouterr().out
    for task in ("audioset", "voxceleb1", "nsynth_pitch", "magnatagatune", "voxforge"):
        assert f"{task}: absent" in text
    assert "http" in text
    assert text.rstrip().splitlines()[-12].startswith("audioset")


def test_a_part_of_a_data_set_is_counted_and_damage_named(data, capsys):
    audio = data / "esc50/ESC-50-master/audio"
    (audio / "1-1000-A-0.wav").write_bytes(b"no sound")
    (audio / "2-1001-A-1.wav").unlink()
    soundfile.write(audio / "3-1002-A-2.wav", np.zeros(4410, np.int16), 44100)
    assert _run(data, "--decode=all") == 1
    text = capsys.readouterr().out
    assert "esc50: damaged" in text and "1 of 249" in text
    assert "1 listed clip(s) are missing (2-1001-A-1.wav)" in text
    assert "3 50 of 400" in text
    assert "silent: 3-1002-A-2.wav" in text and "less than 0.5 s" in text
    assert "ESC-50-master.zip" in text, "how to obtain the rest"


def test_copies_are_found_when_asked(data, capsys):
    audio = data / "esc50/ESC-50-master/audio"
    (audio / "1-1000-A-0.wav").write_bytes((audio / "2-1000-A-0.wav").read_bytes())
    (audio / "1-1001-A-1.wav").write_bytes((audio / "1-1002-A-2.wav").read_bytes())
    _run(data, "--duplicates")
    text = capsys.readouterr().out
    assert "1 clip(s) are copies of others: 1-1002-A-2.wav = 1-1001-A-1.wav" in text
    assert "another split or fold: 2-1000-A-0.wav = 1-1000-A-0.wav" in text


def test_a_whole_task_exits_with_0(data, capsys, monkeypatch):
    from hares_tf.evaluation.tasks import esc50

    small = dataclasses.replace(esc50.TASKS[0], expected={str(fold): 50 for fold in range(1, 6)})
    monkeypatch.setattr(esc50, "TASKS", (small,))
    assert _run(data, "--nodetails") == 0
    assert capsys.readouterr().out.startswith("task ")


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["--data_dir=/no/such/folder"], "no such folder"),
        (["--tasks=esc5"], "esc50"),
        (["--decode=some"], "decode"),
    ],
)
def test_wrong_use(arguments, word, capsys):
    assert main(arguments) == 2
    assert word in capsys.readouterr().err
