"""What was trained is not lost where the module cannot be written."""

import errno

import numpy as np
import pytest
import tensorflow as tf
from finetune.toy_encoder import save_filter_bank, write_tones

from hares_tf.evaluation import Interface
from hares_tf.finetune import FinetuneError, Settings, finetune, module, read_recordings, rescue
from hares_tf.finetune import training as training_module
from hares_tf.hub.export import saved_module
from hares_tf.utils import files

RATE = 8000


@pytest.fixture(scope="module")
def recordings(tmp_path_factory):
    return read_recordings(write_tones(tmp_path_factory.mktemp("tones") / "tones"))


@pytest.fixture(scope="module")
def bank(tmp_path_factory):
    return save_filter_bank(tmp_path_factory.mktemp("bank") / "bank", table=True)


@pytest.fixture
def run(bank, recordings, tmp_path, monkeypatch):
    """Fine-tunes for some epochs, all of which count as better than the head alone."""
    monkeypatch.setenv("HARES_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr("hares_tf.finetune.head.Score.better_than", lambda self, other: True)

    def run(**changes):
        settings = Settings(**{"epochs": 2, "learning_rate": 1e-3, "batch": 4, **changes})
        known = Interface(sample_rate=RATE)
        return finetune(bank, recordings, tmp_path / "o", settings=settings, interface=known)

    return run


def full(*_, **__):
    raise OSError(errno.ENOSPC, "No space left on device")


def variables(folder) -> list[np.ndarray]:
    return [variable.numpy() for variable in tf.saved_model.load(str(folder)).variables]


def names(folder) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.name != "cache")


@pytest.mark.parametrize("step", ["write", "check"])
def test_the_next_run_writes_what_was_trained(step, run, tmp_path, monkeypatch):
    def differs(*_):
        raise FinetuneError("The written module fails its conformance check.")

    with monkeypatch.context() as patch:
        if step == "write":
            patch.setattr(saved_module, "write", full)
        else:
            patch.setattr(module, "check_written", differs)
        with pytest.raises(FinetuneError, match=r"kept in .*o\.trained\.npz: run the same command"):
            run()
    assert names(tmp_path) == ["o.trained.npz"]

    def trained_again(*_):
        raise AssertionError("It was trained again.")

    with np.load(tmp_path / "o.trained.npz") as file:
        kept = [file[name] for name in file.files if name.startswith("variable/")]
    with monkeypatch.context() as patch:
        patch.setattr(training_module, "fit", trained_again)
        outcome = run()
    assert names(tmp_path) == ["o", "o-report"]
    assert outcome.report["training"]["best_epoch"] == 2
    assert len(outcome.report["training"]["history"]) == 2
    written = [value.tobytes() for value in variables(tmp_path / "o")]
    assert kept and all(value.tobytes() in written for value in kept)


def test_other_settings_train_again(run, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(saved_module, "write", full)
        with pytest.raises(FinetuneError, match="are kept in"):
            run()
    outcome = run(epochs=1)
    assert outcome.report["training"]["epochs"] == 1
    assert names(tmp_path) == ["o", "o-report"]


def test_a_damaged_file_trains_again(run, tmp_path):
    (tmp_path / "o.trained.npz").write_bytes(b"PK\3\4 no archive at all")
    assert run(epochs=1).report["training"]["best_epoch"] == 1
    assert names(tmp_path) == ["o", "o-report"]


def test_a_full_disk_leaves_them_in_the_cache(run, tmp_path, monkeypatch):
    replace = files.os.replace

    def only_in_the_cache(source, destination):
        if "cache" not in str(destination):
            full()
        replace(source, destination)

    monkeypatch.setattr(saved_module, "write", full)
    monkeypatch.setattr(files.os, "replace", only_in_the_cache)
    with pytest.raises(FinetuneError, match=r"kept in .*cache/finetune/o\.trained\.npz"):
        run()
    monkeypatch.setattr(files.os, "replace", full)
    with pytest.raises(FinetuneError, match="cannot be kept either: No space left on device"):
        run(epochs=1)


def test_without_training_nothing_is_kept(run, tmp_path, monkeypatch):
    monkeypatch.setattr(saved_module, "write", full)
    with pytest.raises(FinetuneError) as raised:
        run(epochs=0)
    assert "kept" not in str(raised.value) and names(tmp_path) == []
    assert rescue.places(tmp_path / "o")[0].name == "o.trained.npz"
