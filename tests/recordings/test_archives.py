"""Archives read in place give what the folder gives, and damage is a sentence."""

import io
import tarfile
import zipfile

import numpy as np
import pytest
import soundfile

from hares_tf.audio import AudioError
from hares_tf.recordings import archives
from hares_tf.recordings.archives import sounds_in
from hares_tf.recordings.sound import FileSound, Stretch
from hares_tf.utils.errors import HaresError


@pytest.fixture
def folder(tmp_path):
    random = np.random.default_rng(0)
    place = tmp_path / "set"
    for name in ("b/two.wav", "a/one.WAV", "a/notes.txt", "a/.hidden.wav"):
        path = place / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if name.lower().endswith(".wav"):
            waveform = random.integers(-9000, 9000, 500).astype(np.int16)
            soundfile.write(path, waveform, 16000, "PCM_16", format="WAV")
        else:
            path.write_text("no sound")
    return place


def _pack(folder, kind):
    archive = folder.with_name(f"set.{kind}")
    if kind == "zip":
        with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as packed:
            for path in sorted(folder.rglob("*.*")):
                packed.write(path, path.relative_to(folder))
    else:
        with tarfile.open(archive, "w:gz" if kind == "tgz" else "w:") as packed:
            packed.add(folder, ".")  # names begin with "./", as tar's own usually do
    return archive


@pytest.mark.parametrize("kind", ["zip", "tar", "tgz"])
def test_an_archive_gives_what_the_folder_gives(folder, kind):
    plain, packed = sounds_in(folder), sounds_in(_pack(folder, kind))
    assert list(plain) == list(packed) == ["a/one.WAV", "b/two.wav"]
    for name in plain:
        assert packed[name].content_digest() == plain[name].content_digest()
        np.testing.assert_array_equal(packed[name].load(16000), plain[name].load(16000))
        assert name in packed[name].where and packed[name].container.endswith(kind)


def test_a_small_compressed_archive_is_listed_once(folder, monkeypatch):
    archive = _pack(folder, "tgz")
    first = sounds_in(archive)

    def forbidden(*_):
        raise AssertionError("it was to be remembered")

    monkeypatch.setattr(archives, "_unpacked_tar", forbidden)
    assert sounds_in(archive) == first


def test_large_compressed_archives_are_refused_with_the_way_out(folder, monkeypatch):
    monkeypatch.setattr(archives, "_LARGEST_COMPRESSED_TAR", 100)
    with pytest.raises(HaresError, match="gunzip"):
        sounds_in(_pack(folder, "tgz"))


def test_an_archive_that_unpacks_to_too_much_is_refused(folder, monkeypatch):
    archive = _pack(folder, "tgz")
    monkeypatch.setattr(archives, "_LARGEST_UNPACKED_TAR", 1000)
    with pytest.raises(HaresError, match="unpacks to more"):
        sounds_in(archive)


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_a_member_that_claims_too_many_bytes_is_not_read(folder, monkeypatch, kind):
    sound = sounds_in(_pack(folder, kind))["b/two.wav"]
    monkeypatch.setattr(archives, "_LARGEST_MEMBER", 1000)
    with pytest.raises(AudioError, match="1044 bytes"):  # a header of 44 and 500 samples of 2
        sound.load(16000)


@pytest.mark.parametrize("kind", ["zip", "tar", "tgz"])
def test_an_archive_that_does_not_fit_into_memory(folder, monkeypatch, kind):
    sound = sounds_in(_pack(folder, kind))["b/two.wav"]

    def fail(*_):
        raise MemoryError

    monkeypatch.setattr(archives, "_open_zip", fail)
    monkeypatch.setattr(archives, "_unpacked_tar", fail)
    monkeypatch.setattr(archives, "open", fail, raising=False)
    with pytest.raises(AudioError, match=r"two\.wav' in .* does not fit into memory; cut it"):
        sound.load(16000)
    if kind == "zip":
        with pytest.raises(HaresError, match=r"set\.zip does not fit into memory"):
            sounds_in(folder.with_name("set.zip"))


def test_a_stretch_behind_the_end_is_an_audio_error(folder):
    whole = sounds_in(folder)["b/two.wav"]
    with pytest.raises(AudioError, match="behind the end"):
        Stretch(whole, 1.0, 2.0).load(16000)


@pytest.mark.parametrize("kind", ["zip", "tar", "tgz"])
def test_damaged_archives_are_named(folder, kind):
    archive = _pack(folder, kind)
    archive.write_bytes(archive.read_bytes()[:100])
    with pytest.raises(HaresError, match=f"set.{kind}"):
        sounds_in(archive)


@pytest.mark.parametrize("kind", ["zip", "tar", "tgz"])
def test_an_archive_that_changes_afterwards_is_an_audio_error(folder, kind):
    archive = _pack(folder, kind)
    sound = sounds_in(archive)["b/two.wav"]
    archive.unlink()
    with pytest.raises(AudioError, match=r"two\.wav"):
        sound.load(16000)
    assert len(sound.content_digest()) == 64


def test_paths_that_lead_out_of_an_archive_lead_nowhere(tmp_path):
    archive = tmp_path / "evil.tar"
    with tarfile.open(archive, "w") as packed:
        header = tarfile.TarInfo("../../evil.wav")
        header.size = 4
        packed.addfile(header, io.BytesIO(b"RIFF"))
    assert list(sounds_in(archive)) == ["../../evil.wav"]
    assert [path.name for path in tmp_path.rglob("*")] == ["evil.tar"]


def test_stretches_are_parts_of_the_whole_with_a_name_of_their_own(tmp_path):
    waveform = np.linspace(-0.5, 0.5, 16000 * 3).astype(np.float32)
    soundfile.write(tmp_path / "noise.wav", waveform, 16000, "FLOAT")
    whole = FileSound(str(tmp_path / "noise.wav"))
    stretch = Stretch(whole, 1.0, 2.0)
    np.testing.assert_array_equal(stretch.load(16000), waveform[16000:32000])
    digests = {s.content_digest() for s in (whole, stretch, Stretch(whole, 1.5, 2.5))}
    assert len(digests) == 3 and stretch.where.endswith("noise.wav[1:2]")
