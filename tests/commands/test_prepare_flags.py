"""`hares-prepare`: wrong use is one sentence, and nothing is written."""

import numpy as np
import pytest
import soundfile

from hares_tf.commands import prepare as command


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], ["Give --audio, --tasks or --verify."]),
        (["--output=o"], ["--audio", "--tasks", "--verify"]),
        (["--output=o", "--audio=/no/such/folder"], ["/no/such/folder", "no such folder"]),
        (["--output=o", "--audio={}/1.wav"], ["neither a folder nor an archive"]),
        (["--output=o", "--audio={}/empty"], ["no audio files"]),
        (["--output=o", "--audio={}", "--tasks=esc50"], ["--audio and --tasks exclude"]),
        (["--output=o", "--tasks=esc5"], ["esc50"]),
        (["--output=o", "--audio={}", "--where=a=b"], ["--where goes with --labels"]),
        (["--output=o", "--audio={}", "--labels=t.csv", "--where=a"], ["COLUMN=VALUE"]),
        (["--output=o", "--audio={}", "--label_column=x"], ["goes with --labels"]),
        (["--output=o", "--audio={}", "--data_dir=x"], ["--data_dir goes with --tasks."]),
        (["--output=o", "--tasks=esc50", "--labels=subfolder"], ["--labels goes with --audio."]),
        (["--output=o", "--audio={}", "--labels=subfolder"], ["no folders with audio"]),
        (["--output=o", "--audioset_segments=s.csv"], ["--audioset_segments goes with --audio."]),
        (["--output=o", "--audio={}", "--shards=5"], ["--shards=5", "1 to 1 for 1 recordings"]),
        (["--output=o", "--audio={}", "--shards=0"], ["--shards=0"]),
        (["--output=o", "--audio={}", "--piece_seconds=0"], ["piece_seconds"]),
        (["--output=o", "--audio={}", "--min_seconds=nan"], ["min_seconds"]),
        (["--output=o", "--audio={}", "--min_seconds=99"], ["min_seconds"]),
        (["--output=o", "--audio={}", "--sample_rate=16"], ["sample_rate", "1000"]),
        (["--output=o", "--audio={}", "--workers=0"], ["--workers"]),
        (
            ["--output=o", "--audio={}", "--labels=subfolder", "--audioset_segments=s.csv"],
            ["--labels and --audioset_segments exclude"],
        ),
        (["--output=o", "--tasks=esc50,tut18", "--where=fold=1"], ["folds of one task"]),
        (["--output=o", "--tasks=esc50", "--where=a=1"], ["--where=fold=1,2,3,4"]),
        (["--output=o", "--audio={},x", "--labels=t.csv"], ["one --audio=FOLDER"]),
        (["--output=o", "--audio={}", "--beam_options=--x=1"], ["--runner"]),
        (["--output={}/1.wav", "--audio={}"], ["is a file"]),
        (["--output={}", "--audio={}"], ["holds other files"]),
        (["--output=o", "--audio={}", "--verify"], ["--audio and --verify exclude"]),
        (["--output={}", "--verify"], ["no prepared clips"]),
        (["--output=o", "stray"], ["Unexpected", "stray"]),
        (["--output=o", "--progress=much"], ["progress"]),
    ],
)
def test_wrong_use_is_one_sentence_and_code_2(arguments, words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "audio/empty").mkdir(parents=True)
    soundfile.write(tmp_path / "audio/1.wav", np.zeros(4800), 16_000)
    assert command.main([text.format(tmp_path / "audio") for text in arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and "Traceback" not in captured.err
    for word in words:
        assert word in captured.err
    assert not (tmp_path / "o").exists()
