"""The whole path, from a handle and a task file to a result and a table."""

import json
import shutil

import numpy as np
import pytest
import soundfile

from hares_tf.audio import AudioError, decode
from hares_tf.commands import evaluate as command
from hares_tf.evaluation import EvaluationError, Interface, evaluate
from hares_tf.evaluation.embeddings import embedding as embedding_phase
from hares_tf.hub import loader
from hares_tf.recordings import sound

TOML = """
domain = "music"
manifest = "list.csv"
window_seconds = 0.25
[columns]
file = "file"
label = "label"
split = "split"
"""


def _tone(frequency, seconds, seed):
    random = np.random.default_rng(seed)
    time = np.arange(round(seconds * 16000)) / 16000
    tone = 0.2 * np.sin(2 * np.pi * frequency * time * (1 + 0.02 * random.normal()))
    return tone + 0.02 * random.normal(size=len(time))


@pytest.fixture
def folder(tmp_path):
    """Low, middle and high tones: any encoder must tell them apart."""
    rows = ["file,label,split"]
    for label, frequency in {"low": 200, "middle": 700, "high": 2500}.items():
        for index in range(8):
            split = ("train", "train", "train", "validation", "test")[index % 5]
            name = f"{label}{index}.wav"
            soundfile.write(
                tmp_path / name, _tone(frequency, 0.3 + 0.1 * index, index), 16000, "PCM_16"
            )
            rows.append(f"{name},{label},{split}")
    (tmp_path / "list.csv").write_text("\n".join(rows))
    (tmp_path / "tones.toml").write_text(TOML)
    return tmp_path


def _evaluate(folder, handle, **options):
    options = {"output": folder / "results", "store": folder / "store", **options}
    return evaluate(handle, [str(folder / "tones.toml")], **options)[0]


def test_scores_and_provenance(folder, statistics_module):
    result = _evaluate(folder, statistics_module)
    assert result.score == 100.0 and result.complete
    assert result.clips["n_expected"] == result.clips["n_used"] == 24
    assert result.clips["n_scored"] == 3 and result.seconds["clips_embedded"] == 24
    assert result.protocol["identity"] == "fast/2"
    assert result.model["name"] == "log_mel_statistics"
    assert result.model["embedding_size"] == 160
    assert result.model["interface"]["entry_point"] == "__call__"
    assert len(result.model["fingerprint"]) == len(result.clips["manifest_hash"]) == 64
    environment = result.environment
    assert environment["packages"]["tensorflow"] and environment["hares_tf"]
    fingerprint = result.model["fingerprint"][:12]
    path = folder / f"results/fast/log_mel_statistics-{fingerprint}/tones.json"
    assert json.loads(path.read_text()) == result.to_json()


def _forbid_work(monkeypatch):
    def forbidden(*_, **__):
        raise AssertionError("this was to be answered from what is there")

    monkeypatch.setattr(loader, "load", forbidden)
    monkeypatch.setattr(decode, "load_audio", forbidden)
    monkeypatch.setattr(sound, "load_audio", forbidden)


def test_a_finished_result_opens_neither_audio_nor_model(folder, statistics_module, monkeypatch):
    first = _evaluate(folder, statistics_module)
    _forbid_work(monkeypatch)
    assert _evaluate(folder, statistics_module) == first


def test_without_results_the_store_answers(folder, statistics_module, monkeypatch):
    first = _evaluate(folder, statistics_module)
    shutil.rmtree(folder / "results")
    _forbid_work(monkeypatch)
    second = _evaluate(folder, statistics_module)
    assert second.seconds["clips_embedded"] == 0
    assert second.score == first.score and second.model == first.model


def test_another_task_with_the_same_audio_shares_embeddings(folder, statistics_module):
    _evaluate(folder, statistics_module)
    (folder / "again.toml").write_text(TOML)
    options = {"output": folder / "results", "store": folder / "store"}
    other = evaluate(statistics_module, [str(folder / "again.toml")], **options)[0]
    assert other.seconds["clips_embedded"] == 0


def test_a_changed_clip_is_embedded_again(folder, statistics_module):
    first = _evaluate(folder, statistics_module)
    soundfile.write(folder / "low0.wav", _tone(205, 0.4, 99), 16000, "PCM_16")
    second = _evaluate(folder, statistics_module)
    assert second.seconds["clips_embedded"] == 1 and second.key != first.key


def test_a_changed_window_shares_nothing(folder, statistics_module):
    _evaluate(folder, statistics_module)
    (folder / "tones.toml").write_text(TOML.replace("0.25", "0.2"))
    assert _evaluate(folder, statistics_module).seconds["clips_embedded"] == 24


def test_a_changed_label_scores_anew_from_the_store(folder, statistics_module):
    first = _evaluate(folder, statistics_module)
    text = (folder / "list.csv").read_text()
    (folder / "list.csv").write_text(text.replace("low4.wav,low", "low4.wav,high"))
    second = _evaluate(folder, statistics_module)
    assert second.seconds["clips_embedded"] == 0
    assert first.score == 100.0 and second.score == pytest.approx(200 / 3)


def test_a_changed_model_shares_nothing(folder, statistics_module, tmp_path_factory):
    first = _evaluate(folder, statistics_module)
    other = tmp_path_factory.mktemp("changed") / "module"
    shutil.copytree(statistics_module, other)
    (other / "fingerprint.pb").unlink()
    same = _evaluate(folder, other)
    assert same.key == first.key, "fingerprint.pb is no content"
    card = json.loads((other / "assets/model_card.json").read_text())
    (other / "assets/model_card.json").write_text(json.dumps({**card, "version": 2}))
    changed = _evaluate(folder, other)
    assert changed.key != first.key and changed.seconds["clips_embedded"] == 24


def test_an_unreadable_clip_makes_the_result_incomplete(folder, statistics_module, capsys):
    (folder / "low1.wav").write_bytes((folder / "low1.wav").read_bytes()[:1000])
    arguments = [
        f"--handle={statistics_module}",
        f"--tasks={folder}/tones.toml",
        f"--output={folder}/results",
        f"--store={folder}/store",
    ]
    assert command.main(arguments) == 0
    captured = capsys.readouterr()
    assert "INCOMPLETE" in captured.err and "low1.wav" in captured.err
    assert "!" in captured.out and "incomplete" in captured.out
    result = json.loads(next(folder.glob("results/fast/*/tones.json")).read_text())
    assert not result["complete"]
    assert (result["clips"]["n_expected"], result["clips"]["n_used"]) == (24, 23)
    assert list(result["clips"]["failures"]) == ["low1.wav"]


PLUG_IN = """
import numpy as np

def spectrum(batch):
    spectrum = np.abs(np.fft.rfft(batch))[:, : 40 * 40]
    return np.log1p(spectrum.reshape(len(batch), 40, -1).mean(-1))

spectrum.sample_rate = 16000
"""


def test_functions_are_cached_only_with_a_fingerprint(folder, monkeypatch, capsys):
    (folder / "plug_in_for_evaluate.py").write_text(PLUG_IN)
    monkeypatch.syspath_prepend(folder)
    handle = "python:plug_in_for_evaluate:spectrum"
    for _ in range(2):
        result = _evaluate(folder, handle, progress="bar")
        assert result.score == 100.0 and result.seconds["clips_embedded"] == 24
        assert result.model["fingerprint"] is None
        assert result.embeddings["runtime"] == "python"
    assert "nothing is reused" in capsys.readouterr().err
    import plug_in_for_evaluate

    plug_in_for_evaluate.spectrum.fingerprint = "v1"
    assert _evaluate(folder, handle).seconds["clips_embedded"] == 24
    shutil.rmtree(folder / "results")
    assert _evaluate(folder, handle).seconds["clips_embedded"] == 0
    plug_in_for_evaluate.spectrum.fingerprint = "v2"
    assert _evaluate(folder, handle).seconds["clips_embedded"] == 24


def test_other_flags_are_another_model(folder, statistics_module):
    first = _evaluate(folder, statistics_module)
    other = _evaluate(folder, statistics_module, interface=Interface(normalize="standard"))
    assert other.key != first.key and other.seconds["clips_embedded"] == 24
    assert len(list(folder.glob("results/fast/*/tones.json"))) == 2
    assert _evaluate(folder, statistics_module) == first


def test_an_incomplete_result_is_tried_again(folder, statistics_module, monkeypatch):
    load = sound.load_audio

    def fails_once(path, rate):
        if path.endswith("low1.wav"):
            raise AudioError("the network drive is away")
        return load(path, rate)

    monkeypatch.setattr(sound, "load_audio", fails_once)
    assert not _evaluate(folder, statistics_module).complete
    monkeypatch.undo()
    again = _evaluate(folder, statistics_module)
    assert again.complete and again.seconds["clips_embedded"] == 1


def test_weights_behind_a_link_are_content(folder, tiny_module, tmp_path_factory):
    """Relinking a module's variables must not be answered from the store."""
    place = tmp_path_factory.mktemp("linked")
    shutil.copytree(tiny_module, place / "module")
    shutil.move(place / "module/variables", place / "one")
    shutil.copytree(place / "one", place / "two")
    (place / "two/extra").touch()
    hashes = []
    for target in ("one", "two"):
        (place / "module/variables").unlink(missing_ok=True)
        (place / "module/variables").symlink_to(place / target)
        hashes.append(loader.locate(place / "module").content_hash())
    assert hashes[0] == loader.locate(tiny_module).content_hash() != hashes[1]


def test_no_readable_test_clip_is_an_error(folder, statistics_module):
    for label in ("low", "middle", "high"):
        (folder / f"{label}4.wav").write_bytes(b"")
    with pytest.raises(EvaluationError, match="no clip of test"):
        _evaluate(folder, statistics_module)


def test_copies_across_splits_are_counted(folder, statistics_module):
    shutil.copy(folder / "low0.wav", folder / "low4.wav")
    assert _evaluate(folder, statistics_module).clips["n_repeated_across_parts"] == 1


def test_two_models_side_by_side(folder, statistics_module, tiny_module, capsys):
    arguments = [
        f"--handle={statistics_module}",
        f"--handle={tiny_module}",
        f"--tasks={folder}/tones.toml",
        f"--output={folder}/results",
        f"--store={folder}/store",
        "--progress=none",
    ]
    assert command.main(arguments) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    header, _, row = captured.out.splitlines()[:3]
    assert header.split() == [
        "task",
        "domain",
        "metric",
        "clips",
        "log_mel_statistics",
        "slowfast_nfnet_tiny",
    ]
    assert row.split()[:4] == ["tones", "music", "accuracy", "24"] and "100.0*" in row


def test_a_foreign_file_in_the_results_is_not_overwritten(folder, statistics_module):
    _evaluate(folder, statistics_module)
    path = next(folder.glob("results/fast/*/tones.json"))
    path.write_text("my notes")
    with pytest.raises(EvaluationError, match="not a result"):
        _evaluate(folder, statistics_module)
    assert path.read_text() == "my notes"


def test_interrupted_between_shards_goes_on(folder, statistics_module, monkeypatch):
    calls = []
    load = sound.load_audio

    def dies(path, rate):
        calls.append(path)
        if len(calls) > 10:
            raise MemoryError("the process dies here")
        return load(path, rate)

    monkeypatch.setattr(sound, "load_audio", dies)
    monkeypatch.setattr(embedding_phase, "batch_size", lambda seconds: 2)
    with pytest.raises(MemoryError):
        _evaluate(folder, statistics_module)
    monkeypatch.undo()
    result = _evaluate(folder, statistics_module)
    assert 0 < result.seconds["clips_embedded"] < 24 and result.complete
