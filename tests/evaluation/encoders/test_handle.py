"""Handles: folders, archives, Keras files, Python functions and remote modules."""

import tarfile

import numpy as np
import pytest
from evaluation.encoders.statistics_modules import (
    check,
    open_module,
    pair,
    save_module,
    statistics_of,
    waveform_spec,
    waveforms,
)

from hares_tf.evaluation import EvaluationError
from hares_tf.evaluation.encoders.handle import open_encoder, stated_interface
from hares_tf.evaluation.encoders.interface import Interface
from hares_tf.hub import HubError, locate

NOTHING = Interface()


def test_handles_that_name_no_module(tmp_path):
    (tmp_path / "notes.txt").touch()
    (tmp_path / "empty").mkdir()
    for handle, word in {
        "nowhere": "no such folder",
        "notes.txt": "is a file",
        "empty": "holds: nothing",
        ".": "notes.txt",
    }.items():
        with pytest.raises(HubError, match=word):
            locate(tmp_path / handle)


def test_version_folders(tmp_path):
    for version in ("2", "10"):
        save_module(tmp_path / "speech" / version, pair, waveform_spec(None, None))
    found = locate(tmp_path / "speech")
    assert found.path.name == "10" and found.name == "speech"
    assert locate(tmp_path / "speech" / "2").name == "speech"


def test_damaged_modules_are_reported(tmp_path):
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "saved_model.pb").write_bytes(b"\x00garbage")
    with pytest.raises(HubError, match="cannot be loaded"):
        open_module(locate(tmp_path / "m"))
    (tmp_path / "m" / "assets").mkdir()
    (tmp_path / "m" / "assets" / "model_card.json").write_text("{")
    with pytest.raises(HubError, match="not a readable model card"):
        locate(tmp_path / "m")


@pytest.mark.parametrize("top", [".", "yamnet_1"])
def test_archives(tmp_path, top):
    folder = save_module(tmp_path / "m", pair, waveform_spec(None, None)).path
    with tarfile.open(tmp_path / "shared.tar.gz", "w:gz") as tar:
        tar.add(folder, arcname=top)
    for handle in (tmp_path / "shared.tar.gz", f"file://{tmp_path}/shared.tar.gz"):
        module = locate(handle)
        assert module.name == "shared"
        check(module)
    assert module.content_hash() == locate(folder).content_hash()


def test_hostile_and_broken_archives(tmp_path):
    def archive(name, **member):
        with tarfile.open(tmp_path / name, "w:gz") as tar:
            info = tarfile.TarInfo(member["path"])
            info.type, info.linkname = member.get("type", tarfile.REGTYPE), member.get("to", "")
            tar.addfile(info)
        return tmp_path / name

    for name, word, member in [
        ("up.tar.gz", "leads out", {"path": "../evil"}),
        ("root.tar.gz", "leads out", {"path": "/etc/evil"}),
        ("link.tar.gz", "no plain file", {"path": "a", "type": tarfile.SYMTYPE, "to": "/etc"}),
        ("device.tar.gz", "no plain file", {"path": "a", "type": tarfile.CHRTYPE}),
        ("other.tar.gz", "no saved_model.pb", {"path": "readme"}),
    ]:
        with pytest.raises(HubError, match=word):
            locate(archive(name, **member))
    (tmp_path / "cut.tar.gz").write_bytes((tmp_path / "other.tar.gz").read_bytes()[:40])
    with pytest.raises(HubError, match="cannot be unpacked"):
        locate(tmp_path / "cut.tar.gz")
    assert not (tmp_path.parent / "evil").exists()


def test_keras_files(tmp_path):
    from hares_tf.models import create_model

    model = create_model("log_mel_statistics")
    model.save(tmp_path / "floor.keras")
    encoder, waveform = open_module(locate(tmp_path / "floor.keras")), waveforms()
    np.testing.assert_allclose(encoder.embed(waveform), model(waveform), atol=1e-5)


PLUG_IN = """
import numpy as np

def encode(batch):
    return np.stack([batch.mean(1), batch.max(1)], 1)

encode.sample_rate = 16000
encode.fingerprint = "1"

def wrong(batch):
    return batch.mean()

wrong.sample_rate = 16000
number = 3
"""


def test_python_functions(tmp_path, monkeypatch):
    (tmp_path / "plug_in_for_hares.py").write_text(PLUG_IN)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    module = locate("python:plug_in_for_hares:encode")
    stated, _ = stated_interface(module, NOTHING)
    waveform = waveforms()
    found = open_encoder(module, stated).embed(waveform)
    np.testing.assert_allclose(found, statistics_of(waveform), atol=1e-6)
    assert len(module.content_hash()) == 64
    module.function.fingerprint = "2"
    assert module.content_hash() != locate("python:plug_in_for_hares:wrong").content_hash()
    with pytest.raises(EvaluationError, match=r"\(\).*\[batch, dim\]"):
        open_module(locate("python:plug_in_for_hares:wrong"))
    module.function.embedding_size = 7
    with pytest.raises(EvaluationError, match="embedding_size 7"):
        open_encoder(module, stated)


@pytest.mark.parametrize(
    ("handle", "word"),
    [
        ("python:nowhere_to_be_found:f", "cannot be imported"),
        ("python:json:nothing", "json has no nothing"),
        ("python:json", "python:package.module:function"),
        ("python:json:__doc__", "not a function"),
    ],
)
def test_python_handles_that_name_no_function(handle, word):
    with pytest.raises(HubError, match=word):
        locate(handle)


def test_remote_handles_go_through_tensorflow_hub(tmp_path, monkeypatch):
    folder = save_module(tmp_path / "cached", pair, waveform_spec(None, None)).path
    monkeypatch.setattr("tensorflow_hub.resolve", lambda handle: str(folder))
    module = locate("https://tfhub.dev/google/frill/1")
    assert module.path == folder and module.name == "frill"
    (folder / "saved_model.pb").unlink()
    with pytest.raises(HubError, match=r"is broken .no saved_model.pb"):
        locate("https://tfhub.dev/google/frill/1")

    def unreachable(handle):
        raise OSError("no route to host")

    monkeypatch.setattr("tensorflow_hub.resolve", unreachable)
    with pytest.raises(HubError, match=r"cannot be fetched .no route"):
        locate("https://tfhub.dev/google/frill/1")
